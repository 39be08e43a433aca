/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "http/server.h"
#include "json/json.h"

/* RFC 9110 §15, RFC 6585, and the reasons of the Kubernetes API conventions for what the core itself answers. */
static const struct status_row {
        int status;
        const char *phrase, *reason;
} status_rows[] = {
        {100, "Continue", NULL},
        {101, "Switching Protocols", NULL},
        {200, "OK", NULL},
        {201, "Created", NULL},
        {202, "Accepted", NULL},
        {204, "No Content", NULL},
        {206, "Partial Content", NULL},
        {301, "Moved Permanently", NULL},
        {302, "Found", NULL},
        {303, "See Other", NULL},
        {304, "Not Modified", NULL},
        {307, "Temporary Redirect", NULL},
        {308, "Permanent Redirect", NULL},
        {400, "Bad Request", "BadRequest"},
        {401, "Unauthorized", "Unauthorized"},
        {403, "Forbidden", "Forbidden"},
        {404, "Not Found", "NotFound"},
        {405, "Method Not Allowed", "MethodNotAllowed"},
        {406, "Not Acceptable", "NotAcceptable"},
        {408, "Request Timeout", "Timeout"},
        {409, "Conflict", "Conflict"},
        {410, "Gone", "Expired"},
        {411, "Length Required", "BadRequest"},
        {412, "Precondition Failed", "BadRequest"},
        {413, "Content Too Large", "RequestEntityTooLarge"},
        {414, "URI Too Long", "BadRequest"},
        {415, "Unsupported Media Type", "UnsupportedMediaType"},
        {416, "Range Not Satisfiable", "BadRequest"},
        {417, "Expectation Failed", "BadRequest"},
        {422, "Unprocessable Content", "Invalid"},
        {423, "Locked", "Conflict"},
        {425, "Too Early", "BadRequest"},
        {426, "Upgrade Required", "BadRequest"},
        {429, "Too Many Requests", "TooManyRequests"},
        {431, "Request Header Fields Too Large", "RequestEntityTooLarge"},
        {460, "Checksum Mismatch", "BadRequest"}, /* tus 1.0 */
        {500, "Internal Server Error", "InternalError"},
        {501, "Not Implemented", "MethodNotAllowed"},
        {502, "Bad Gateway", "InternalError"},
        {503, "Service Unavailable", "ServiceUnavailable"},
        {504, "Gateway Timeout", "Timeout"},
        {505, "HTTP Version Not Supported", "BadRequest"},
        {507, "Insufficient Storage", "InternalError"},
};

static const struct status_row *status_find(int status)
{
        for (size_t i = 0; i < G_N_ELEMENTS(status_rows); i++) {
                if (status_rows[i].status == status)
                        return &status_rows[i];
        }
        return NULL;
}

const char *http_status_phrase(int status)
{
        const struct status_row *row = status == 200 ? &status_rows[2] : status_find(status);

        return row ? row->phrase : "";
}

void http_status_body(int status, const char *words, GString *out)
{
        assert(words && out);

        const struct status_row *row = status_find(status);
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        json_set_string(doc, root, "kind", "Status");
        json_set_string(doc, root, "apiVersion", "v1");
        json_set(doc, root, "metadata", json_new(doc, JSON_OBJECT));
        json_set_string(doc, root, "status", "Failure");
        json_set_string(doc, root, "message", words);
        json_set_string(doc, root, "reason", row && row->reason ? row->reason : "BadRequest");
        json_set_int(doc, root, "code", status);
        json_write(root, out);
}
