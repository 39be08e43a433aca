/* SPDX-License-Identifier: Apache-2.0 */
#include "api/selector.h"
#include "base/limits.h"
#include "base/names.h"

#include <assert.h>
#include <string.h>

enum term_test { TERM_IN, TERM_NOT_IN, TERM_EXISTS, TERM_ABSENT, TERM_ABOVE, TERM_BELOW };

/* One requirement; all must hold. */
struct term {
        bool field; /* of a field, else of a label */
        char *key;
        char **path;  /* of a field: its names */
        bool boolean; /* the field is true or false, absent is false */
        enum term_test test;
        char **values;
};

struct selector {
        GArray *terms; /* of struct term */
};

static void term_clear(void *data)
{
        struct term *term = data;

        g_free(term->key);
        g_strfreev(term->path);
        g_strfreev(term->values);
}

struct selector *selector_free(struct selector *selector)
{
        if (!selector)
                return NULL;
        g_array_free(selector->terms, TRUE);
        g_free(selector);
        return NULL;
}

/* --- reading text
 * ------------------------------------------------------------------------------------------------------------------ */

static const char *skip_spaces(const char *text)
{
        return text + strspn(text, " \t");
}

/* A run of characters that are no operator. */
static char *take_word(const char **cursor)
{
        const char *begin = skip_spaces(*cursor);
        size_t len = strcspn(begin, " \t,()!=<>");

        *cursor = skip_spaces(begin + len);
        return g_strndup(begin, len);
}

static bool take(const char **cursor, const char *token)
{
        if (!g_str_has_prefix(*cursor, token))
                return false;
        *cursor = skip_spaces(*cursor + strlen(token));
        return true;
}

static char **one_value(char *value)
{
        char **values = g_new0(char *, 2);

        values[0] = value;
        return values;
}

/* "(a,b)" behind in or notin. */
static bool take_set(const char **cursor, struct term *term)
{
        g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);

        if (!take(cursor, "("))
                return false;
        do {
                g_ptr_array_add(values, take_word(cursor));
        } while (take(cursor, ",") && values->len < LIMIT_SELECTOR_TERMS * 8);
        if (!take(cursor, ")"))
                return false;
        g_ptr_array_add(values, NULL);
        term->values = (char **)g_ptr_array_free(g_steal_pointer(&values), FALSE);
        return true;
}

static bool take_comparison(const char **cursor, struct term *term)
{
        static const struct {
                const char *token;
                enum term_test test;
        } operators[] = {{"==", TERM_IN}, {"=", TERM_IN}, {"!=", TERM_NOT_IN}, {">", TERM_ABOVE}, {"<", TERM_BELOW}};

        for (size_t i = 0; i < G_N_ELEMENTS(operators); i++) {
                if (!take(cursor, operators[i].token))
                        continue;
                term->test = operators[i].test;
                term->values = one_value(take_word(cursor));
                return true;
        }
        return false;
}

static bool take_label_term(const char **cursor, struct term *term)
{
        const char *after;

        if (take(cursor, "!")) {
                term->test = TERM_ABSENT;
                term->key = take_word(cursor);
                return true;
        }
        term->key = take_word(cursor);
        if (take_comparison(cursor, term))
                return true;
        after = *cursor;
        g_autofree char *word = take_word(&after);
        if (strcmp(word, "in") == 0 || strcmp(word, "notin") == 0) {
                term->test = strcmp(word, "in") == 0 ? TERM_IN : TERM_NOT_IN;
                *cursor = after;
                return take_set(cursor, term);
        }
        term->test = TERM_EXISTS;
        return *word == 0;
}

static bool values_are_valid(const struct term *term)
{
        gint64 number;

        for (size_t i = 0; term->values && term->values[i]; i++) {
                if (term->test == TERM_ABOVE || term->test == TERM_BELOW) {
                        if (!g_ascii_string_to_signed(term->values[i], 10, G_MININT64, G_MAXINT64, &number, NULL))
                                return false;
                } else if (!names_is_label_value(term->values[i])) {
                        return false;
                }
        }
        return true;
}

static bool parse_labels(struct selector *selector, const char *text, char **reterr_why)
{
        const char *cursor = skip_spaces(text);

        while (*cursor) {
                struct term term = {};
                bool good = take_label_term(&cursor, &term) && names_is_label_key(term.key) && values_are_valid(&term) &&
                            (!*cursor || take(&cursor, ",")) && selector->terms->len < LIMIT_SELECTOR_TERMS;

                g_array_append_val(selector->terms, term);
                if (!good) {
                        *reterr_why =
                                g_strdup_printf("unable to parse the label selector \"%.200s\": near \"%.40s\"", text, cursor);
                        return false;
                }
        }
        return true;
}

/* --- fields
 * -------------------------------------------------------------------------------------------------------------------------- */

static const char *const served_fields[] = {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.unschedulable",
        "status.phase",
        "status.nodeName",
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "type",
        "reportingComponent",
        "source.component",
        NULL,
};

static const struct schema_field *field_of(const struct schema_type *type, const char *name)
{
        for (const struct schema_field *field = type ? type->fields : NULL; field && field->name; field++)
                if (strcmp(field->name, name) == 0)
                        return field;
        return NULL;
}

static bool resolve_field(const struct schema_kind *kind, struct term *term)
{
        const struct schema_type *type = kind->type;

        for (char **name = term->path; *name; name++) {
                const struct schema_field *field = field_of(type, *name);

                if (!field)
                        return false;
                type = field->type;
                term->boolean = field->value == SCHEMA_BOOL;
        }
        return true;
}

