/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "json/json.h"

#include <string.h>

/* The inside of a tree, for src/json only. */

struct json_index;

/* 48 bytes. An object with many members has an index, which then also keeps the last member. */
struct json_value {
        struct json_value *next;
        const char *key; /* NULL outside of objects */
        uint32_t key_len;
        uint32_t len; /* bytes of a text, members or elements of a container */
        uint8_t type; /* enum json_type */
        bool linked;  /* is in a container */
        bool indexed;
        uint32_t hash; /* of the key, while the object around it is indexed */
        union {
                const char *text; /* string and number, NUL-terminated */
                struct {
                        struct json_value *first;
                        union {
                                struct json_value *last;
                                struct json_index *index;
                        };
                };
        };
};

/* An object with more members than this is indexed. */
#define JSON_INDEX_ABOVE 16

/* No tree is walked deeper; documents and patches from outside are bounded by LIMIT_JSON_DEPTH, far below. */
#define JSON_WALK_DEPTH 256

struct json_index {
        struct json_value **slots; /* open addressing; a power of two */
        struct json_value *last;
        uint32_t mask;
        uint32_t used; /* slots that are not empty, removed ones included */
};

struct json_doc {
        struct arena *arena;
        struct json_value *root;
};

/** json_doc_new_sized() - an empty document whose arena begins with @bytes. */
struct json_doc *json_doc_new_sized(size_t bytes);

/** json_new_raw() - an unlinked value of @type with everything else zero. */
struct json_value *json_new_raw(struct json_doc *doc, enum json_type type);

/** json_new_text() - a string or number of the NUL-terminated @text, which lives in the document's arena already. */
struct json_value *json_new_text(struct json_doc *doc, enum json_type type, const char *text, size_t len);

/** json_object_append() - link @value under @key, which lives in the arena and is not in @object yet. */
void json_object_append(struct json_doc *doc, struct json_value *object, const char *key, size_t len, struct json_value *value);

/** json_set_len() - json_set() by length. */
struct json_value *json_set_len(struct json_doc *doc, struct json_value *object, const char *key, size_t len,
                                struct json_value *value);

/** json_remove_len() - take the member out and return it, or NULL. */
struct json_value *json_remove_len(struct json_value *object, const char *key, size_t len);

/** json_take_at() - take element @index out and return it, or NULL. */
struct json_value *json_take_at(struct json_value *array, size_t index);

/** json_index_build() - index an object of any size, whose last member is @last. */
void json_index_build(struct arena *arena, struct json_value *object, struct json_value *last);

/** json_index_add() - put the linked member @value, hashed by json_hash(), into the index of @object. */
void json_index_add(struct arena *arena, struct json_value *object, struct json_value *value);

/** json_index_find() - the member or NULL. */
struct json_value *json_index_find(const struct json_value *object, const char *key, size_t len, uint32_t hash);

/** json_hash() - hash of a key under a secret of this process, so that nobody can choose keys that collide. */
uint32_t json_hash(const char *key, size_t len);

/** json_number_end() - the end of the JSON number at @text (NUL-terminated), or NULL when there is none. */
const char *json_number_end(const char *text);

/** json_number_equal() - whether two numbers have the same value. */
bool json_number_equal(const char *a, const char *b);

/** json_utf8_length() - bytes of the valid UTF-8 sequence at @s (NUL-terminated beyond), 0 when it is malformed. */
unsigned json_utf8_length(const unsigned char *s);

/** json_fault_set() - fill @fault (when not NULL); the reason is cut at whole characters. */
void json_fault_set(struct json_fault *fault, size_t offset, unsigned line, const char *format, ...) G_GNUC_PRINTF(4, 5);

static inline bool json_text_is(const char *a, size_t a_len, const char *b, size_t b_len)
{
        return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static inline struct json_value *json_last(const struct json_value *container)
{
        return container->indexed ? container->index->last : container->last;
}

static inline bool json_is_container(const struct json_value *value)
{
        return value && value->type >= JSON_ARRAY;
}

/* Eight bytes of text at a time: the lowest byte that is marked in a word is the first one that is meant. */
#define JSON_ONES  0x0101010101010101ull
#define JSON_HIGHS 0x8080808080808080ull

static inline uint64_t json_load8(const char *s)
{
        uint64_t word;

        memcpy(&word, s, sizeof(word));
        return GUINT64_FROM_LE(word);
}

static inline uint64_t json_marks_byte(uint64_t word, unsigned char c)
{
        uint64_t x = word ^ JSON_ONES * c;

        return (x - JSON_ONES) & ~x;
}

/** json_marks_quoting() - bytes that end a run in a string: quote, backslash, below space. */
static inline uint64_t json_marks_quoting(uint64_t word)
{
        return json_marks_byte(word, '"') | json_marks_byte(word, '\\') | ((word - JSON_ONES * 0x20) & ~word);
}
