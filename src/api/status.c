/* SPDX-License-Identifier: Apache-2.0 */
#include "api/status.h"
#include "generated/reasons.h"

#include <assert.h>
#include <string.h>

static const struct {
        int code;
        const char *reason;
} status_reasons[] = {
        {400, "BadRequest"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "NotFound"},
        {405, "MethodNotAllowed"},
        {406, "NotAcceptable"},
        {409, "Conflict"},
        {410, "Expired"},
        {413, "RequestEntityTooLarge"},
        {415, "UnsupportedMediaType"},
        {422, "Invalid"},
        {429, "TooManyRequests"},
        {500, "InternalError"},
        {503, "ServiceUnavailable"},
        {504, "Timeout"},
        {507, "InsufficientStorage"},
};

const char *status_reason(int code)
{
        for (size_t i = 0; i < G_N_ELEMENTS(status_reasons); i++)
                if (status_reasons[i].code == code)
                        return status_reasons[i].reason;
        return "Unknown";
}

static struct json_value *begin(struct json_doc *doc, const char *status)
{
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "kind", "Status");
        json_set_string(doc, root, "apiVersion", "v1");
        json_ensure_object(doc, root, "metadata");
        json_set_string(doc, root, "status", status);
        return root;
}

static GString *finish(struct json_doc *doc)
{
        GString *text = g_string_new(NULL);

        json_write(json_root(doc), text);
        return text;
}

static void set_text(struct json_doc *doc, struct json_value *object, const char *key, const char *text)
{
        if (text && *text)
                json_set_string(doc, object, key, text);
}

static void add_cause(struct json_doc *doc, struct json_value *details, const char *reason, const char *message, const char *field)
{
        struct json_value *cause = json_append(json_ensure_array(doc, details, "causes"), json_new(doc, JSON_OBJECT));

        set_text(doc, cause, "reason", reason);
        set_text(doc, cause, "message", message);
        set_text(doc, cause, "field", field);
}

/* Faults beyond LIMIT_FAULTS. */
static size_t faults_omitted(const struct schema_faults *faults)
{
        return faults ? schema_faults_count(faults) - schema_faults_kept(faults) : 0;
}

static void add_details(struct json_doc *doc, struct json_value *details, const struct refusal *refusal)
{
        set_text(doc, details, "name", refusal->name);
        set_text(doc, details, "group", refusal->group);
        set_text(doc, details, "kind", refusal->kind);
        set_text(doc, details, "uid", refusal->uid);
        for (size_t i = 0; refusal->faults && i < schema_faults_kept(refusal->faults); i++) {
                const struct schema_fault *fault = schema_faults_at(refusal->faults, i);

                add_cause(doc, details, fault->reason, fault->message, fault->field);
        }
        if (faults_omitted(refusal->faults)) {
                g_autofree char *words = g_strdup_printf("and %zu more faults", faults_omitted(refusal->faults));

                add_cause(doc, details, REASON_FIELD_VALUE_TOO_MANY, words, "");
        }
        if (refusal->cause)
                add_cause(doc, details, refusal->cause, refusal->cause_message, refusal->cause_field);
        if (refusal->retry_after_s)
                json_set_int(doc, details, "retryAfterSeconds", refusal->retry_after_s);
}

GString *status_refusal(const struct refusal *refusal)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root, *details;

        assert(refusal && refusal->message);
        root = begin(doc, "Failure");
        json_set_string(doc, root, "message", refusal->message);
        json_set_string(doc, root, "reason", refusal->reason ?: status_reason(refusal->code));
        details = json_new(doc, JSON_OBJECT);
        add_details(doc, details, refusal);
        if (json_length(details))
                json_set(doc, root, "details", details);
        json_set_int(doc, root, "code", refusal->code);
        return finish(doc);
}

GString *status_success(const char *name, const char *group, const char *plural, const char *uid)
{
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = begin(doc, "Success"), *details = json_ensure_object(doc, root, "details");

        set_text(doc, details, "name", name);
        set_text(doc, details, "group", group);
        set_text(doc, details, "kind", plural);
        set_text(doc, details, "uid", uid);
        return finish(doc);
}

char *status_fault_words(const struct schema_faults *faults)
{
        size_t kept = schema_faults_kept(faults);
        GString *words = g_string_new(NULL);

        for (size_t i = 0; i < kept; i++) {
                const struct schema_fault *fault = schema_faults_at(faults, i);

                g_string_append_printf(words, "%s%s%s%s", i ? ", " : "", fault->field ?: "",
                                       fault->field && *fault->field ? ": " : "", fault->message);
        }
        if (faults_omitted(faults))
                g_string_append_printf(words, ", and %zu more faults", faults_omitted(faults));
        if (kept > 1) {
                g_string_prepend_c(words, '[');
                g_string_append_c(words, ']');
        }
        return g_string_free(words, FALSE);
}
