/* SPDX-License-Identifier: Apache-2.0 */
#include "control/turn.h"

#include "base/arena.h"
#include "base/limits.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SUFFIX_LEN    5
#define GENERATED_MAX 63 /* a generated name is a label, so that it fits everywhere */

void turn_init(struct turn *turn, const struct cache *cache, const struct cache_object *object, const struct random_source *random,
               uint64_t now_us)
{
        assert(turn && cache && object && random);

        *turn = (struct turn){
                .cache = cache,
                .object = object,
                .random = random,
                .now_us = now_us,
                .arena = arena_new(0),
                .effects = g_ptr_array_new(),
                .checks = g_array_new(FALSE, FALSE, sizeof(struct store_check)),
                .events = g_array_new(FALSE, FALSE, sizeof(struct turn_event)),
                .again_us = UINT64_MAX,
        };
}

void turn_clear(struct turn *turn)
{
        assert(turn);

        for (guint i = 0; turn->effects && i < turn->effects->len; i++)
                json_doc_free(((struct turn_effect *)turn->effects->pdata[i])->doc);
        g_clear_pointer(&turn->effects, g_ptr_array_unref);
        g_clear_pointer(&turn->checks, g_array_unref);
        g_clear_pointer(&turn->events, g_array_unref);
        g_clear_pointer(&turn->arena, arena_free);
        g_clear_pointer(&turn->refusal, g_free);
}

const struct cache *turn_cache(const struct turn *turn)
{
        assert(turn);
        return turn->cache;
}

uint64_t turn_now_us(const struct turn *turn)
{
        assert(turn);
        return turn->now_us;
}

const struct random_source *turn_random(const struct turn *turn)
{
        assert(turn);
        return turn->random;
}

struct arena *turn_arena(const struct turn *turn)
{
        assert(turn);
        return turn->arena;
}

void turn_again_in(struct turn *turn, uint64_t delay_us)
{
        assert(turn);
        turn->again_us = MIN(turn->again_us, delay_us);
}

const char *turn_refusal(const struct turn *turn)
{
        assert(turn);
        return turn->refusal;
}

size_t turn_room(const struct turn *turn)
{
        assert(turn);
        return turn->effects->len < LIMIT_STORE_TXN_OPS ? LIMIT_STORE_TXN_OPS - turn->effects->len : 0;
}

/* --- effects --- */

static struct turn_effect *turn_find(const struct turn *turn, const struct schema_kind *kind, const char *namespace,
                                     const char *name)
{
        for (guint i = 0; i < turn->effects->len; i++) {
                struct turn_effect *effect = turn->effects->pdata[i];

                if (effect->kind == kind && g_strcmp0(effect->namespace, namespace) == 0 && g_strcmp0(effect->name, name) == 0)
                        return effect;
        }
        return NULL;
}

static struct turn_effect *turn_effect_of(struct turn *turn, const struct cache_object *object)
{
        struct turn_effect *effect = turn_find(turn, object->kind, object->namespace, object->name);

        if (effect)
                return effect;
        effect = arena_new0(turn->arena, struct turn_effect);
        *effect = (struct turn_effect){
                .kind = object->kind,
                .namespace = arena_strdup(turn->arena, object->namespace),
                .name = arena_strdup(turn->arena, object->name),
                .base = cache_root(object),
                .base_revision = object->revision,
                .doc = json_doc_new(),
        };
        json_set_root(effect->doc, json_copy(effect->doc, cache_root(object)));
        g_ptr_array_add(turn->effects, effect);
        return effect;
}

static const struct schema_field *kind_field(const struct schema_kind *kind, const char *name)
{
        for (const struct schema_field *field = kind->type->fields; field->name; field++)
                if (strcmp(field->name, name) == 0)
                        return field;
        return NULL;
}

static void turn_overlay(struct turn *turn, const struct cache_object *object, const char *part, const void *view)
{
        const struct schema_field *field = kind_field(object->kind, part);

        assert(field && field->type);

        struct turn_effect *effect = turn_effect_of(turn, object);
        struct json_value *target = json_ensure_object(effect->doc, json_root(effect->doc), part);

        schema_overlay(field->type, view, effect->doc, target);
        schema_default(effect->kind, effect->doc, json_root(effect->doc));
        if (json_length(target) == 0 && !json_get(effect->base, part))
                json_remove(json_root(effect->doc), part);
}

