/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "auth/auth.h"
#include "json/json.h"

/* One rule, its lists as arrays of texts that live as long as the document it stands in. */
struct match_rule {
        const struct json_value *json;
        const char **verbs, **groups, **resources, **names, **paths; /* NULL-terminated, or NULL when empty */
        bool everything;                                             /* all verbs on all resources of all groups */
};

/** match_rule_new() - from its JSON, which is borrowed. */
struct match_rule *match_rule_new(const struct json_value *rule);
/** match_rule_free() - of a struct match_rule; NULL is accepted. */
void match_rule_free(void *rule);

/** match_rule_allows() - whether the rule gives what @attributes say, as Kubernetes' rules are read. */
bool match_rule_allows(const struct match_rule *rule, const struct auth_attributes *attributes);

/** match_aggregates() - whether one of the selectors of an aggregationRule chooses an object with these @labels (or NULL). */
bool match_aggregates(const struct json_value *aggregation, const struct json_value *labels);
