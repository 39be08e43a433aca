/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"
#include "api/once.h"
#include "api/splice.h"
#include "base/limits.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

static const char json_type_text[] = "application/json";

/* --- life
 * --------------------------------------------------------------------------------------------------------------------------- */

static void call_gone(struct http_request *request, void *userdata)
{
        struct call *call = userdata;

        call->request = NULL;
        if (call->on_gone)
                call->on_gone(call->stream);
        call_unref(call);
}

static void call_drained(struct http_request *request, void *userdata)
{
        struct call *call = userdata;

        if (call->on_drained)
                call->on_drained(call->stream);
}

struct call *call_new(struct api *api, struct http_request *request)
{
        struct call *call = g_new0(struct call, 1);
        const char *asked = http_request_header(request, ONCE_HEADER) ?: http_request_header(request, "X-Request-Id");

        *call = (struct call){
                .refs = 1,
                .api = api,
                .request = request,
                .peer = g_strdup(http_request_peer(request)),
                .begun_us = clock_monotonic_us(api->options.clock),
        };
        if (asked && once_header_is_valid(asked))
                g_strlcpy(call->request_id, asked, sizeof(call->request_id));
        else
                uuid_generate(api->options.random, call->request_id);
        http_request_set_userdata(request, call);
        http_request_on_gone(request, call_gone);
        http_reply_header(request, "X-Request-Id", call->request_id);
        http_reply_header(request, "Cache-Control", "no-cache, private");
        return call;
}

struct call *call_ref(struct call *call)
{
        assert(call && call->refs > 0);
        call->refs++;
        return call;
}

struct call *call_unref(struct call *call)
{
        if (!call || --call->refs > 0)
                return NULL;
        auth_identity_free(call->identity);
        target_clear(&call->target);
        params_clear(&call->params);
        g_clear_pointer(&call->warnings, g_ptr_array_unref);
        g_clear_pointer(&call->duplicates, g_ptr_array_unref);
        g_free(call->peer);
        g_free(call->only_name);
        g_free(call->once_id);
        g_free(call->once_name);
        g_free(call->once_digest);
        g_free(call);
        return NULL;
}

const char *call_alias_version(const struct call *call)
{
        assert(call);
        return call->target.alias ? call->target.api_version : NULL;
}

void call_account(struct call *call, int status)
{
        const struct auth_attributes *attributes = &call->attributes;
        uint64_t now_us;

        if (call->answered)
                return;
        call->answered = true;
        now_us = clock_monotonic_us(call->api->options.clock);
        metrics_count(call->api->metrics, attributes->verb ?: "other", call->target.kind ? call->target.kind->plural : "path",
                      status, now_us - MIN(now_us, call->begun_us));
        if (call->identity && attributes->verb && call->api->options.audit && !call->untold)
                auth_audit_record(call->api->options.audit, &(struct auth_audit_entry){.identity = call->identity,
                                                                                       .attributes = attributes,
                                                                                       .peer = call->peer,
                                                                                       .request_id = call->request_id,
                                                                                       .allowed = status != 401 && status != 403,
                                                                                       .dry_run = call->params.dry_run,
                                                                                       .status = status});
}

struct store_actor call_actor(const struct call *call)
{
        assert(call && call->identity);
        return (struct store_actor){
                .user = call->identity->user,
                .client = call->peer,
                .request_id = call->request_id,
                .field_manager = call->params.field_manager,
                .verb = call->attributes.verb,
        };
}

/* --- warnings
 * ----------------------------------------------------------------------------------------------------------------------- */

void call_warn(struct call *call, const char *format, ...)
{
        g_autofree char *text = NULL;
        va_list args;

        if (!call->warnings)
                call->warnings = g_ptr_array_new_with_free_func(g_free);
        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);
        for (guint i = 0; i < call->warnings->len; i++)
                if (strcmp(call->warnings->pdata[i], text) == 0)
                        return;
        if (call->warnings->len < LIMIT_WARNINGS)
                g_ptr_array_add(call->warnings, g_steal_pointer(&text));
}

