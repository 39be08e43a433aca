/* SPDX-License-Identifier: Apache-2.0 */
#include "store/version.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

struct version *version_new(const struct version_init *init)
{
        size_t key_len = strlen(init->key), uid_len = init->uid ? strlen(init->uid) + 1 : 0;
        const char *first = strchr(init->key, '/'), *second = first ? strchr(first + 1, '/') : NULL;
        struct version *version;
        size_t namespace_len, size;
        char *p;

        assert(second);
        namespace_len = (size_t)(second - first - 1);
        size = sizeof(*version) + key_len + 1 + namespace_len + 1 + uid_len + init->len + 1;
        version = g_malloc(size);
        memset(version, 0, sizeof(*version));
        version->refs = 1;
        version->size = size;
        version->doc = init->doc;
        p = memcpy(version->text, init->key, key_len + 1);
        version->public = (struct store_object){
                .kind = init->kind,
                .key = p,
                .name = p + (second + 1 - init->key),
                .revision = init->revision,
                .created_revision = init->created_revision,
                .len = init->len,
                .root = init->doc ? json_root_const(init->doc) : NULL,
        };
        p += key_len + 1;
        memcpy(p, first + 1, namespace_len);
        p[namespace_len] = '\0';
        version->public.namespace = strcmp(p, "-") == 0 ? NULL : p;
        p += namespace_len + 1;
        if (uid_len > 0)
                version->public.uid = memcpy(p, init->uid, uid_len);
        p += uid_len;
        version->public.bytes = memcpy(p, init->bytes, init->len);
        p[init->len] = '\0';
        return version;
}

struct version *version_ref(struct version *version)
{
        if (version)
                __atomic_add_fetch(&version->refs, 1, __ATOMIC_RELAXED);
        return version;
}

struct version *version_unref(struct version *version)
{
        /* A chain of bases is at most one long: the base of a version has none. */
        while (version && __atomic_sub_fetch(&version->refs, 1, __ATOMIC_ACQ_REL) == 0) {
                struct version *base = version->base;

                json_doc_free(version->doc);
                g_free(version);
                version = base;
        }
        return NULL;
}

struct version *version_own(struct version *version)
{
        if (version)
                version->own++;
        return version_ref(version);
}

struct version *version_disown(struct version *version)
{
        if (version)
                version->own--;
        return version_unref(version);
}

const struct store_object *version_public(struct version *version)
{
        assert(version);
        if (!version->doc && json_parse(version->public.bytes, version->public.len, &version->doc, NULL) == 0)
                version->public.root = json_root_const(version->doc);
        return &version->public;
}

void version_shrink(struct version *version)
{
        if (!version || !version->doc || version->public.len == 0)
                return;
        if (__atomic_load_n(&version->refs, __ATOMIC_ACQUIRE) != version->own)
                return;
        version->public.root = NULL;
        version->doc = json_doc_free(version->doc);
}

void store_show(const struct store_object *object, void (*show)(const struct store_object *object, void *userdata), void *userdata)
{
        struct version *version = version_of(object);
        bool had_tree, stays;

        assert(object && show);
        had_tree = version->doc;
        show(version_public(version), userdata);
        stays = version->own > 0; /* then it outlives the reference */
        version_unref(version);
        if (stays && !had_tree)
                version_shrink(version);
}

size_t version_cost(const struct version *version)
{
        return version ? version->size : 0;
}

const struct store_object *store_object_ref(const struct store_object *object)
{
        return object ? &version_ref(version_of(object))->public : NULL;
}

const struct store_object *store_object_unref(const struct store_object *object)
{
        version_unref(version_of(object));
        return NULL;
}

int store_key_write(char *text, const struct schema_kind *kind, const char *namespace, const char *name)
{
        int n = snprintf(text, STORE_KEY_MAX, "%s.%s/%s/%s", kind->plural, kind->group, namespace ? namespace : "-", name);

        return n < 0 || n >= STORE_KEY_MAX ? -ENAMETOOLONG : n;
}

char *store_key(const struct schema_kind *kind, const char *namespace, const char *name)
{
        return g_strdup_printf("%s.%s/%s/%s", kind->plural, kind->group, namespace ? namespace : "-", name);
}

const struct schema_kind *store_key_kind(const char *key)
{
        const char *dot = strchr(key, '.'), *slash = strchr(key, '/');
        char plural[128], group[256];

        if (!dot || !slash || dot > slash || (size_t)(dot - key) >= sizeof(plural) || (size_t)(slash - dot) > sizeof(group))
                return NULL;
        memcpy(plural, key, (size_t)(dot - key));
        plural[dot - key] = '\0';
        memcpy(group, dot + 1, (size_t)(slash - dot - 1));
        group[slash - dot - 1] = '\0';
        return schema_kind_by_plural(group, plural);
}
