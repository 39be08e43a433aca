/* SPDX-License-Identifier: Apache-2.0 */
#include "api/params.h"
#include "base/names.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

#define FIELD_MANAGER_MAX 128

static bool read_number(const struct http_request *request, const char *name, uint64_t *ret_number, struct schema_faults *faults)
{
        const char *text = http_request_query(request, name);
        guint64 number;

        if (!text || !*text)
                return false;
        if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, &number, NULL)) {
                schema_faults_add(faults, name, REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: \"%.80s\": must be a whole number that is not negative", text);
                return false;
        }
        *ret_number = number;
        return true;
}

static bool read_bool(const struct http_request *request, const char *name, struct schema_faults *faults)
{
        static const char *const yes[] = {"", "1", "t", "T", "true", "True", "TRUE", NULL};
        static const char *const no[] = {"0", "f", "F", "false", "False", "FALSE", NULL};
        const char *text = http_request_query(request, name);

        if (!text || g_strv_contains(no, text))
                return false;
        if (!g_strv_contains(yes, text))
                schema_faults_add(faults, name, REASON_FIELD_VALUE_INVALID, "Invalid value: \"%.80s\": must be true or false",
                                  text);
        return true;
}

/* The index of the parameter's text in @names; 0 when it is absent. */
static int read_choice(const struct http_request *request, const char *name, const char *const *names, size_t n_names,
                       struct schema_faults *faults)
{
        const char *text = http_request_query(request, name);
        int index = text && *text ? enum_index_of(names, n_names, text) : 0;

        if (index >= 0)
                return index;
        schema_faults_add(faults, name, REASON_FIELD_VALUE_NOT_SUPPORTED, "Unsupported value: \"%.80s\"", text);
        return 0;
}

static const char *read_text(const struct http_request *request, const char *name)
{
        const char *text = http_request_query(request, name);

        return text && *text ? text : NULL;
}

static void read_manager(const struct http_request *request, struct params *params, struct schema_faults *faults)
{
        params->field_manager = g_strdup(read_text(request, "fieldManager"));
        if (params->field_manager && !names_is_plain_text(params->field_manager, FIELD_MANAGER_MAX, false))
                schema_faults_add(faults, "fieldManager", REASON_FIELD_VALUE_INVALID,
                                  "Invalid value: must be at most %d printable characters", FIELD_MANAGER_MAX);
}

/* What says where a list or watch begins goes together only in some ways; those of Kubernetes. */
static void judge_start(const struct params *params, struct schema_faults *faults)
{
        const struct {
                bool wrong;
                const char *field, *words;
        } rules[] = {
                {!params->watch && params->initial, "sendInitialEvents", "sendInitialEvents is forbidden for list"},
                {params->watch && params->initial && params->match != PARAMS_MATCH_NOT_OLDER, "resourceVersionMatch",
                 "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"},
                {params->watch && !params->initial && params->match, "resourceVersionMatch",
                 "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"},
                {!params->watch && params->match && params->continue_token, "resourceVersionMatch",
                 "resourceVersionMatch is forbidden when continue is provided"},
                {!params->watch && params->match && !params->continue_token && !params->has_revision, "resourceVersionMatch",
                 "resourceVersionMatch is forbidden unless resourceVersion is provided"},
                {!params->watch && params->match == PARAMS_MATCH_EXACT && params->has_revision && params->revision == 0,
                 "resourceVersionMatch", "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\""},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rules); i++)
                if (rules[i].wrong)
                        schema_faults_add(faults, rules[i].field, REASON_FIELD_VALUE_FORBIDDEN, "Forbidden: %s", rules[i].words);
}

/* Who names no manager is called as its program: what stands before the slash of User-Agent. */
static char *manager_of(const struct http_request *request, const struct params *params)
{
        const char *agent = http_request_header(request, "User-Agent");
        g_autofree char *name = agent ? g_strndup(agent, strcspn(agent, "/")) : NULL;

        if (params->field_manager)
                return g_strdup(params->field_manager);
        return name && *name && names_is_plain_text(name, FIELD_MANAGER_MAX, false) ? g_steal_pointer(&name) : g_strdup("unknown");
}

void params_parse(const struct http_request *request, struct params *ret_params, struct schema_faults *faults)
{
        static const char *const validations[] = {"", "Strict", "Warn", "Ignore"};
        static const char *const dry_runs[] = {"", "All"};
        static const char *const includes[] = {"Metadata", "None", "Object"};
        static const char *const matches[] = {"", "NotOlderThan", "Exact"};
        struct params params = {};

        assert(request && ret_params && faults);
        params.dry_run = read_choice(request, "dryRun", dry_runs, G_N_ELEMENTS(dry_runs), faults);
        params.validation =
                (enum params_validation)read_choice(request, "fieldValidation", validations, G_N_ELEMENTS(validations), faults);
        params.include_object = includes[read_choice(request, "includeObject", includes, G_N_ELEMENTS(includes), faults)];
        params.match = (enum params_match)read_choice(request, "resourceVersionMatch", matches, G_N_ELEMENTS(matches), faults);
        params.watch = read_bool(request, "watch", faults);
        params.bookmarks = read_bool(request, "allowWatchBookmarks", faults);
        params.label_selector = read_text(request, "labelSelector");
        params.field_selector = read_text(request, "fieldSelector");
        params.continue_token = read_text(request, "continue");
        params.has_revision = read_number(request, "resourceVersion", &params.revision, faults);
        read_number(request, "limit", &params.limit, faults);
        read_number(request, "timeoutSeconds", &params.timeout_s, faults);
        read_manager(request, &params, faults);
        params.manager = manager_of(request, &params);
        params.force = read_bool(request, "force", faults);
        if (http_request_query(request, "sendInitialEvents"))
                params.initial = read_bool(request, "sendInitialEvents", faults) ? PARAMS_INITIAL_YES : PARAMS_INITIAL_NO;
        judge_start(&params, faults);
        *ret_params = params;
}

void params_clear(struct params *params)
{
        assert(params);
        g_free(params->field_manager);
        g_free(params->manager);
        *params = (struct params){};
}
