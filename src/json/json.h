/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/arena.h"
#include "base/auto.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * JSON documents as trees in an arena (RFC 8259).
 *
 * Numbers are kept verbatim as text. Objects keep the order of their members; keys are unique (a document with a duplicate key is
 * refused). Strings and keys are valid UTF-8 without U+0000, which is refused: no check of a C string can miss what stands behind
 * it. A tree may be changed until it is shared; a shared tree is const and may be read from any thread.
 */
enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_doc;   /* owns the arena; one root */
struct json_value; /* lives in a document's arena; fields are private to src/json */

/* Where and why a document was refused. */
struct json_fault {
        size_t offset;   /* bytes from the start of the text; of YAML, characters */
        unsigned line;   /* from 1; for YAML and messages */
        char reason[96]; /* one clause in English: "duplicate key \"a\"" */
};

/* json_parse() outcomes */
enum {
        JSON_E_SYNTAX = 1, /* not JSON; see the fault */
        JSON_E_LIMIT,      /* too deep, too many nodes or too long; see the fault */
};

/** json_doc_new() - an empty document whose root is null. */
struct json_doc *json_doc_new(void);
struct json_doc *json_doc_free(struct json_doc *doc);
AUTOPTR(json_doc, json_doc_free);

/**
 * json_parse() - parse exactly one value with nothing but white space after it
 * @text: @len bytes, need not be NUL-terminated, not kept
 *
 * Bounds are LIMIT_JSON_*. Return: 0, JSON_E_SYNTAX or JSON_E_LIMIT (then @reterr is set when not NULL).
 */
int json_parse(const char *text, size_t len, struct json_doc **ret_doc, struct json_fault *reterr_fault);

/**
 * json_parse_within() - json_parse() for texts this program asked for, a long list for instance
 *
 * Bytes and values have bounds of their own; the depth may be greater by LIMIT_JSON_WRAP, because the deepest object that a client
 * may make comes back inside of a list or an event.
 */
int json_parse_within(const char *text, size_t len, size_t max_bytes, size_t max_nodes, struct json_doc **ret_doc,
                      struct json_fault *reterr_fault);

/**
 * json_parse_yaml() - the same tree from one YAML 1.2 document (core schema; no anchors, aliases, tags or merge keys)
 *
 * Plain scalars resolve as kubectl's users expect: null true false, decimal, 0x, 0o and 0644 (octal, as kubectl reads file modes)
 * integers, floats; yes, no, on and off are strings. Outcomes as json_parse().
 *
 * json_parse_yaml_stream() gives every document of a multi-document text in turn through @each, which
 * owns it; empty documents are skipped.
 */
int json_parse_yaml(const char *text, size_t len, struct json_doc **ret_doc, struct json_fault *reterr_fault);
int json_parse_yaml_stream(const char *text, size_t len, int (*each)(struct json_doc *doc, void *userdata), void *userdata,
                           struct json_fault *reterr_fault);

/* More keys that stand twice than these are refused like one elsewhere. */
#define JSON_DUPLICATES_MAX 64
/**
 * json_parse_lenient() - one document, YAML or JSON (which is YAML but for odd white space), whose keys may stand twice: the last
 * counts
 * @duplicates: gets the path of each such key, "spec.disks[1].name", as a text to be freed
 */
int json_parse_lenient(const char *text, size_t len, GPtrArray *duplicates, struct json_doc **ret_doc,
                       struct json_fault *reterr_fault);

struct json_value *json_root(struct json_doc *doc);
const struct json_value *json_root_const(const struct json_doc *doc);
void json_set_root(struct json_doc *doc, struct json_value *value);
struct arena *json_arena(struct json_doc *doc);

/* --- reading ---------------------------------------------------------------------------------------------------------------- */

enum json_type json_type(const struct json_value *value); /* NULL reads as JSON_NULL */
const char *json_type_name(enum json_type type);          /* "null" "boolean" "number" "string" "array" "object" */
static inline bool json_is(const struct json_value *value, enum json_type type)
{
        return value && json_type(value) == type;
}
bool json_is_bool(const struct json_value *value);
bool json_bool(const struct json_value *value, bool otherwise);
/** json_string() - the text, or @otherwise when @value is NULL or no string. Borrowed from the document. */
const char *json_string(const struct json_value *value, const char *otherwise);
/** json_string_len() - its length in bytes; 0 when no string. */
size_t json_string_len(const struct json_value *value);
/** json_number_text() - the verbatim number, or NULL. */
const char *json_number_text(const struct json_value *value);
/** json_int64() - 0 and the exact integer, -EINVAL (no number, or not an integer), -ERANGE. "1.0" and "1e2" count as integers. */
int json_int64(const struct json_value *value, int64_t *ret_number);
/** json_double() - 0, -EINVAL (no number) or -ERANGE (too large). */
int json_double(const struct json_value *value, double *ret_number);

