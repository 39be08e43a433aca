/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/object.h"

#include "base/clock.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

/* How the view of every kind begins. */
struct any_object {
        const char *api_version, *kind;
        struct api_object_meta *metadata;
};

const struct api_object_meta *object_meta(const struct cache_object *object)
{
        static const struct api_object_meta none;

        assert(object);

        const struct any_object *any = object->view;

        return any && any->metadata ? any->metadata : &none;
}

bool object_deleting(const struct cache_object *object)
{
        return object_meta(object)->deletion_timestamp != NULL;
}

const char *pairs_get(const struct api_pair *pairs, size_t n_pairs, const char *key)
{
        assert(key);

        for (size_t i = 0; i < n_pairs; i++)
                if (strcmp(pairs[i].key, key) == 0)
                        return pairs[i].value;
        return NULL;
}

const char *object_annotation(const struct cache_object *object, const char *key)
{
        const struct api_object_meta *meta = object_meta(object);

        return pairs_get(meta->annotations, meta->n_annotations, key);
}

const char *object_label(const struct cache_object *object, const char *key)
{
        const struct api_object_meta *meta = object_meta(object);

        return pairs_get(meta->labels, meta->n_labels, key);
}

bool strings_hold(const char *const *strings, size_t n_strings, const char *text)
{
        for (size_t i = 0; i < n_strings; i++)
                if (g_strcmp0(strings[i], text) == 0)
                        return true;
        return false;
}

bool object_has_finalizer(const struct cache_object *object, const char *finalizer)
{
        const struct api_object_meta *meta = object_meta(object);

        return strings_hold((const char *const *)meta->finalizers, meta->n_finalizers, finalizer);
}

uint64_t time_us(const char *rfc3339)
{
        uint64_t us;

        return rfc3339 && clock_parse_rfc3339(rfc3339, &us) == 0 ? us : 0;
}

uint64_t object_created_us(const struct cache_object *object)
{
        return time_us(object_meta(object)->creation_timestamp);
}

bool object_owned_by(const struct cache_object *object, const char *uid)
{
        const struct api_object_meta *meta = object_meta(object);

        for (size_t i = 0; i < meta->n_owner_references; i++)
                if (g_strcmp0(meta->owner_references[i].uid, uid) == 0)
                        return true;
        return false;
}

bool object_moved(const struct cache_object *before, const struct cache_object *now)
{
        if (!before || !now || strcmp(before->uid, now->uid) != 0)
                return true;
        return object_meta(before)->generation != object_meta(now)->generation || object_deleting(before) != object_deleting(now);
}

bool node_moved(const struct cache_object *before, const struct cache_object *now)
{
        static const char *const parts[] = {"spec", "status"};

        if (!before || !now)
                return true;
        if (schema_changes_only_volatile(now->kind, cache_root(before), cache_root(now)))
                return false;
        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
                const struct json_value *a = json_get(cache_root(before), parts[i]), *b = json_get(cache_root(now), parts[i]);

                if (!a != !b || (a && b && !json_equal(a, b)))
                        return true;
        }
        return !json_equal(json_find(cache_root(before), "metadata", "labels", NULL),
                           json_find(cache_root(now), "metadata", "labels", NULL));
}

/* --- intents --------------------------------------------------------------------------------------------------------------------
 */

struct intent_owner intent_owner_of(const struct cache_object *object)
{
        assert(object);
        return (struct intent_owner){
                .kind = object->kind->kind,
                .namespace = object->namespace,
                .name = object->name,
                .uid = object->uid,
        };
}

const char *intent_name(struct arena *arena, char letter, const char *uid, unsigned n)
{
        assert(arena && uid);
        return arena_printf(arena, "%c-%s-%u", letter, uid, n);
}

const char *intent_free_name(const struct cache *cache, const struct schema_kind *kind, struct arena *arena, char letter,
                             const char *uid, unsigned n)
{
        const char *name;

        assert(cache && kind && arena && uid);
        do
                name = intent_name(arena, letter, uid, n++);
        while (cache_get(cache, kind, NULL, name));
        return name;
}

