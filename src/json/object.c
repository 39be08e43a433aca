/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "json/json_value.h"

#include <assert.h>

/* What stands in a slot whose member was removed. */
static struct json_value removed_member;

static const uint64_t *hash_secret(void)
{
        static uint64_t secret[2];
        static gsize ready;

        if (g_once_init_enter(&ready)) {
                random_fill(random_system(), secret, sizeof(secret));
                secret[0] |= 1;
                secret[1] |= 1;
                g_once_init_leave(&ready, 1);
        }
        return secret;
}

static uint64_t fold_multiply(uint64_t a, uint64_t b)
{
        unsigned __int128 product = (unsigned __int128)a * b;

        return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t json_hash(const char *key, size_t len)
{
        const uint64_t *secret = hash_secret();
        uint64_t hash = secret[0] ^ len, word;

        for (; len >= sizeof(word); key += sizeof(word), len -= sizeof(word)) {
                memcpy(&word, key, sizeof(word));
                hash = fold_multiply(hash ^ word, secret[1]) + secret[0];
        }
        word = 0;
        memcpy(&word, key, len);
        hash = fold_multiply(hash ^ word, secret[1]);
        return (uint32_t)(fold_multiply(hash ^ secret[1], secret[0]) >> 16);
}

struct json_value *json_index_find(const struct json_value *object, const char *key, size_t len, uint32_t hash)
{
        const struct json_index *index = object->index;

        for (uint32_t i = hash & index->mask; index->slots[i]; i = (i + 1) & index->mask) {
                struct json_value *value = index->slots[i];

                if (value->hash == hash && value->key && json_text_is(value->key, value->key_len, key, len))
                        return value;
        }
        return NULL;
}

static void index_put(struct json_index *index, struct json_value *value)
{
        uint32_t i = value->hash & index->mask;

        while (index->slots[i])
                i = (i + 1) & index->mask;
        index->slots[i] = value;
        index->used++;
}

/* Room for @n members at a load of at most one half. */
static void index_fill(struct arena *arena, struct json_value *object, size_t n)
{
        struct json_index *index = object->index;
        size_t size = 64;

        while (size < n * 2)
                size *= 2;
        index->slots = arena_array(arena, size, sizeof(*index->slots));
        index->mask = (uint32_t)(size - 1);
        index->used = 0;
        for (struct json_value *v = object->first; v; v = v->next)
                index_put(index, v);
}

void json_index_build(struct arena *arena, struct json_value *object, struct json_value *last)
{
        struct json_index *index = arena_new0(arena, struct json_index);

        for (struct json_value *v = object->first; v; v = v->next)
                v->hash = json_hash(v->key, v->key_len);
        index->last = last;
        object->index = index;
        object->indexed = true;
        index_fill(arena, object, object->len);
}

void json_index_add(struct arena *arena, struct json_value *object, struct json_value *value)
{
        if (object->index->used * 4 > object->index->mask * 3)
                index_fill(arena, object, (size_t)object->len * 2);
        else
                index_put(object->index, value);
}

static void index_remove(struct json_index *index, const struct json_value *value)
{
        uint32_t i = value->hash & index->mask;

        while (index->slots[i] != value)
                i = (i + 1) & index->mask;
        index->slots[i] = &removed_member;
}

static void index_replace(struct json_index *index, const struct json_value *old, struct json_value *value)
{
        uint32_t i = old->hash & index->mask;

        while (index->slots[i] != old)
                i = (i + 1) & index->mask;
        value->hash = old->hash;
        index->slots[i] = value;
}

struct json_value *json_get_len(const struct json_value *object, const char *key, size_t len)
{
        if (!json_is(object, JSON_OBJECT))
                return NULL;
        if (object->indexed)
                return json_index_find(object, key, len, json_hash(key, len));
        for (struct json_value *v = object->first; v; v = v->next)
                if (json_text_is(v->key, v->key_len, key, len))
                        return v;
        return NULL;
}

struct json_value *json_get(const struct json_value *object, const char *key)
{
        assert(key);
        return json_get_len(object, key, strlen(key));
}

static void set_last(struct json_value *container, struct json_value *last)
{
        if (container->indexed)
                container->index->last = last;
        else
                container->last = last;
}

static void link_last(struct json_value *container, struct json_value *value)
{
        struct json_value *last = json_last(container);

        assert(!value->linked);
        if (last)
                last->next = value;
        else
                container->first = value;
        set_last(container, value);
        value->next = NULL;
        value->linked = true;
        container->len++;
}

void json_object_append(struct json_doc *doc, struct json_value *object, const char *key, size_t len, struct json_value *value)
{
        assert(len <= UINT32_MAX);
        value->key = key;
        value->key_len = (uint32_t)len;
        link_last(object, value);
        if (object->indexed) {
                value->hash = json_hash(key, len);
                json_index_add(doc->arena, object, value);
        } else if (object->len > JSON_INDEX_ABOVE) {
                json_index_build(doc->arena, object, value);
        }
}

/* Unlink what follows @previous (NULL: the first). */
static struct json_value *unlink_after(struct json_value *container, struct json_value *previous)
{
        struct json_value *value = previous ? previous->next : container->first;

        if (previous)
                previous->next = value->next;
        else
                container->first = value->next;
        if (json_last(container) == value)
                set_last(container, previous);
        container->len--;
        value->next = NULL;
        value->key = NULL;
        value->linked = false;
        return value;
}

static struct json_value *previous_of(const struct json_value *container, const struct json_value *value)
{
        struct json_value *previous = NULL;

        for (struct json_value *v = container->first; v != value; v = v->next)
                previous = v;
        return previous;
}

/* @value takes the place and the key of @old. */
static void replace_member(struct json_value *object, struct json_value *old, struct json_value *value)
{
        struct json_value *previous = previous_of(object, old);

        assert(!value->linked);
        value->key = old->key;
        value->key_len = old->key_len;
        value->next = old->next;
        value->linked = true;
        if (object->indexed)
                index_replace(object->index, old, value);
        if (previous)
                previous->next = value;
        else
                object->first = value;
        if (json_last(object) == old)
                set_last(object, value);
        old->next = NULL;
        old->key = NULL;
        old->linked = false;
}

struct json_value *json_set_len(struct json_doc *doc, struct json_value *object, const char *key, size_t len,
                                struct json_value *value)
{
        struct json_value *old;

        assert(doc);
        assert(json_is(object, JSON_OBJECT));
        assert(value && !value->linked && value != object);
        old = json_get_len(object, key, len);
        if (old) {
                replace_member(object, old, value);
                return value;
        }
        json_object_append(doc, object, arena_strndup(doc->arena, key, len), len, value);
        return value;
}

struct json_value *json_set(struct json_doc *doc, struct json_value *object, const char *key, struct json_value *value)
{
        g_autofree char *repaired = NULL;
        size_t len;

        assert(key);
        len = strlen(key);
        if (!g_utf8_validate(key, (gssize)len, NULL)) {
                key = repaired = g_utf8_make_valid(key, (gssize)len);
                len = strlen(key);
        }
        return json_set_len(doc, object, key, len, value);
}

struct json_value *json_remove_len(struct json_value *object, const char *key, size_t len)
{
        struct json_value *value = json_get_len(object, key, len);

        if (!value)
                return NULL;
        if (object->indexed)
                index_remove(object->index, value);
        return unlink_after(object, previous_of(object, value));
}

bool json_remove(struct json_value *object, const char *key)
{
        assert(key);
        return json_remove_len(object, key, strlen(key)) != NULL;
}

struct json_value *json_append(struct json_value *array, struct json_value *value)
{
        assert(json_is(array, JSON_ARRAY));
        assert(value && value != array);
        link_last(array, value);
        return value;
}

struct json_value *json_insert(struct json_value *array, size_t index, struct json_value *value)
{
        struct json_value *previous;

        assert(json_is(array, JSON_ARRAY));
        assert(index <= array->len);
        assert(value && !value->linked && value != array);
        if (index == array->len)
                return json_append(array, value);
        previous = index ? json_at(array, index - 1) : NULL;
        value->next = previous ? previous->next : array->first;
        if (previous)
                previous->next = value;
        else
                array->first = value;
        value->linked = true;
        array->len++;
        return value;
}

struct json_value *json_take_at(struct json_value *array, size_t index)
{
        if (!json_is(array, JSON_ARRAY) || index >= array->len)
                return NULL;
        return unlink_after(array, index ? json_at(array, index - 1) : NULL);
}

bool json_remove_at(struct json_value *array, size_t index)
{
        return json_take_at(array, index) != NULL;
}
