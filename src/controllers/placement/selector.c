/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/placement/selector.h"

#include "base/names.h"
#include "controllers/object.h"

#include <assert.h>
#include <string.h>

enum operator_kind { OPERATOR_IN, OPERATOR_NOT_IN, OPERATOR_EXISTS, OPERATOR_DOES_NOT_EXIST, OPERATOR_GT, OPERATOR_LT };
static const char *const operator_names[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};

static bool compares(const char *value, const char *const *values, size_t n_values, bool greater)
{
        gint64 left, right;

        if (!value || n_values != 1)
                return false;
        if (!g_ascii_string_to_signed(value, 10, INT64_MIN, INT64_MAX, &left, NULL) ||
            !g_ascii_string_to_signed(values[0], 10, INT64_MIN, INT64_MAX, &right, NULL))
                return false;
        return greater ? left > right : left < right;
}

static bool requirement_holds(const char *value, const char *operator_name, const char *const *values, size_t n_values)
{
        switch ((enum operator_kind)enum_index_of(operator_names, G_N_ELEMENTS(operator_names), operator_name)) {
        case OPERATOR_IN:
                return value && strings_hold(values, n_values, value);
        case OPERATOR_NOT_IN:
                return !value || !strings_hold(values, n_values, value);
        case OPERATOR_EXISTS:
                return value != NULL;
        case OPERATOR_DOES_NOT_EXIST:
                return value == NULL;
        case OPERATOR_GT:
                return compares(value, values, n_values, true);
        case OPERATOR_LT:
                return compares(value, values, n_values, false);
        }
        return false;
}

bool selector_map(const struct api_pair *wanted, size_t n_wanted, const struct cache_object *object)
{
        assert(object);

        for (size_t i = 0; i < n_wanted; i++)
                if (g_strcmp0(object_label(object, wanted[i].key), wanted[i].value) != 0)
                        return false;
        return true;
}

const char *selector_map_words(struct arena *arena, const struct api_pair *wanted, size_t n_wanted)
{
        assert(arena);

        const char *words = "";

        for (size_t i = 0; i < n_wanted; i++)
                words = arena_printf(arena, "%s%s%s=%s", words, i > 0 ? ", " : "", wanted[i].key, wanted[i].value);
        return words;
}

static bool node_requirements_hold(const struct api_node_selector_requirement *requirements, size_t n,
                                   const struct cache_object *node)
{
        for (size_t i = 0; i < n; i++)
                if (!requirement_holds(object_label(node, requirements[i].key),
                                       requirements[i].operator,(const char *const *) requirements[i].values,
                                       requirements[i].n_values))
                        return false;
        return true;
}

static bool node_fields_hold(const struct api_node_selector_requirement *requirements, size_t n, const struct cache_object *node)
{
        for (size_t i = 0; i < n; i++) {
                const char *value = strcmp(requirements[i].key, "metadata.name") == 0 ? node->name : NULL;

                if (!requirement_holds(value, requirements[i].operator,(const char *const *) requirements[i].values,
                                       requirements[i].n_values))
                        return false;
        }
        return true;
}

bool selector_node_labels(const struct api_node_label_selector *selector, const struct cache_object *node)
{
        assert(node);

        if (!selector)
                return true;
        return selector_map(selector->match_labels, selector->n_match_labels, node) &&
               node_requirements_hold(selector->match_expressions, selector->n_match_expressions, node);
}

bool selector_node_terms(const struct api_node_selector_terms *terms, const struct cache_object *node)
{
        assert(node);

        if (!terms)
                return true;
        for (size_t i = 0; i < terms->n_node_selector_terms; i++) {
                const struct api_node_selector_term *term = &terms->node_selector_terms[i];

                if (term->n_match_expressions + term->n_match_fields == 0)
                        continue; /* an empty term chooses nothing */
                if (node_requirements_hold(term->match_expressions, term->n_match_expressions, node) &&
                    node_fields_hold(term->match_fields, term->n_match_fields, node))
                        return true;
        }
        return false;
}

bool selector_labels(const struct api_label_selector *selector, const struct cache_object *object)
{
        assert(object);

        if (!selector)
                return true;
        if (!selector_map(selector->match_labels, selector->n_match_labels, object))
                return false;
        for (size_t i = 0; i < selector->n_match_expressions; i++) {
                const struct api_label_selector_requirement *requirement = &selector->match_expressions[i];

                if (!requirement_holds(object_label(object, requirement->key),
                                       requirement->operator,(const char *const *) requirement->values, requirement->n_values))
                        return false;
        }
        return true;
}

static bool toleration_covers(const struct api_toleration *toleration, const struct api_taint *taint)
{
        bool exists = g_strcmp0(toleration->operator, "Exists") == 0;

        if (toleration->effect && toleration->effect[0] && strcmp(toleration->effect, taint->effect) != 0)
                return false;
        if (!toleration->key || !toleration->key[0])
                return exists;
        if (strcmp(toleration->key, taint->key) != 0)
                return false;
        return exists || g_strcmp0(toleration->value ? toleration->value : "", taint->value ? taint->value : "") == 0;
}

bool selector_tolerates(const struct api_toleration *tolerations, size_t n_tolerations, const struct api_taint *taint)
{
        assert(taint);

        for (size_t i = 0; i < n_tolerations; i++)
                if (toleration_covers(&tolerations[i], taint))
                        return true;
        return false;
}
