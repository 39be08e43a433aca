/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/quantity.h"
#include "generated/reasons.h"
#include "schema/walk.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define FEW 16 /* elements that are compared each with each; more are hashed */

/* Required members, enumerations, bounds, formats, unique keys and unions. Members of a wrong type are schema_check_shape()'s. */

static void validate_type(const struct schema_type *type, const struct json_value *object, const struct walk_path *path,
                          struct schema_faults *faults);

static void invalid(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                    struct schema_faults *faults, const char *words)
{
        /* An address may have a password in it. */
        bool secret = field->format == SCHEMA_FORMAT_URL && json_is(value, JSON_STRING) && strchr(json_string(value, ""), '@');
        g_autofree char *shown = walk_show(value, field->flags | (secret ? SCHEMA_SENSITIVE : 0));

        walk_fault(faults, path, REASON_FIELD_VALUE_INVALID, "Invalid value: %s: %s", shown, words);
}

static void check_enumeration(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                              struct schema_faults *faults)
{
        const char *text = json_string(value, "");
        g_autoptr(GString) supported = g_string_new(NULL);
        g_autofree char *shown = NULL;

        for (const char *const *known = field->enumeration; *known; known++) {
                if (strcmp(*known, text) == 0)
                        return;
                g_string_append_printf(supported, "%s\"%s\"", supported->len > 0 ? ", " : "", *known);
        }
        shown = walk_show(value, field->flags);
        walk_fault(faults, path, REASON_FIELD_VALUE_NOT_SUPPORTED, "Unsupported value: %s: supported values: %s", shown,
                   supported->str);
}

static void check_length(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                         struct schema_faults *faults)
{
        int64_t characters;

        if (!field->has_min && !field->has_max && !(field->flags & SCHEMA_NOT_EMPTY))
                return;
        characters = g_utf8_strlen(json_string(value, ""), -1);
        if (field->has_max && characters > field->max)
                walk_fault(faults, path, REASON_FIELD_VALUE_TOO_LONG,
                           "Too long: %" PRId64 " characters: must have at most %" PRId64 " characters", characters, field->max);
        if (field->has_min && characters < field->min) {
                g_autofree char *words = g_strdup_printf("must have at least %" PRId64 " characters", field->min);

                invalid(field, value, path, faults, words);
        }
        if ((field->flags & SCHEMA_NOT_EMPTY) && characters == 0)
                invalid(field, value, path, faults, "must not be empty");
}

static void check_number(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                         struct schema_faults *faults)
{
        g_autofree char *words = NULL;
        int64_t number;

        if (json_int64(value, &number) != 0)
                return;
        if (field->has_min && number < field->min)
                words = g_strdup_printf("must be greater than or equal to %" PRId64, field->min);
        else if (field->has_max && number > field->max)
                words = g_strdup_printf("must be less than or equal to %" PRId64, field->max);
        if (words)
                invalid(field, value, path, faults, words);
}

static void check_quantity(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                           struct schema_faults *faults)
{
        const char *text = json_string(value, json_number_text(value));
        uint64_t amount;
        int r = text ? quantity_parse_bytes(text, &amount) : 0;

        if (r == -ERANGE)
                invalid(field, value, path, faults, "is too large");
        else if (r < 0)
                invalid(field, value, path, faults, "must be a quantity that is not negative, for example 512Mi, 2Gi or 1500m");
}

static void check_time(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                       struct schema_faults *faults)
{
        uint64_t time_us;

        if (clock_parse_rfc3339(json_string(value, ""), &time_us) != 0)
                invalid(field, value, path, faults, "must be a time, for example 2026-01-02T03:04:05Z");
}

static void check_text(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                       struct schema_faults *faults)
{
        const char *text = json_string(value, ""), *words;

        check_length(field, value, path, faults);
        if (field->enumeration)
                check_enumeration(field, value, path, faults);
        if (strlen(text) != json_string_len(value))
                invalid(field, value, path, faults, "must not contain the character U+0000");
        words = format_check(field->format, text);
        if (words)
                invalid(field, value, path, faults, words);
}