/** json_length() - members or elements; 0 for anything else. */
size_t json_length(const struct json_value *value);
/** json_get() - member of an object, or NULL (also when @object is NULL or not an object). */
struct json_value *json_get(const struct json_value *object, const char *key);
/** json_get_len() - json_get() by length. */
struct json_value *json_get_len(const struct json_value *object, const char *key, size_t len);
/** json_find() - json_get() along a NULL-terminated list of keys. */
struct json_value *json_find(const struct json_value *object, ...) G_GNUC_NULL_TERMINATED;
/** json_find_string() - the string at the path, or NULL. */
const char *json_find_string(const struct json_value *object, ...) G_GNUC_NULL_TERMINATED;
/** json_at() - element of an array, or NULL when out of range. O(index): prefer the iteration below. */
struct json_value *json_at(const struct json_value *array, size_t index);

/* Iteration: for (v = json_first(x); v; v = json_next(v)) over members or elements; json_key() is NULL in arrays. */
struct json_value *json_first(const struct json_value *container);
struct json_value *json_next(const struct json_value *value);
const char *json_key(const struct json_value *value);

/** json_equal() - same meaning: member order is ignored, numbers compare by value when both are exact, else by text. */
bool json_equal(const struct json_value *a, const struct json_value *b);

/* --- building: new values belong to @doc and are in no container yet ------------------------------------------------------------
 */

struct json_value *json_new(struct json_doc *doc, enum json_type type); /* null, false, true, [] or {} */
/** json_new_string() - a copy of @text; bytes that are not UTF-8, and zeroes, become U+FFFD. The same holds for keys in json_set().
 */
struct json_value *json_new_string(struct json_doc *doc, const char *text);
struct json_value *json_new_string_len(struct json_doc *doc, const char *text, size_t len);
struct json_value *json_new_int(struct json_doc *doc, int64_t number);
/** json_new_number() - kept as written; @verbatim must be a JSON number. */
struct json_value *json_new_number(struct json_doc *doc, const char *verbatim);
static inline struct json_value *json_new_bool(struct json_doc *doc, bool b)
{
        return json_new(doc, b ? JSON_TRUE : JSON_FALSE);
}
/** json_copy() - deep copy of @value (of any document) into @doc. */
struct json_value *json_copy(struct json_doc *doc, const struct json_value *value);

/** json_set() - put @value under @key, replacing in place when present. @value must be in no container. @return @value */
struct json_value *json_set(struct json_doc *doc, struct json_value *object, const char *key, struct json_value *value);
void json_set_string(struct json_doc *doc, struct json_value *object, const char *key, const char *text); /* NULL removes */
void json_set_int(struct json_doc *doc, struct json_value *object, const char *key, int64_t number);
void json_set_bool(struct json_doc *doc, struct json_value *object, const char *key, bool b);
/** json_ensure_object() - the object at @key, made (or replacing a non-object) when needed. */
struct json_value *json_ensure_object(struct json_doc *doc, struct json_value *object, const char *key);
struct json_value *json_ensure_array(struct json_doc *doc, struct json_value *object, const char *key);
/** json_remove() - take the member out; whether it was there. */
bool json_remove(struct json_value *object, const char *key);
struct json_value *json_append(struct json_value *array, struct json_value *value);
/** json_insert() - before element @index (index == length appends). */
struct json_value *json_insert(struct json_value *array, size_t index, struct json_value *value);
bool json_remove_at(struct json_value *array, size_t index);

/* --- writing ------------------------------------------------------------------------------------------------------------------ */

/** json_write() - compact text appended to @out. Non-ASCII stays UTF-8; <, > and & are not escaped; U+2028/2029 are. */
void json_write(const struct json_value *value, GString *out);
/** json_write_pretty() - two-space indentation, as kubectl prints. */
void json_write_pretty(const struct json_value *value, GString *out);
/** json_write_yaml() - block style YAML that json_parse_yaml() reads back to an equal tree. */
void json_write_yaml(const struct json_value *value, GString *out);
/** json_write_string() - a quoted, escaped string appended to @out. */
void json_write_string(const char *text, size_t len, GString *out);
char *json_to_text(const struct json_value *value); /* compact, g_free() */

/* --- patches ------------------------------------------------------------------------------------------------------------------ */

enum {
        JSON_E_PATCH_INVALID = 1, /* the patch itself is malformed */
        JSON_E_PATCH_MISSING,     /* a path does not exist */
        JSON_E_PATCH_TEST,        /* a test operation did not hold */
};

/** json_merge_patch() - RFC 7386: the patched copy in @doc; inputs untouched. */
struct json_value *json_merge_patch(struct json_doc *doc, const struct json_value *target, const struct json_value *patch);

/**
 * json_patch() - RFC 6902 on a copy of @target in @doc; all or nothing
 *
 * Bounds: LIMIT_JSON_PATCH_OPS, LIMIT_JSON_DEPTH and the work done for one patch. Return: 0 or JSON_E_PATCH_* with words in
 * @reterr_fault->reason and the number of the operation, from 0, in @reterr_fault->offset.
 */
int json_patch(struct json_doc *doc, const struct json_value *target, const struct json_value *operations,
               struct json_value **ret_value, struct json_fault *reterr_fault);

/** json_pointer_get() - RFC 6901; NULL when absent or malformed. */
struct json_value *json_pointer_get(const struct json_value *root, const char *pointer);

/**
 * json_diff() - RFC 6902 operations (add, remove, replace; arrays of different content are replaced whole) that turn @from into @to
 *
 * Return: an array in @doc, empty when equal.
 */
struct json_value *json_diff(struct json_doc *doc, const struct json_value *from, const struct json_value *to);