void turn_update_spec(struct turn *turn, const struct cache_object *object, const void *spec_view)
{
        assert(turn && object && spec_view);
        turn_overlay(turn, object, "spec", spec_view);
}

void turn_update_status(struct turn *turn, const struct cache_object *object, const void *status_view)
{
        assert(turn && object && status_view);
        turn_overlay(turn, object, "status", status_view);
}

static void metadata_set(struct turn *turn, const struct cache_object *object, const char *map, const char *key, const char *value)
{
        struct turn_effect *effect = turn_effect_of(turn, object);
        struct json_value *metadata = json_ensure_object(effect->doc, json_root(effect->doc), "metadata");
        struct json_value *members = json_get(metadata, map);

        if (!value && !members)
                return;
        members = json_ensure_object(effect->doc, metadata, map);
        json_set_string(effect->doc, members, key, value);
        if (json_length(members) == 0)
                json_remove(metadata, map);
}

void turn_set_label(struct turn *turn, const struct cache_object *object, const char *key, const char *value)
{
        assert(turn && object && key);
        metadata_set(turn, object, "labels", key, value);
}

void turn_set_annotation(struct turn *turn, const struct cache_object *object, const char *key, const char *value)
{
        assert(turn && object && key);
        metadata_set(turn, object, "annotations", key, value);
}

static bool strings_hold(const struct json_value *array, const char *text, size_t *ret_index)
{
        size_t index = 0;

        for (const struct json_value *v = json_first(array); v; v = json_next(v), index++) {
                if (g_strcmp0(json_string(v, NULL), text) != 0)
                        continue;
                *ret_index = index;
                return true;
        }
        return false;
}

void turn_add_finalizer(struct turn *turn, const struct cache_object *object, const char *finalizer)
{
        assert(turn && object && finalizer);

        struct turn_effect *effect = turn_effect_of(turn, object);
        struct json_value *metadata = json_ensure_object(effect->doc, json_root(effect->doc), "metadata");
        struct json_value *finalizers = json_ensure_array(effect->doc, metadata, "finalizers");
        size_t index;

        if (!strings_hold(finalizers, finalizer, &index))
                json_append(finalizers, json_new_string(effect->doc, finalizer));
}

void turn_remove_finalizer(struct turn *turn, const struct cache_object *object, const char *finalizer)
{
        assert(turn && object && finalizer);

        struct turn_effect *effect = turn_effect_of(turn, object);
        struct json_value *metadata = json_get(json_root(effect->doc), "metadata");
        struct json_value *finalizers = json_get(metadata, "finalizers");
        size_t index;

        if (!strings_hold(finalizers, finalizer, &index))
                return;
        json_remove_at(finalizers, index);
        if (json_length(finalizers) > 0)
                return;
        json_remove(metadata, "finalizers");
        if (json_get(metadata, "deletionTimestamp"))
                effect->remove = true;
}

void turn_drop_owners(struct turn *turn, const struct cache_object *object, bool (*drop)(const char *uid, void *userdata),
                      void *userdata)
{
        assert(turn && object && drop);

        struct turn_effect *effect = turn_effect_of(turn, object);
        struct json_value *metadata = json_get(json_root(effect->doc), "metadata");
        struct json_value *owners = json_get(metadata, "ownerReferences");
        size_t index = json_length(owners);

        while (index-- > 0)
                if (drop(json_string(json_get(json_at(owners, index), "uid"), ""), userdata))
                        json_remove_at(owners, index);
        if (json_length(owners) == 0)
                json_remove(metadata, "ownerReferences");
}

void turn_delete(struct turn *turn, const struct cache_object *object)
{
        assert(turn && object);

        struct turn_effect *effect = turn_effect_of(turn, object);
        struct json_value *metadata = json_ensure_object(effect->doc, json_root(effect->doc), "metadata");
        char text[CLOCK_RFC3339_MAX];

        if (json_get(metadata, "deletionTimestamp"))
                return;
        if (json_length(json_get(metadata, "finalizers")) == 0) {
                effect->remove = true;
                return;
        }
        json_set_string(effect->doc, metadata, "deletionTimestamp", clock_format_rfc3339(turn->now_us, false, text));
        json_set_int(effect->doc, metadata, "deletionGracePeriodSeconds", 0);
}