static void validate_single(const struct schema_field *field, const struct json_value *value, const struct walk_path *path,
                            struct schema_faults *faults)
{
        if (field->value == SCHEMA_OBJECT && json_is(value, JSON_OBJECT))
                validate_type(field->type, value, path, faults);
        else if (field->value == SCHEMA_STRING && json_is(value, JSON_STRING))
                check_text(field, value, path, faults);
        else if (field->value == SCHEMA_INT)
                check_number(field, value, path, faults);
        else if (field->value == SCHEMA_QUANTITY)
                check_quantity(field, value, path, faults);
        else if (field->value == SCHEMA_TIME && json_is(value, JSON_STRING))
                check_time(field, value, path, faults);
}

/* The text by which two elements are the same; @ret_words is how a message names it. */
static char *identity(const struct schema_field *field, const struct json_value *value, char **ret_words)
{
        GString *text = g_string_new(NULL), *words;

        if (field->shape == SCHEMA_LIST_SET) {
                json_write(value, text);
                *ret_words = walk_show(value, field->flags);
                return g_string_free(text, FALSE);
        }
        words = g_string_new(NULL);
        for (const char *const *key = field->list_keys; *key; key++) {
                const struct json_value *part = json_get(value, *key);
                g_autofree char *shown = walk_show(part, field->flags);

                json_write(part, text);
                g_string_append_c(text, '\n');
                if (field->list_keys[1])
                        g_string_append_printf(words, "%s%s ", words->len > 0 ? ", " : "", *key);
                g_string_append(words, shown);
        }
        *ret_words = g_string_free(words, FALSE);
        return g_string_free(text, FALSE);
}

static void duplicate(const struct schema_field *field, const struct json_value *value, size_t index, size_t first,
                      const struct walk_path *path, struct schema_faults *faults)
{
        struct walk_path element = walk_element(path, index), member;
        g_autofree char *words = NULL;

        g_free(identity(field, value, &words));
        member = element;
        if (field->shape == SCHEMA_LIST_MAP && !field->list_keys[1])
                member = walk_member(&element, field->list_keys[0]);
        walk_fault(faults, &member, REASON_FIELD_VALUE_DUPLICATE, "Duplicate value: %s: element %zu of the list is the same", words,
                   first);
}

static bool is_same(const struct schema_field *field, const struct json_value *a, const struct json_value *b)
{
        return field->shape == SCHEMA_LIST_SET ? json_equal(a, b) : walk_same_keys(field, a, b);
}

/* Each with each, for the lists that are usual. */
static void check_unique_few(const struct schema_field *field, const struct json_value *list, const struct walk_path *path,
                             struct schema_faults *faults)
{
        size_t index = 0;

        for (const struct json_value *value = json_first(list); value; value = json_next(value), index++) {
                size_t first = 0;

                for (const struct json_value *other = json_first(list); other != value; other = json_next(other), first++)
                        if (is_same(field, other, value)) {
                                duplicate(field, value, index, first, path, faults);
                                break;
                        }
        }
}

static void check_unique_many(const struct schema_field *field, const struct json_value *list, const struct walk_path *path,
                              struct schema_faults *faults)
{
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        size_t index = 0;

        for (const struct json_value *value = json_first(list); value; value = json_next(value), index++) {
                g_autofree char *words = NULL, *key = identity(field, value, &words);
                size_t before = GPOINTER_TO_SIZE(g_hash_table_lookup(seen, key));

                if (before > 0)
                        duplicate(field, value, index, before - 1, path, faults);
                else
                        g_hash_table_insert(seen, g_steal_pointer(&key), GSIZE_TO_POINTER(index + 1));
        }
}

static void check_unique(const struct schema_field *field, const struct json_value *list, const struct walk_path *path,
                         struct schema_faults *faults)
{
        if (json_length(list) <= FEW)
                check_unique_few(field, list, path, faults);
        else
                check_unique_many(field, list, path, faults);
}