/* "metadata.name, metadata.namespace, ...": what @kind can be selected by. */
static char *field_names(const struct schema_kind *kind)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new();

        for (const char *const *field = served_fields; *field; field++) {
                struct term term = {.path = g_strsplit(*field, ".", 4)};

                if (resolve_field(kind, &term))
                        g_ptr_array_add(names, (void *)*field);
                g_strfreev(term.path);
        }
        g_ptr_array_add(names, NULL);
        return g_strjoinv(", ", (char **)names->pdata);
}

static char *unsupported_words(const struct schema_kind *kind, const char *field)
{
        g_autofree char *names = field_names(kind);

        return g_strdup_printf("field label not supported: %.200s (%s can be selected by %s)", field, kind->plural, names);
}

/* Up to an unescaped ',', '=' or '!': "\" protects the next character. */
static char *take_field_text(const char **cursor, const char *stops)
{
        GString *text = g_string_new(NULL);

        for (; **cursor && !strchr(stops, **cursor); (*cursor)++) {
                if (**cursor == '\\' && (*cursor)[1])
                        (*cursor)++;
                g_string_append_c(text, **cursor);
        }
        return g_string_free(text, FALSE);
}

static bool take_field_term(const char **cursor, struct term *term)
{
        term->field = true;
        term->key = take_field_text(cursor, ",=!");
        term->path = g_strsplit(term->key, ".", 4);
        if (take(cursor, "!="))
                term->test = TERM_NOT_IN;
        else if (!take(cursor, "==") && !take(cursor, "="))
                return false;
        term->values = one_value(take_field_text(cursor, ","));
        return true;
}

static bool parse_fields(struct selector *selector, const struct schema_kind *kind, const char *text, char **reterr_why)
{
        const char *cursor = text;

        while (*cursor) {
                struct term term = {};
                bool good = take_field_term(&cursor, &term) && (!*cursor || take(&cursor, ",")) &&
                            selector->terms->len < LIMIT_SELECTOR_TERMS;

                bool known = good && g_strv_contains(served_fields, term.key) && resolve_field(kind, &term);

                g_array_append_val(selector->terms, term);
                if (known)
                        continue;
                *reterr_why = good ? unsupported_words(kind, term.key)
                                   : g_strdup_printf("unable to parse the field selector \"%.200s\"", text);
                return false;
        }
        return true;
}

struct selector *selector_new(const struct schema_kind *kind, const char *labels, const char *fields, char **reterr_why)
{
        g_autoptr(selector) selector = g_new0(struct selector, 1);

        assert(kind && reterr_why);
        selector->terms = g_array_new(FALSE, TRUE, sizeof(struct term));
        g_array_set_clear_func(selector->terms, term_clear);
        if ((labels && !parse_labels(selector, labels, reterr_why)) ||
            (fields && !parse_fields(selector, kind, fields, reterr_why)))
                return NULL;
        return g_steal_pointer(&selector);
}

/* --- matching
 * ------------------------------------------------------------------------------------------------------------------------ */

static bool compare_numbers(const struct term *term, const char *text)
{
        gint64 number, bound;

        if (!g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &number, NULL) ||
            !g_ascii_string_to_signed(term->values[0], 10, G_MININT64, G_MAXINT64, &bound, NULL))
                return false;
        return term->test == TERM_ABOVE ? number > bound : number < bound;
}

/* @text NULL: absent. */
static bool term_holds(const struct term *term, const char *text)
{
        switch (term->test) {
        case TERM_IN:
                return text && g_strv_contains((const char *const *)term->values, text);
        case TERM_NOT_IN:
                return !text || !g_strv_contains((const char *const *)term->values, text);
        case TERM_EXISTS:
                return text;
        case TERM_ABSENT:
                return !text;
        case TERM_ABOVE:
        case TERM_BELOW:
                return text && compare_numbers(term, text);
        }
        return false;
}

/* An absent field reads as "", as in Kubernetes. */
static const char *field_text(const struct term *term, const struct json_value *root)
{
        const struct json_value *value = root;

        for (char **name = term->path; value && *name; name++)
                value = json_get(value, *name);
        if (json_is_bool(value))
                return json_bool(value, false) ? "true" : "false";
        return json_string(value, NULL) ?: json_number_text(value) ?: term->boolean ? "false" : "";
}

bool selector_matches(const struct selector *selector, const struct json_value *root)
{
        const struct json_value *labels;

        assert(selector);
        if (!selector->terms->len)
                return true;
        labels = json_find(root, "metadata", "labels", NULL);
        for (guint i = 0; i < selector->terms->len; i++) {
                const struct term *term = &g_array_index(selector->terms, struct term, i);

                if (!term_holds(term, term->field ? field_text(term, root) : json_string(json_get(labels, term->key), NULL)))
                        return false;
        }
        return true;
}

bool selector_is_empty(const struct selector *selector)
{
        assert(selector);
        return selector->terms->len == 0;
}

const char *selector_only_name(const struct selector *selector)
{
        assert(selector);
        for (guint i = 0; i < selector->terms->len; i++) {
                const struct term *term = &g_array_index(selector->terms, struct term, i);

                if (term->field && term->test == TERM_IN && strcmp(term->key, "metadata.name") == 0)
                        return term->values[0];
        }
        return NULL;
}
