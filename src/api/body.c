/* SPDX-License-Identifier: Apache-2.0 */
#include "api/body.h"
#include "api/protobuf.h"

#include <assert.h>
#include <string.h>

static const struct {
        const char *media_type;
        enum body_type type;
        bool patch;
} types[] = {
        {"application/json", BODY_JSON, false},
        {"application/yaml", BODY_YAML, false},
        {"application/x-yaml", BODY_YAML, false},
        {"text/yaml", BODY_YAML, false},
        {PROTOBUF_MEDIA_TYPE, BODY_PROTOBUF, false},
        {"application/merge-patch+json", BODY_MERGE_PATCH, true},
        {"application/json-patch+json", BODY_JSON_PATCH, true},
        {"application/strategic-merge-patch+json", BODY_STRATEGIC_PATCH, true},
        {"application/apply-patch+yaml", BODY_APPLY, true},
};

/* The media type without parameters, in lower case. */
static char *media_type_of(const struct http_request *request)
{
        const char *header = http_request_header(request, "Content-Type");
        char *type = header ? g_ascii_strdown(header, (gssize)strcspn(header, ";")) : NULL;

        return type ? g_strstrip(type) : NULL;
}

static bool serves(const struct call *call, size_t index)
{
        bool patch = strcmp(call->attributes.verb, "patch") == 0;

        bool core_only = types[index].type == BODY_STRATEGIC_PATCH || types[index].type == BODY_PROTOBUF;

        return types[index].patch == patch && (!core_only || call->target.kind->core);
}

static void refuse(struct call *call, const char *type)
{
        g_autoptr(GString) known = g_string_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
                if (serves(call, i))
                        g_string_append_printf(known, "%s%s", known->len ? ", " : "", types[i].media_type);
        call_refuse_words(call, 415,
                          "the body of the request was in an unknown format - accepted media types include: %s (got \"%.100s\")",
                          known->str, type);
}

bool body_type_of(struct call *call, enum body_type *ret_type)
{
        g_autofree char *type = media_type_of(call->request);
        const char *encoding = http_request_header(call->request, "Content-Encoding");

        assert(call->target.kind && ret_type);
        if (encoding && g_ascii_strcasecmp(encoding, "identity") != 0) {
                call_refuse_words(call, 415, "bodies with Content-Encoding \"%.40s\" are not taken", encoding);
                return false;
        }
        /* kubectl create namespace sends JSON without saying so. */
        if (!type)
                type = g_strdup("application/json");
        for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
                if (serves(call, i) && strcmp(types[i].media_type, type) == 0) {
                        *ret_type = types[i].type;
                        return true;
                }
        }
        refuse(call, type);
        return false;
}

struct json_doc *body_parse_protobuf(struct call *call, const char *body, size_t len)
{
        struct json_doc *doc = NULL;
        int r = protobuf_parse(body, len, &doc);

        if (r == PROTOBUF_E_KIND)
                call_refuse_words(call, 415, "objects of this kind are not taken as protocol buffers: send JSON");
        else if (r)
                call_refuse_words(call, 400, "the body of the request could not be read as protocol buffers");
        return doc;
}

/* What kubectl applies is JSON under the media type of YAML. */
static bool looks_like_json(const char *body, size_t len)
{
        while (len && g_ascii_isspace(*body)) {
                body++;
                len--;
        }
        return len && *body == '{';
}

static bool changes(const struct call *call)
{
        return !g_str_has_prefix(call->attributes.verb, "delete");
}

/* Whether keys that stand twice are refused, told of or overlooked is for fieldValidation to say. */
static int parse_duplicates(struct call *call, const char *body, size_t len, struct json_doc **ret_doc, struct json_fault *fault)
{
        g_clear_pointer(&call->duplicates, g_ptr_array_unref);
        call->duplicates = g_ptr_array_new_with_free_func(g_free);
        return json_parse_lenient(body, len, call->duplicates, ret_doc, fault);
}

struct json_doc *body_parse(struct call *call, enum body_type type, const char *body, size_t len)
{
        struct json_doc *doc = NULL;
        struct json_fault fault = {};
        bool yaml;
        int r;

        if (type == BODY_PROTOBUF)
                return body_parse_protobuf(call, body, len);
        yaml = type == BODY_YAML || (type == BODY_APPLY && !looks_like_json(body, len));
        r = yaml ? json_parse_yaml(body, len, &doc, &fault) : json_parse(body, len, &doc, &fault);
        if (r == JSON_E_SYNTAX && g_str_has_prefix(fault.reason, "duplicate key") && changes(call))
                r = parse_duplicates(call, body, len, &doc, &fault);
        if (r == 0)
                return doc;
        call_refuse_words(call, 400, "the body of the request could not be read as %s: line %u: %s", yaml ? "YAML" : "JSON",
                          fault.line, fault.reason);
        return NULL;
}