static void check_count(const struct schema_field *field, const struct json_value *container, const struct walk_path *path,
                        struct schema_faults *faults)
{
        int64_t count = (int64_t)json_length(container), least = field->min_items;

        if (field->flags & SCHEMA_NOT_EMPTY)
                least = MAX(least, 1);
        if (field->max_items > 0 && count > field->max_items)
                walk_fault(faults, path, REASON_FIELD_VALUE_TOO_MANY, "Too many: %" PRId64 ": must have at most %" PRId64 " items",
                           count, field->max_items);
        else if (count < least && count == 0)
                walk_fault(faults, path, REASON_FIELD_VALUE_REQUIRED, "Required value: at least %" PRId64 " must be there", least);
        else if (count < least)
                walk_fault(faults, path, REASON_FIELD_VALUE_INVALID,
                           "Invalid value: %" PRId64 " items: must have at least %" PRId64 " items", count, least);
}

static void validate_container(const struct schema_field *field, const struct json_value *container, const struct walk_path *path,
                               struct schema_faults *faults)
{
        size_t index = 0;

        if (!json_is(container, field->shape == SCHEMA_MAP ? JSON_OBJECT : JSON_ARRAY))
                return;
        check_count(field, container, path, faults);
        for (const struct json_value *value = json_first(container); value; value = json_next(value), index++) {
                struct walk_path place = json_key(value) ? walk_member(path, json_key(value)) : walk_element(path, index);

                validate_single(field, value, &place, faults);
        }
        if (field->shape == SCHEMA_LIST_SET || field->shape == SCHEMA_LIST_MAP)
                check_unique(field, container, path, faults);
}

/* Members that are no union member's field are free. */
static void check_union(const struct schema_type *type, const struct json_value *object, const struct walk_path *path,
                        struct schema_faults *faults)
{
        const char *chosen = json_string(json_get(object, type->discriminator), NULL);

        for (const struct schema_union_member *member = type->union_members; chosen && member->value; member++) {
                struct walk_path place;

                if (!member->field)
                        continue;
                place = walk_member(path, member->field);
                if (strcmp(member->value, chosen) == 0 && member->required && !json_get(object, member->field))
                        walk_fault(faults, &place, REASON_FIELD_VALUE_REQUIRED, "Required value: %s is %s", type->discriminator,
                                   chosen);
                else if (strcmp(member->value, chosen) != 0 && json_get(object, member->field))
                        walk_fault(faults, &place, REASON_FIELD_VALUE_FORBIDDEN,
                                   "Forbidden: may be there only when %s is %s, not %s", type->discriminator, member->value,
                                   chosen);
        }
}

static void validate_type(const struct schema_type *type, const struct json_value *object, const struct walk_path *path,
                          struct schema_faults *faults)
{
        for (const struct schema_field *field = type->fields; field->name; field++) {
                const struct json_value *value = json_get(object, field->name);
                struct walk_path place = walk_member(path, field->name);

                if (!value || json_is(value, JSON_NULL)) {
                        if (field->flags & SCHEMA_REQUIRED)
                                walk_fault(faults, &place, REASON_FIELD_VALUE_REQUIRED, "Required value");
                } else if (field->shape == SCHEMA_SINGLE) {
                        validate_single(field, value, &place, faults);
                } else {
                        validate_container(field, value, &place, faults);
                }
        }
        if (type->discriminator)
                check_union(type, object, path, faults);
}

void schema_validate(const struct schema_kind *kind, const struct json_value *object, const struct json_value *old,
                     struct schema_faults *faults)
{
        assert(kind && faults);
        if (!json_is(object, JSON_OBJECT)) {
                schema_faults_add(faults, "", REASON_FIELD_VALUE_TYPE_INVALID, "Invalid value: must be an object");
                return;
        }
        metadata_check(kind, object, old, faults);
        validate_type(kind->type, object, NULL, faults);
        if (old)
                immutable_check(kind->type, object, old, NULL, faults);
        if (kind->rules)
                kind->rules(object, old, faults);
}
