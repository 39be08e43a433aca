/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/pool/capabilities.h"

#include "controllers/disk/disk.h"
#include "controllers/object.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/* --- questions --- */

/* Refused by one is refused; what depends for one depends. */
static struct capability_answer ask_all(const struct capability_question *questions, size_t n, enum capability_operation operation,
                                        const struct capability_pool **ret_pool)
{
        struct capability_answer worst = {.verdict = CAPABILITY_SUPPORTED};

        for (size_t i = 0; i < n; i++) {
                struct capability_answer answer = capability_ask(questions[i].pool, operation, questions[i].facts);

                if (answer.verdict == CAPABILITY_SUPPORTED || worst.verdict == CAPABILITY_REFUSED ||
                    (worst.verdict == CAPABILITY_DEPENDS && answer.verdict == CAPABILITY_DEPENDS))
                        continue;
                worst = answer;
                *ret_pool = questions[i].pool;
        }
        return worst;
}

static const struct api_pool_node *pool_node(const struct cache_object *pool, const char *node)
{
        const struct api_storage_pool *view = pool->view;

        for (size_t i = 0; view->status && node && i < view->status->n_nodes; i++)
                if (g_strcmp0(view->status->nodes[i].name, node) == 0)
                        return &view->status->nodes[i];
        return NULL;
}

/* By its volume, or by what it shall be. */
static bool is_raw(const struct cache_object *disk, const struct api_volume *volume)
{
        const struct api_virtual_disk *view = disk->view;
        const struct api_disk_volume_claim *claim = view->spec ? view->spec->persistent_volume_claim : NULL;

        return g_strcmp0(volume ? volume->spec->format : claim && claim->format ? claim->format : "qcow2", "qcow2") != 0;
}

bool capabilities_of_disk(const struct cache *cache, const struct cache_object *disk, const char *pool_name, bool running,
                          struct capability_question *ret_question)
{
        assert(cache && disk && ret_question);

        const struct cache_object *object = disk_volume(cache, disk);
        const struct cache_object *pool = pool_name ? cache_get(cache, &api_storage_pool_kind, NULL, pool_name) : NULL;
        const struct api_volume *volume = object ? object->view : NULL;
        const struct api_pool_node *there;
        struct capability_facts facts = {.known = CAPABILITY_RUNNING | CAPABILITY_RAW};

        if (!pool)
                return false;
        facts.set |= running ? CAPABILITY_RUNNING : 0;
        facts.set |= is_raw(disk, volume) ? CAPABILITY_RAW : 0;
        there = pool_node(pool, disk_node(cache, disk));
        if (there && there->has_reflink) {
                facts.known |= CAPABILITY_REFLINK;
                facts.set |= there->reflink ? CAPABILITY_REFLINK : 0;
        }
        *ret_question = (struct capability_question){
                .pool = capability_pool_find(((const struct api_storage_pool *)pool->view)->spec->type), .facts = facts};
        return ret_question->pool;
}

struct capability_question capabilities_of_pool(const struct cache_object *pool, const struct api_pool_node *nodes, size_t n_nodes)
{
        assert(pool && (nodes || !n_nodes));

        const struct api_storage_pool *view = pool->view;
        struct capability_question question = {.pool = capability_pool_find(view->spec->type ? view->spec->type : "Directory")};
        size_t n = 0, n_with = 0;

        for (size_t i = 0; i < n_nodes; i++) {
                n += nodes[i].has_reflink;
                n_with += nodes[i].has_reflink && nodes[i].reflink;
        }
        if (n > 0 && (n_with == 0 || n_with == n)) {
                question.facts.known |= CAPABILITY_REFLINK;
                question.facts.set |= n_with > 0 ? CAPABILITY_REFLINK : 0;
        }
        return question;
}

/* --- views --- */

struct group {
        struct api_capability_reason *list;
        size_t n;
};

static void group_add(struct arena *arena, struct group *group, const char *operation, const char *code,
                      const struct capability_pool *pool, bool texts)
{
        struct api_capability_reason *reason = NULL;
        const struct reason *words = reason_find(code);

        for (size_t i = 0; i < group->n && !reason; i++)
                if (strcmp(group->list[i].code, code) == 0)
                        reason = &group->list[i];
        if (!reason) {
                reason = &group->list[group->n++];
                reason->code = code;
                reason->operations = arena_array(arena, CAPABILITY_OPERATIONS, sizeof(*reason->operations));
                if (texts) {
                        reason->message = words->text;
                        reason->since = pool->since;
                        reason->remedy = words->doc;
                }
        }
        reason->operations[reason->n_operations++] = operation;
}

struct api_capabilities *capabilities_view(struct arena *arena, const struct capability_question *questions, size_t n,
                                           unsigned subject, bool texts)
{
        assert(arena && (questions || !n) && subject);

        struct api_capabilities *view = n > 0 ? arena_new0(arena, struct api_capabilities) : NULL;
        struct group refused = {.list = arena_array(arena, CAPABILITY_OPERATIONS, sizeof(*refused.list))};
        struct group depends = {.list = arena_array(arena, CAPABILITY_OPERATIONS, sizeof(*depends.list))};

        if (!view)
                return NULL;
        view->pool_type = questions[0].pool->type;
        view->supported = arena_array(arena, CAPABILITY_OPERATIONS, sizeof(*view->supported));
        for (int i = 0; i < CAPABILITY_OPERATIONS; i++) {
                const struct capability_words *operation = &capability_operations[i];
                const struct capability_pool *pool = NULL;
                struct capability_answer answer;

                if (!(operation->mask & subject))
                        continue;
                answer = ask_all(questions, n, i, &pool);
                if (answer.verdict == CAPABILITY_SUPPORTED)
                        view->supported[view->n_supported++] = operation->name;
                else
                        group_add(arena, answer.verdict == CAPABILITY_DEPENDS ? &depends : &refused, operation->name,
                                  answer.rule->code, pool, texts);
        }
        view->refused = refused.list;
        view->n_refused = refused.n;
        view->depends = depends.list;
        view->n_depends = depends.n;
        return view;
}
