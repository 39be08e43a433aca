/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "store/store.h"

/*
 * The store's own side of struct store_object. The tree is made when the version is first handed out, and dropped again from old
 * versions that nobody but the store holds (version_shrink()). References may be given up on any thread; everything else happens on
 * the loop thread.
 */
struct version {
        struct store_object public; /* first */
        int refs;
        int own;              /* how many of them the published state, the ring and the warm list hold; loop thread only */
        struct json_doc *doc; /* owns public.root, or NULL */
        struct version *base; /* of a version that differs from it in volatile fields alone: the last one that history keeps */
        size_t size;          /* of this allocation */
        char text[];          /* key, namespace, uid, bytes: each with its NUL */
};

struct version_init {
        const struct schema_kind *kind;
        const char *key;
        const char *uid; /* may be NULL */
        uint64_t revision, created_revision;
        const char *bytes;
        size_t len;
        struct json_doc *doc; /* the parsed @bytes, taken over; or NULL: parsed when needed */
};

/** version_new() - a version with one reference. */
struct version *version_new(const struct version_init *init);
struct version *version_ref(struct version *version); /* NULL gives NULL */
struct version *version_unref(struct version *version);

/** version_own()/version_disown() - a reference of the published state, the ring or the warm list. */
struct version *version_own(struct version *version);
struct version *version_disown(struct version *version);

/** version_public() - what users get; the tree is made when it is missing. */
const struct store_object *version_public(struct version *version);
static inline const struct json_value *version_root(struct version *version)
{
        return version ? version_public(version)->root : NULL;
}
/** version_shrink() - drop the tree when only the store holds the version. */
void version_shrink(struct version *version);
/** version_cost() - bytes of memory that it takes without its tree. */
size_t version_cost(const struct version *version);

static inline struct version *version_of(const struct store_object *object)
{
        return (struct version *)object;
}

/* Keys are at most this long (plural and group 320, namespace 63, name 253, two separators). */
#define STORE_KEY_MAX 704

/** store_key_write() - the key in @text of STORE_KEY_MAX bytes; its length, or -ENAMETOOLONG. */
int store_key_write(char *text, const struct schema_kind *kind, const char *namespace, const char *name);
/** store_key_kind() - the kind that a key names, or NULL when this program does not know it. */
const struct schema_kind *store_key_kind(const char *key);
