/* SPDX-License-Identifier: Apache-2.0 */
#include "store/world_test.h"

#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "generated/api_types.h"

#include <sqlite3.h>
#include <string.h>

static uint64_t world_now(void *userdata)
{
        return ((const struct world *)userdata)->now_us;
}

static void world_failed(const char *words, void *userdata)
{
        struct world *world = userdata;

        world->failures++;
        g_free(world->failure_words);
        world->failure_words = g_strdup(words);
}

int world_open(struct world *world)
{
        g_assert_null(world->store);
        if (world->path)
                return store_open_sqlite(world->path, &world->options, &world->store);
        return store_open_memory(&world->options, &world->store);
}

void world_close(struct world *world)
{
        world->store = store_close(world->store);
}

void world_reopen(struct world *world)
{
        world_close(world);
        g_assert_cmpint(world_open(world), ==, 0);
}

struct world *world_new(bool sqlite)
{
        struct world *world = g_new0(struct world, 1);

        world->now_us = WORLD_BEGIN_US;
        world->clock = (struct clock){.real_us = world_now, .monotonic_us = world_now, .userdata = world};
        world->trace = g_string_new(NULL);
        g_assert_cmpint(loop_new(&world->loop), ==, 0);
        world->options = (struct store_options){
                .loop = world->loop,
                .clock = &world->clock,
                .failed = world_failed,
                .failed_userdata = world,
        };
        if (sqlite) {
                world->folder = g_dir_make_tmp("gabbro-store-XXXXXX", NULL);
                g_assert_nonnull(world->folder);
                world->path = g_build_filename(world->folder, "store.db", NULL);
        }
        g_assert_cmpint(world_open(world), ==, 0);
        return world;
}

struct world *world_free(struct world *world)
{
        if (!world)
                return NULL;
        store_close(world->store);
        loop_free(world->loop);
        if (world->folder)
                g_assert_cmpint(file_remove_tree(world->folder), ==, 0);
        g_free(world->folder);
        g_free(world->path);
        g_free(world->failure_words);
        g_string_free(world->trace, TRUE);
        g_free(world);
        return NULL;
}

struct json_doc *world_doc(const struct schema_kind *kind, const char *namespace, const char *name, const char *text)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *metadata;
        g_autofree char *uid = g_strconcat("uid-", name, NULL);

        json_set_root(doc, root);
        json_set_string(doc, root, "kind", kind->kind);
        metadata = json_ensure_object(doc, root, "metadata");
        json_set_string(doc, metadata, "namespace", namespace);
        json_set_string(doc, metadata, "name", name);
        json_set_string(doc, metadata, "uid", uid);
        json_set_string(doc, json_ensure_object(doc, root, "data"), "text", text);
        return doc;
}

struct json_doc *world_instance(const char *name, int epoch, int progress)
{
        struct json_doc *doc = world_doc(&api_instance_kind, NULL, name, NULL);
        struct json_value *root = json_root(doc);

        json_remove(root, "data");
        json_set_int(doc, json_ensure_object(doc, root, "spec"), "epoch", epoch);
        json_set_int(doc, json_ensure_object(doc, root, "status"), "progressPercent", progress);
        return doc;
}

void world_run_until(struct world *world, const bool *flag)
{
        while (!*flag)
                g_assert_cmpint(loop_run_once(world->loop, WORLD_PATIENCE_US), >, 0);
}

static void world_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct world_result *ret = userdata;

        g_assert_false(ret->done);
        ret->done = true;
        ret->result = result;
        ret->n_objects = n_objects;
        for (size_t i = 0; i < n_objects; i++)
                ret->revisions[i] = objects[i]->revision;
}