bool object_is_standby(const struct cache_object *object)
{
        assert(object);
        return object_annotation(object, ANNOTATION_STANDBY) != NULL;
}

/* Label values hold at most 63 characters; names may be longer. */
static const char *label_value(struct arena *arena, const char *text)
{
        size_t len = strlen(text);

        if (len <= 63)
                return text;
        for (len = 63; len > 0 && !g_ascii_isalnum(text[len - 1]); len--)
                ;
        return arena_strndup(arena, text, len);
}

struct api_object_meta *intent_meta(struct arena *arena, const struct intent_owner *owner, const char *name, const char *node)
{
        assert(arena && owner && name && node);

        struct api_object_meta *meta = arena_new0(arena, struct api_object_meta);
        struct api_pair *labels = arena_array(arena, 4, sizeof(*labels));
        const char **finalizers = arena_array(arena, 1, sizeof(*finalizers));
        size_t n = 0;

        labels[n++] = (struct api_pair){LABEL_OWNER_KIND, owner->kind};
        if (owner->namespace)
                labels[n++] = (struct api_pair){LABEL_OWNER_NAMESPACE, owner->namespace};
        labels[n++] = (struct api_pair){LABEL_OWNER_NAME, label_value(arena, owner->name)};
        labels[n++] = (struct api_pair){LABEL_NODE, label_value(arena, node)};
        finalizers[0] = FINALIZER_AGENT;
        *meta = (struct api_object_meta){
                .name = name,
                .labels = labels,
                .n_labels = n,
                .finalizers = finalizers,
                .n_finalizers = 1,
        };
        return meta;
}

bool intent_retire(struct turn *turn, const struct cache_object *intent, const char *state)
{
        assert(turn && intent);

        if (!object_deleting(intent)) {
                turn_delete(turn, intent);
                return false;
        }
        if (g_strcmp0(state, "Gone") != 0)
                return false;
        turn_remove_finalizer(turn, intent, FINALIZER_AGENT);
        return true;
}

bool instance_panicked(const struct api_instance *instance)
{
        const struct api_instance_status *status = instance->status;

        return status && g_strcmp0(status->state, "crashed") == 0 && g_strcmp0(status->state_reason, REASON_GUEST_PANICKED) == 0;
}

bool instance_active(const struct cache_object *instance)
{
        assert(instance);

        const struct api_instance *view = instance->view;
        const char *state = view->status ? view->status->state : NULL;
        static const char *const ended[] = {"shutoff", "crashed", "defined", "Gone"};

        if (view->spec && g_strcmp0(view->spec->power, "On") == 0)
                return true;
        if (state && instance_panicked(view))
                return true;
        return state && !strings_hold(ended, G_N_ELEMENTS(ended), state);
}

char *device_key(const char *kind, const char *namespace, const char *name)
{
        assert(kind && name);
        return g_strdup_printf("%s/%s/%s", kind, namespace ? namespace : "-", name);
}

/* --- indexes --------------------------------------------------------------------------------------------------------------------
 */

const struct cache_object *index_one(const struct cache *cache, const char *index, const char *key)
{
        assert(cache && index && key);

        g_autoptr(GPtrArray) found = cache_lookup(cache, index, key);

        return found && found->len > 0 ? found->pdata[0] : NULL;
}

void index_enqueue(const struct cache *cache, const char *index, const char *key, struct workqueue *queue)
{
        assert(cache && index && key && queue);

        g_autoptr(GPtrArray) found = cache_lookup(cache, index, key);

        for (guint i = 0; found && i < found->len; i++) {
                const struct cache_object *object = found->pdata[i];

                controller_enqueue(queue, object->namespace, object->name);
        }
}

static bool enqueue_each(const struct cache_object *object, void *userdata)
{
        controller_enqueue(userdata, object->namespace, object->name);
        return true;
}

void kind_enqueue(const struct cache *cache, const struct schema_kind *kind, const char *namespace, struct workqueue *queue)
{
        assert(cache && kind && queue);
        cache_each(cache, kind, namespace, enqueue_each, queue);
}