/* --- creation --- */

const char *turn_random_name(struct turn *turn, const char *prefix)
{
        assert(turn && prefix);

        static const char letters[] = "bcdfghjklmnpqrstvwxz2456789"; /* no vowels, no look-alikes */
        char suffix[SUFFIX_LEN + 1] = "";

        for (size_t i = 0; i < SUFFIX_LEN; i++)
                suffix[i] = letters[random_below(turn->random, sizeof(letters) - 1)];
        return arena_printf(turn->arena, "%.*s%s", GENERATED_MAX - SUFFIX_LEN, prefix, suffix);
}

static void stamp_new(struct turn *turn, struct json_doc *doc, struct json_value *metadata, const char *name, const char *uid)
{
        char text[CLOCK_RFC3339_MAX];

        json_set_string(doc, metadata, "name", name);
        json_set_string(doc, metadata, "uid", uid);
        json_set_string(doc, metadata, "creationTimestamp", clock_format_rfc3339(turn->now_us, false, text));
        json_set_int(doc, metadata, "generation", 1);
}

struct turn_created turn_create(struct turn *turn, const struct schema_kind *kind, const void *view)
{
        assert(turn && kind && view);

        struct turn_effect *effect = arena_new0(turn->arena, struct turn_effect);
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *encoded = schema_encode(kind->type, view, doc);
        g_autofree char *version = kind->group[0] ? g_strdup_printf("%s/%s", kind->group, kind->version) : g_strdup(kind->version);
        char uid[UUID_TEXT_MAX];

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", version);
        json_set_string(doc, root, "kind", kind->kind);
        for (const struct json_value *v = json_first(encoded); v; v = json_next(v))
                if (strcmp(json_key(v), "apiVersion") != 0 && strcmp(json_key(v), "kind") != 0)
                        json_set(doc, root, json_key(v), json_copy(doc, v));

        struct json_value *metadata = json_ensure_object(doc, root, "metadata");
        const char *prefix = json_find_string(metadata, "generateName", NULL);
        const char *name = json_find_string(metadata, "name", NULL);
        const char *namespace = json_find_string(metadata, "namespace", NULL);

        name = name ? arena_strdup(turn->arena, name) : turn_random_name(turn, prefix);
        uuid_generate(turn->random, uid);
        stamp_new(turn, doc, metadata, name, uid);
        schema_default(kind, doc, root);
        assert(!turn_find(turn, kind, namespace, name));
        assert(!namespace == !kind->namespaced);

        *effect = (struct turn_effect){
                .kind = kind,
                .namespace = arena_strdup(turn->arena, namespace),
                .name = name,
                .doc = doc,
        };
        g_ptr_array_add(turn->effects, effect);
        return (struct turn_created){.name = name, .uid = arena_strdup(turn->arena, uid)};
}

/* --- checks and events --- */

static void turn_check(struct turn *turn, const struct schema_kind *kind, const char *namespace, const char *name,
                       uint64_t revision)
{
        struct store_check check = {
                .kind = kind,
                .namespace = arena_strdup(turn->arena, namespace),
                .name = arena_strdup(turn->arena, name),
                .revision = revision,
        };

        g_array_append_val(turn->checks, check);
}

static bool sweep_each(const struct store_object *object, void *userdata)
{
        struct turn *turn = userdata;
        struct turn_effect *effect;

        if (turn_room(turn) <= 2)
                return false;
        effect = arena_new0(turn->arena, struct turn_effect);
        *effect = (struct turn_effect){
                .kind = object->kind,
                .namespace = arena_strdup(turn->arena, object->namespace),
                .name = arena_strdup(turn->arena, object->name),
                .base_revision = object->revision,
                .remove = true,
        };
        g_ptr_array_add(turn->effects, effect);
        return true;
}

size_t turn_sweep(struct turn *turn, const struct schema_kind *kind, const char *namespace)
{
        assert(turn && turn->store && kind && kind->namespaced && namespace);

        size_t n = store_count(turn->store, kind, namespace);

        if (n)
                store_list(turn->store, kind, namespace, NULL, sweep_each, turn);
        return n;
}