struct world_result world_commit(struct world *world, struct store_op *ops, size_t n_ops, const struct store_check *checks,
                                 size_t n_checks)
{
        struct store_txn txn = {
                .ops = ops,
                .n_ops = n_ops,
                .checks = checks,
                .n_checks = n_checks,
                .actor = {.user = "alice", .client = "127.0.0.1", .request_id = "r1", .field_manager = "test", .verb = "patch"},
        };
        struct world_result result = {0};

        result.outcome = store_commit(world->store, &txn, world_done, &result, &result.failed_op);
        if (result.outcome == 0)
                world_run_until(world, &result.done);
        return result;
}

uint64_t world_write(struct world *world, enum store_verb verb, const struct schema_kind *kind, const char *namespace,
                     const char *name, struct json_doc *doc)
{
        struct store_op op = {.verb = verb, .kind = kind, .namespace = namespace, .name = name, .doc = doc};
        struct world_result result = world_commit(world, &op, 1, NULL, 0);

        g_assert_cmpint(result.outcome, ==, 0);
        g_assert_cmpint(result.result, ==, 0);
        return store_revision(world->store);
}

uint64_t world_create(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name,
                      const char *text)
{
        return world_write(world, STORE_CREATE, kind, namespace, name, world_doc(kind, namespace, name, text));
}

uint64_t world_update(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name,
                      const char *text)
{
        return world_write(world, STORE_UPDATE, kind, namespace, name, world_doc(kind, namespace, name, text));
}

void world_update_often(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name, unsigned n)
{
        while (n > 0) {
                struct store_op ops[LIMIT_STORE_TXN_OPS];
                unsigned n_ops = MIN(n, LIMIT_STORE_TXN_OPS);

                for (unsigned i = 0; i < n_ops; i++)
                        ops[i] = (struct store_op){.verb = STORE_UPDATE,
                                                   .kind = kind,
                                                   .namespace = namespace,
                                                   .name = name,
                                                   .doc = world_doc(kind, namespace, name, "x")};
                g_assert_cmpint(world_commit(world, ops, n_ops, NULL, 0).outcome, ==, 0);
                n -= n_ops;
        }
}

uint64_t world_delete(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name)
{
        return world_write(world, STORE_DELETE, kind, namespace, name, NULL);
}

const char *world_text(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name)
{
        autostoreobject object = store_get(world->store, kind, namespace, name);
        const char *text = object ? json_find_string(object->root, "data", "text", NULL) : "-";

        return g_intern_string(text);
}

void world_trace_event(const struct store_event *event, void *userdata)
{
        struct world *world = userdata;

        if (!event) {
                g_string_append(world->trace, "=;");
                return;
        }
        g_assert_nonnull(event->object->root);
        g_assert_true((event->previous == NULL) == (event->verb == STORE_CREATE));
        g_assert_true(!event->previous || event->previous->root);
        g_assert_true(event->verb == STORE_DELETE || event->revision == event->object->revision);
        g_string_append_printf(world->trace, "%c%" G_GUINT64_FORMAT " %s=%s;", "CUD"[event->verb], event -> revision,
                               event -> object -> name, json_find_string(event->object->root, "data", "text", NULL));
        if (event->previous && event->verb == STORE_UPDATE)
                g_assert_cmpuint(event->previous->revision, <, event->revision);
}

void world_wait_trace(struct world *world, const char *expect)
{
        while (strlen(world->trace->str) < strlen(expect))
                g_assert_cmpint(loop_run_once(world->loop, WORLD_PATIENCE_US), >, 0);
        g_assert_cmpstr(world->trace->str, ==, expect);
}

int64_t world_sql(struct world *w, const char *text)
{
        sqlite3_stmt *statement = NULL;
        sqlite3 *db = NULL;
        int64_t number = -1;

        g_assert_cmpint(sqlite3_open(w->path, &db), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_prepare_v2(db, text, -1, &statement, NULL), ==, SQLITE_OK);
        if (sqlite3_step(statement) == SQLITE_ROW)
                number = sqlite3_column_int64(statement, 0);
        g_assert_cmpint(sqlite3_finalize(statement), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
        return number;
}
