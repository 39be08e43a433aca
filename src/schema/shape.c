/* SPDX-License-Identifier: Apache-2.0 */
#include "generated/reasons.h"
#include "schema/walk.h"

#include <assert.h>
#include <string.h>

/* Do the members of a document have the JSON types that the tables want, and are they known? */

struct shape {
        enum schema_unknown unknown;
        GHashTable *known;              /* paths of unknown members that stay; or NULL */
        struct schema_faults *warnings; /* or NULL */
        struct schema_faults *faults;
};

static const char *const value_words[] = {
        [SCHEMA_STRING] = "a string",    [SCHEMA_INT] = "a whole number",
        [SCHEMA_BOOL] = "true or false", [SCHEMA_QUANTITY] = "a quantity (a string or a number)",
        [SCHEMA_TIME] = "a string",      [SCHEMA_INT_OR_STRING] = "a string or a whole number",
        [SCHEMA_OBJECT] = "an object",   [SCHEMA_ANY] = "anything",
};

static void check_type(struct shape *shape, const struct schema_type *type, struct json_value *object,
                       const struct walk_path *path);

static void wrong_type(struct shape *shape, const struct json_value *value, unsigned flags, const struct walk_path *path,
                       const char *wanted)
{
        static const char *const found[] = {
                [JSON_NULL] = ", not null",        [JSON_FALSE] = ", not false",
                [JSON_TRUE] = ", not true",        [JSON_NUMBER] = "",
                [JSON_STRING] = ", not a string",  [JSON_ARRAY] = ", not a list",
                [JSON_OBJECT] = ", not an object",
        };
        g_autofree char *shown = walk_show(value, flags);

        walk_fault(shape->faults, path, REASON_FIELD_VALUE_TYPE_INVALID, "Invalid value: %s: must be %s%s", shown, wanted,
                   found[json_type(value)]);
}

static bool has_type(enum schema_value wanted, const struct json_value *value)
{
        int64_t number;

        switch (wanted) {
        case SCHEMA_STRING:
        case SCHEMA_TIME:
                return json_is(value, JSON_STRING);
        case SCHEMA_INT:
                return json_is(value, JSON_NUMBER) && json_int64(value, &number) == 0;
        case SCHEMA_BOOL:
                return json_is_bool(value);
        case SCHEMA_QUANTITY:
                return json_is(value, JSON_STRING) || json_is(value, JSON_NUMBER);
        case SCHEMA_INT_OR_STRING:
                return json_is(value, JSON_STRING) || (json_is(value, JSON_NUMBER) && json_int64(value, &number) == 0);
        case SCHEMA_OBJECT:
                return json_is(value, JSON_OBJECT);
        case SCHEMA_ANY:
                return true;
        }
        return false;
}

static void check_single(struct shape *shape, const struct schema_field *field, struct json_value *value,
                         const struct walk_path *path)
{
        if (!has_type(field->value, value))
                wrong_type(shape, value, field->flags, path, value_words[field->value]);
        else if (field->value == SCHEMA_OBJECT)
                check_type(shape, field->type, value, path);
}

static void check_list(struct shape *shape, const struct schema_field *field, struct json_value *list, const struct walk_path *path)
{
        size_t index = 0;

        if (!json_is(list, JSON_ARRAY)) {
                wrong_type(shape, list, field->flags, path, "a list");
                return;
        }
        for (struct json_value *value = json_first(list); value; value = json_next(value)) {
                struct walk_path place = walk_element(path, index++);

                check_single(shape, field, value, &place);
        }
}

static void check_map(struct shape *shape, const struct schema_field *field, struct json_value *map, const struct walk_path *path)
{
        if (!json_is(map, JSON_OBJECT)) {
                wrong_type(shape, map, field->flags, path,
                           field->value == SCHEMA_QUANTITY ? "a map of quantities" : "a map of strings");
                return;
        }
        for (struct json_value *value = json_first(map); value; value = json_next(value)) {
                struct walk_path place = walk_member(path, json_key(value));

                check_single(shape, field, value, &place);
        }
}

static void check_field(struct shape *shape, const struct schema_field *field, struct json_value *value,
                        const struct walk_path *path)
{
        if (json_is(value, JSON_NULL) && (field->flags & SCHEMA_NULLABLE))
                return;
        if (field->shape == SCHEMA_SINGLE)
                check_single(shape, field, value, path);
        else if (field->shape == SCHEMA_MAP)
                check_map(shape, field, value, path);
        else
                check_list(shape, field, value, path);
}