static void add_warnings(struct call *call)
{
        for (guint i = 0; call->request && call->warnings && i < call->warnings->len; i++) {
                g_autoptr(GString) value = g_string_new("299 - \"");

                for (const char *c = call->warnings->pdata[i]; *c; c++)
                        g_string_append_printf(value, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
                g_string_append_c(value, '"');
                http_reply_header(call->request, "Warning", value->str);
        }
}

/* --- answers
 * ------------------------------------------------------------------------------------------------------------------------ */

void call_reply_text(struct call *call, int code, GString *text)
{
        GBytes *bytes = g_string_free_to_bytes(text);

        call_account(call, code);
        add_warnings(call);
        if (call->request)
                http_reply_bytes(call->request, code, json_type_text, bytes);
        g_bytes_unref(bytes);
}

void call_reply_object(struct call *call, int code, const struct store_object *object)
{
        GString *text = g_string_sized_new(object->len + 64);

        splice_object(object, call_alias_version(call), 0, text);
        call_reply_text(call, code, text);
}

void call_reply_doc(struct call *call, int code, struct json_doc *doc)
{
        GString *text = g_string_new(NULL);

        if (call_alias_version(call))
                json_set_string(doc, json_root(doc), "apiVersion", call_alias_version(call));
        json_write(json_root(doc), text);
        call_reply_text(call, code, text);
}

void call_stream_begin(struct call *call, void *stream, void (*on_drained)(void *stream), void (*on_gone)(void *stream))
{
        assert(call->request && !call->stream);
        call->stream = stream;
        call->on_drained = on_drained;
        call->on_gone = on_gone;
        call_account(call, 200);
        http_reply_stream(call->request, 200, json_type_text);
        http_stream_on_drained(call->request, call_drained);
}

struct http_request *call_hand_over(struct call *call)
{
        struct http_request *request = call->request;

        assert(request && !call->stream);
        call->request = NULL;
        http_request_set_userdata(request, NULL);
        http_request_on_gone(request, NULL);
        call_unref(call);
        return request;
}

static void add_retry_after(struct call *call, unsigned seconds)
{
        char text[16];

        if (!seconds || !call->request)
                return;
        g_snprintf(text, sizeof(text), "%u", seconds);
        http_reply_header(call->request, "Retry-After", text);
}

void call_refuse(struct call *call, const struct refusal *refusal)
{
        struct refusal filled = *refusal;

        if (call->target.kind) {
                filled.group = filled.group ?: call->target.group;
                filled.kind = filled.kind ?: call->target.kind->plural;
                filled.name = filled.name ?: call->target.name;
        }
        add_retry_after(call, refusal->retry_after_s);
        call_reply_text(call, refusal->code, status_refusal(&filled));
}

void call_refuse_words(struct call *call, int code, const char *format, ...)
{
        g_autofree char *message = NULL;
        va_list args;

        va_start(args, format);
        message = g_strdup_vprintf(format, args);
        va_end(args);
        call_refuse(call, &(struct refusal){.code = code, .message = message});
}

void call_refuse_future(struct call *call)
{
        call_refuse(call, &(struct refusal){.code = 504,
                                            .message = "Too large resource version",
                                            .cause = "ResourceVersionTooLarge",
                                            .cause_message = "Too large resource version",
                                            .retry_after_s = 1});
}

void call_refuse_faults(struct call *call, const char *name, const struct schema_faults *faults)
{
        g_autofree char *words = status_fault_words(faults), *message = NULL;
        const struct target *target = &call->target;

        assert(target->kind && schema_faults_count(faults));
        message = g_strdup_printf("%s%s%s \"%s\" is invalid: %s", target->kind->kind, *target->group ? "." : "", target->group,
                                  name ?: "", words);
        call_refuse(call,
                    &(struct refusal){
                            .code = 422, .message = message, .kind = target->kind->kind, .name = name ?: "", .faults = faults});
}