size_t turn_count(const struct turn *turn, const struct schema_kind *kind, const char *namespace)
{
        assert(turn && turn->store && kind && namespace);
        return store_count(turn->store, kind, namespace);
}

bool turn_published(const struct turn *turn, const struct cache_object *object)
{
        assert(turn && turn->store && object);
        return store_revision(turn->store) >= object->revision;
}

void turn_depends(struct turn *turn, const struct cache_object *object)
{
        assert(turn && object);
        turn_check(turn, object->kind, object->namespace, object->name, object->revision);
}

void turn_depends_absent(struct turn *turn, const struct schema_kind *kind, const char *namespace, const char *name)
{
        assert(turn && kind && name);
        turn_check(turn, kind, namespace, name, 0);
}

void turn_event(struct turn *turn, const struct cache_object *about, bool warning, const char *reason, const char *message)
{
        assert(turn && about && reason && message);

        struct cache_object *copy =
                arena_new0(turn->arena, struct cache_object); /* written after the commit, when @about may be gone */

        *copy = (struct cache_object){
                .kind = about->kind,
                .namespace = arena_strdup(turn->arena, about->namespace),
                .name = arena_strdup(turn->arena, about->name),
                .uid = arena_strdup(turn->arena, about->uid),
                .revision = about->revision,
        };

        struct turn_event event = {
                .about = copy,
                .warning = warning,
                .reason = arena_strdup(turn->arena, reason),
                .message = arena_strdup(turn->arena, message),
        };

        g_array_append_val(turn->events, event);
}

/* --- transaction --- */

static void effect_grow_generation(struct turn_effect *effect)
{
        struct json_value *root = json_root(effect->doc);
        bool deleted = json_find(root, "metadata", "deletionTimestamp", NULL) &&
                       !json_find(effect->base, "metadata", "deletionTimestamp", NULL);
        int64_t generation = 0;

        if (!deleted && json_equal(json_get(root, "spec"), json_get(effect->base, "spec")))
                return;
        json_int64(json_find(root, "metadata", "generation", NULL), &generation);
        json_set_int(effect->doc, json_get(root, "metadata"), "generation", generation + 1);
}

static bool effect_op(struct turn_effect *effect, struct store_op *op)
{
        *op = (struct store_op){
                .kind = effect->kind,
                .namespace = effect->namespace,
                .name = effect->name,
                .expect_revision = effect->base_revision,
        };
        if (effect->remove) {
                op->verb = STORE_DELETE;
                return true;
        }
        if (!effect->base) {
                op->verb = STORE_CREATE;
        } else {
                if (json_equal(json_root(effect->doc), effect->base))
                        return false;
                op->verb = STORE_UPDATE;
                effect_grow_generation(effect);
        }
        op->doc = g_steal_pointer(&effect->doc);
        return true;
}

static bool op_of(const struct store_op *ops, int n, const struct schema_kind *kind, const char *namespace, const char *name)
{
        for (int i = 0; i < n; i++)
                if (ops[i].kind == kind && g_strcmp0(ops[i].namespace, namespace) == 0 && strcmp(ops[i].name, name) == 0)
                        return true;
        return false;
}

/* A written object is conditional by its own revision; a check of it would compare with the write of this transaction. */
static void turn_drop_checks(struct turn *turn, const struct store_op *ops, int n)
{
        for (guint i = turn->checks->len; i-- > 0;) {
                const struct store_check *check = &g_array_index(turn->checks, struct store_check, i);

                if (op_of(ops, n, check->kind, check->namespace, check->name))
                        g_array_remove_index_fast(turn->checks, i);
        }
}

int turn_take_ops(struct turn *turn, struct store_op *ops)
{
        assert(turn && ops);

        int n = 0;

        if (turn->effects->len > LIMIT_STORE_TXN_OPS)
                return -E2BIG;
        for (guint i = 0; i < turn->effects->len; i++)
                if (effect_op(turn->effects->pdata[i], &ops[n]))
                        n++;
        if (n > 0)
                turn_depends(turn, turn->object);
        turn_drop_checks(turn, ops, n);
        return n;
}
