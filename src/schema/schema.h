/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "base/auto.h"
#include "json/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Kinds as tables. api/generate turns every api/<kind>.yaml into tables of the types below and into C structs ("typed views",
 * "generated/api_types.h"); the walks in this folder work on the tables, so a new field is one line of YAML.
 *
 * How a YAML field maps into its view (names in snake_case):
 *   string, time, quantity, enum   const char *x                  NULL: absent
 *   int                            int64_t x; bool has_x
 *   bool                           bool x; bool has_x
 *   list(string)                   const char **x; size_t n_x
 *   list(int)                      int64_t *x; size_t n_x
 *   list(T)                        struct api_t *x; size_t n_x
 *   map(string)                    struct api_pair *x; size_t n_x  (members in document order)
 *   object T                       struct api_t *x                NULL: absent
 *   any                            const struct json_value *x     (unknown content kept as it is)
 * A kind K gives struct api_k { const char *api_version, *kind; struct api_object_meta *metadata; struct api_k_spec *spec;
 * struct api_k_status *status; } and the tables `extern const struct schema_type api_k_type, api_k_spec_type, api_k_status_type;`
 * and `extern const struct schema_kind api_k_kind;`. int-or-string fields are `const char *` views of the text.
 */

struct api_pair {
        const char *key;
        const char *value;
};

enum schema_value {
        SCHEMA_STRING,
        SCHEMA_INT,
        SCHEMA_BOOL,
        SCHEMA_QUANTITY,
        SCHEMA_TIME,
        SCHEMA_INT_OR_STRING,
        SCHEMA_OBJECT,
        SCHEMA_ANY
};

/* SCHEMA_SINGLE: one value; SCHEMA_LIST_*: arrays (see the Kubernetes list types); SCHEMA_MAP: object with string keys. */
enum schema_shape { SCHEMA_SINGLE, SCHEMA_LIST_ATOMIC, SCHEMA_LIST_SET, SCHEMA_LIST_MAP, SCHEMA_MAP };

/* Text grammars a string field may name. */
enum schema_format {
        SCHEMA_FORMAT_NONE,
        SCHEMA_FORMAT_LABEL,     /* RFC 1123 label */
        SCHEMA_FORMAT_SUBDOMAIN, /* RFC 1123 subdomain */
        SCHEMA_FORMAT_LABEL_VALUE,
        SCHEMA_FORMAT_IP,
        SCHEMA_FORMAT_CIDR,
        SCHEMA_FORMAT_MAC,
        SCHEMA_FORMAT_UUID,
        SCHEMA_FORMAT_URL,     /* http or https with a host */
        SCHEMA_FORMAT_SHA256,  /* 64 hex digits */
        SCHEMA_FORMAT_PERCENT, /* 1%..100% */
        SCHEMA_FORMAT_PATH,    /* absolute, normalised, no "..", not "/" */
        SCHEMA_FORMAT_BYTE,    /* base64 */
};

enum {
        SCHEMA_REQUIRED = 1 << 0,
        SCHEMA_IMMUTABLE = 1 << 1, /* may be set once (absent -> value), never changed */
        SCHEMA_SENSITIVE = 1 << 2, /* never in history, audit, events or logs */
        SCHEMA_NULLABLE = 1 << 3,
        SCHEMA_OPEN = 1 << 4,      /* on a type: unknown members are kept without a fault (annotations of foreign tools) */
        SCHEMA_VOLATILE = 1 << 5,  /* progress-like: changes of it alone make no history row */
        SCHEMA_NOT_EMPTY = 1 << 6, /* a present string, list or map must have content */
        SCHEMA_UNVIEWED = 1 << 7,  /* not in the view: decoding passes it by, an overlay leaves it as it is */
};

struct schema_type;

struct schema_field {
        const char *name; /* camelCase, as on the wire */
        const char *doc;
        enum schema_value value;
        enum schema_shape shape;
        enum schema_format format;
        unsigned flags;                 /* SCHEMA_REQUIRED ... */
        const struct schema_type *type; /* SCHEMA_OBJECT */
        const char *const *enumeration; /* NULL-terminated, or NULL */
        const char *default_json;       /* NULL: none */
        bool has_min, has_max;
        int64_t min, max;             /* number value; length in characters for strings; items for lists and maps */
        int64_t min_items, max_items; /* lists: 0 means unbounded */
        const char *const *list_keys; /* SCHEMA_LIST_MAP: NULL-terminated key fields */
        size_t offset;                /* in the view */
        size_t has_offset;            /* bool has_x, or 0 */
        size_t count_offset;          /* size_t n_x, or 0 */
};