/* Letters that have to change, one at a time, to get from one name to the other; counted to 3 at most. */
static unsigned distance(const char *a, const char *b)
{
        size_t n = strlen(a), m = strlen(b);
        unsigned before[64], now[64];

        if (n >= G_N_ELEMENTS(now) || m >= G_N_ELEMENTS(now))
                return 3;
        for (size_t j = 0; j <= m; j++)
                before[j] = (unsigned)j;
        for (size_t i = 1; i <= n; i++) {
                now[0] = (unsigned)i;
                for (size_t j = 1; j <= m; j++) {
                        unsigned change = before[j - 1] + (g_ascii_tolower(a[i - 1]) != g_ascii_tolower(b[j - 1]));

                        now[j] = MIN(change, MIN(before[j], now[j - 1]) + 1);
                }
                memcpy(before, now, sizeof(now));
        }
        return MIN(before[m], 3);
}

static const char *nearest(const struct schema_type *type, const char *name)
{
        const char *best = NULL;
        unsigned least = 3;

        for (const struct schema_field *field = type->fields; field->name; field++) {
                unsigned d = distance(name, field->name);

                if (d < least && d < strlen(field->name)) {
                        least = d;
                        best = field->name;
                }
        }
        return best;
}

/* Whether an unknown member that is no fault stays. */
static bool sift(struct shape *shape, const struct walk_path *path)
{
        g_autofree char *text = shape->known || shape->warnings ? walk_text(path) : NULL;

        if (shape->known && g_hash_table_contains(shape->known, text))
                return true;
        if (shape->warnings)
                schema_faults_add(shape->warnings, text, REASON_FIELD_VALUE_UNKNOWN, "unknown field \"%s\"", text);
        return shape->unknown == SCHEMA_UNKNOWN_KEEP;
}

static bool keep_unknown(struct shape *shape, const struct schema_type *type, const char *name, const struct walk_path *path)
{
        const char *meant;

        if (type->flags & SCHEMA_OPEN)
                return true;
        if (shape->unknown != SCHEMA_UNKNOWN_REFUSE)
                return sift(shape, path);
        meant = nearest(type, name);
        if (meant)
                walk_fault(shape->faults, path, REASON_FIELD_VALUE_UNKNOWN, "Unknown field: did you mean %s?", meant);
        else
                walk_fault(shape->faults, path, REASON_FIELD_VALUE_UNKNOWN, "Unknown field: %s has no field %s", type->name, name);
        return true;
}

static void check_type(struct shape *shape, const struct schema_type *type, struct json_value *object, const struct walk_path *path)
{
        struct json_value *value = json_first(object);

        while (value) {
                const struct schema_field *field = walk_field(type, json_key(value));
                struct walk_path place = walk_member(path, json_key(value));
                bool keep = true;

                if (!field)
                        keep = keep_unknown(shape, type, json_key(value), &place);
                else if (json_is(value, JSON_NULL) && !(field->flags & SCHEMA_NULLABLE) && field->value != SCHEMA_ANY)
                        keep = false;
                else
                        check_field(shape, field, value, &place);

                struct json_value *next = json_next(value);
                if (!keep)
                        json_remove(object, json_key(value));
                value = next;
        }
}

static void check(struct shape *shape, const struct schema_kind *kind, struct json_value *object)
{
        assert(kind && shape->faults);
        if (json_is(object, JSON_OBJECT))
                check_type(shape, kind->type, object, NULL);
        else
                wrong_type(shape, object, 0, NULL, "an object");
}

void schema_check_shape(const struct schema_kind *kind, struct json_value *object, enum schema_unknown unknown,
                        struct schema_faults *faults)
{
        struct shape shape = {.unknown = unknown, .faults = faults};

        check(&shape, kind, object);
}

void schema_sift_unknown(const struct schema_kind *kind, struct json_value *object, enum schema_unknown unknown, GHashTable *known,
                         struct schema_faults *warnings, struct schema_faults *faults)
{
        struct shape shape = {.unknown = unknown, .known = known, .warnings = warnings, .faults = faults};

        assert(unknown != SCHEMA_UNKNOWN_REFUSE);
        check(&shape, kind, object);
}