struct schema_type {
        const char *name;
        const char *doc;
        unsigned flags;
        size_t size;                                     /* of the view struct */
        const struct schema_field *fields;               /* ends with a NULL name */
        const char *discriminator;                       /* field that selects which union member may be present, or NULL */
        const struct schema_union_member *union_members; /* ends with a NULL value */
};

/* With @discriminator == @value exactly @field (NULL: none of the members) may be present, and must be when @required. */
struct schema_union_member {
        const char *value;
        const char *field;
        bool required;
};

struct schema_column {
        const char *name;   /* as printed, "PHASE" or "Phase" */
        const char *type;   /* string, integer, boolean, date */
        const char *format; /* "name" for the first */
        const char *doc;
        const char *path; /* ".status.phase", ".status.conditions[AgentReady].status" */
        int priority;     /* > 0: only in the wide table */
};

enum schema_history { SCHEMA_HISTORY_NONE, SCHEMA_HISTORY_COALESCED, SCHEMA_HISTORY_FULL };

struct schema_faults;

struct schema_kind {
        const char *group; /* "" for core */
        const char *version;
        const char *kind;
        const char *plural;
        const char *singular;
        const char *const *short_names; /* NULL-terminated */
        const char *const *categories;
        bool namespaced;
        bool has_status;            /* status subresource */
        bool hidden;                /* intents and internal kinds: served, but not in `get all`, and refused to ordinary roles */
        bool internal;              /* never served by the resource API (tokens' hashes, sealed material) */
        bool projected;             /* made from other objects by a controller; users only read it */
        bool core;                  /* strategic merge patch applies */
        bool sealed;                /* the store seals the whole object at rest (Secret); no delta in history */
        const char *const *aliases; /* NULL-terminated "group/version" under which the kind is served too */
        enum schema_history history;
        const struct schema_type *type;
        const struct schema_column *columns; /* ends with a NULL name */
        /* Cross-field rules of the kind, or NULL. @old is NULL on create. They run also on objects with other faults. */
        void (*rules)(const struct json_value *object, const struct json_value *old, struct schema_faults *faults);
        /* Brings an object into its stored form after defaulting (Secret: stringData goes into data), or NULL. */
        void (*prepare)(struct json_doc *doc, struct json_value *object);
};

/* The registry: every kind of api/, NULL-terminated, in the order of discovery; and look-ups by name. */
extern const struct schema_kind *const schema_kinds[];
const struct schema_kind *schema_kind_by_plural(const char *group, const char *plural);
const struct schema_kind *schema_kind_by_kind(const char *group, const char *kind);

/* --- faults: all reasons at once ------------------------------------------------------------------------------------------------
 */

/* Reason codes are those of api/reasons.yaml ("generated/reasons.h": enum reason, reason_text()); FieldValue* follow Kubernetes. */
struct schema_fault {
        const char *field;   /* "spec.cpu.cores", "spec.disks[1].name" */
        const char *reason;  /* "FieldValueInvalid", "FieldValueRequired", ... */
        const char *message; /* "Invalid value: 17: must be a multiple of 2 between 17 and 32 cores" */
};

struct schema_faults *schema_faults_new(void);
struct schema_faults *schema_faults_free(struct schema_faults *faults);
AUTOPTR(schema_faults, schema_faults_free);
size_t schema_faults_count(const struct schema_faults *faults); /* may exceed the number kept (LIMIT_FAULTS) */
size_t schema_faults_kept(const struct schema_faults *faults);
const struct schema_fault *schema_faults_at(const struct schema_faults *faults, size_t index);
/** schema_faults_omit() - count @n more that are not kept. */
void schema_faults_omit(struct schema_faults *faults, size_t n);
void schema_faults_add(struct schema_faults *faults, const char *field, const char *reason, const char *format, ...)
        G_GNUC_PRINTF(4, 5);

/* --- walks ----------------------------------------------------------------------------------------------------------------------
 */

enum schema_unknown { SCHEMA_UNKNOWN_KEEP, SCHEMA_UNKNOWN_REFUSE, SCHEMA_UNKNOWN_DROP };

/** schema_check_shape() - wrong JSON types and, by @unknown, unknown members; drops them from @object with SCHEMA_UNKNOWN_DROP.
 *  A null in place of a known member means absent, as in Kubernetes: it is removed unless the field is nullable. */
void schema_check_shape(const struct schema_kind *kind, struct json_value *object, enum schema_unknown unknown,
                        struct schema_faults *faults);

/** schema_sift_unknown() - what else can be done with unknown members: keep or drop them (@unknown) with a word to @warnings (may
 * be NULL), but those at the paths of @known (a set of texts; NULL: none) stay without a word. */
void schema_sift_unknown(const struct schema_kind *kind, struct json_value *object, enum schema_unknown unknown, GHashTable *known,
                         struct schema_faults *warnings, struct schema_faults *faults);

/** schema_default() - fill absent fields that have defaults (in present parents; a default object applies where the parent is
 * absent), then the kind's prepare(). */
void schema_default(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object);

/** schema_canonical() - quantities in the form that Kubernetes writes. One that equals its place in @old (or NULL) is left as it
 * is. */
void schema_canonical(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object,
                      const struct json_value *old);

/**
 * schema_validate() - required, enumerations, bounds, formats, unique keys, unions, immutability (against @old), the kind's rules
 * @old: the stored object, or NULL on create
 */
void schema_validate(const struct schema_kind *kind, const struct json_value *object, const struct json_value *old,
                     struct schema_faults *faults);

/** schema_decode() - the typed view of @value in @arena; strings are borrowed from @value's document. Never fails on shape-checked
 *  input; members of a wrong type read as absent. */
void *schema_decode(const struct schema_type *type, const struct json_value *value, struct arena *arena);

/* What a view that outlives its document does with texts and subtrees: each gives a copy that lives as long as the view. */
struct schema_keep {
        const char *(*text)(void *userdata, const char *text);
        const struct json_value *(*any)(void *userdata, const struct json_value *value);
        void *userdata;
};
/** schema_decode_apart() - as schema_decode(), but the view borrows nothing from @value's document. */
void *schema_decode_apart(const struct schema_type *type, const struct json_value *value, struct arena *arena,
                          const struct schema_keep *keep);

/** schema_encode() - the JSON of a view: absent members are left out. */
struct json_value *schema_encode(const struct schema_type *type, const void *view, struct json_doc *doc);

/** schema_overlay() - write the members that @type knows from @view into @target, remove those absent in the view, keep unknown
 * ones. */
void schema_overlay(const struct schema_type *type, const void *view, struct json_doc *doc, struct json_value *target);

/** schema_clear_sensitive() - replace sensitive values by "(hidden)" for audit and history; in kinds that have such fields also the
 *  annotation in which kubectl keeps what was applied. */
void schema_clear_sensitive(const struct schema_kind *kind, struct json_doc *doc, struct json_value *object);

/** schema_changes_only_volatile() - whether two objects differ in nothing but SCHEMA_VOLATILE fields and metadata.resourceVersion.
 */
bool schema_changes_only_volatile(const struct schema_kind *kind, const struct json_value *a, const struct json_value *b);

/** schema_cell() - the text of a column for @object at @now_us, as kubectl prints it; g_free(). NULL: empty cell. The paths that
 *  columns may have are told in api/README.md. */
char *schema_cell(const struct schema_column *column, const struct json_value *object, uint64_t now_us);

/* OpenAPI documents, made at build time: v2 protobuf and JSON, v3 index and per group. NULL when @group_version is unknown. */
struct schema_blob {
        const unsigned char *data;
        size_t len;
};
struct schema_blob schema_openapi_v2_protobuf(void);
struct schema_blob schema_openapi_v2_json(void);
struct schema_blob schema_openapi_v3_index(void);
struct schema_blob schema_openapi_v3(const char *group_version); /* "apis/gabbro.dev/v1", "api/v1" */
