/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "gateway/resumable.h"
#include "generated/api_types.h"

#include <assert.h>
#include <string.h>

#define PREFIX      "/uploads/v1/"
#define RETRY_AFTER "2"

/* --- answers
 * ------------------------------------------------------------------------------------------------------------------------------ */

static void add_number(struct http_request *request, const char *name, uint64_t number)
{
        char text[24];

        g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, number);
        http_reply_header(request, name, text);
}

static void refuse(struct http_request *request, int code, const char *reason, const char *words)
{
        http_reply_header(request, "Tus-Resumable", TUS_VERSION);
        if (code == 412)
                http_reply_header(request, "Tus-Version", TUS_VERSION);
        if (code == 503)
                http_reply_header(request, "Retry-After", RETRY_AFTER);
        api_reply_status(request, code, reason, words, NULL);
}

/* Its answer is given, or it is gone: whatever else it brings is nobody's. */
static void let_go(struct half *half, struct http_request *request)
{
        http_request_set_userdata(request, NULL);
        http_request_on_gone(request, NULL);
        if (half->request == request)
                half->request = NULL;
        if (half->waiting == request)
                half->waiting = NULL;
}

void half_refuse(struct half *half, struct http_request *request, int code, const char *reason, const char *words)
{
        assert(half);
        if (!request)
                return;
        refuse(request, code, reason, words);
        let_go(half, request);
}

void half_refuse_image(struct half *half, struct http_request *request)
{
        g_autoptr(schema_faults) faults = schema_faults_new();

        if (!request)
                return;
        schema_faults_add(faults, "body", half->fault.reason, "%s", half->fault.message);
        http_reply_header(request, "Tus-Resumable", TUS_VERSION);
        api_reply_status(request, 422, "Invalid", half->fault.message, faults);
        let_go(half, request);
}

static void add_expiry(const struct half *half, struct http_request *request)
{
        char date[TUS_DATE_MAX];
        uint64_t begin_us = half->staged ? staged_touched_us(half->staged) : 0;

        if (begin_us > 0 && half->offset < half->grant.size_bytes)
                http_reply_header(request, "Upload-Expires", tus_format_date(begin_us + LIMIT_UPLOAD_LIFE_US, date));
}

void half_answer(struct half *half, struct http_request *request, int code)
{
        g_autofree char *location = NULL;

        assert(half);
        if (!request)
                return;
        http_reply_header(request, "Tus-Resumable", TUS_VERSION);
        add_number(request, "Upload-Offset", half->end == &half_done ? half->grant.size_bytes : half->offset);
        add_expiry(half, request);
        if (code == 201) {
                location = g_strconcat(PREFIX, half->grant.id, NULL);
                http_reply_header(request, "Location", location);
        }
        if (code == 200) {
                add_number(request, "Upload-Length", half->grant.size_bytes);
                http_reply_header(request, "Cache-Control", "no-store");
                if (half->metadata)
                        http_reply_header(request, "Upload-Metadata", half->metadata);
        }
        http_reply(request, code, NULL, NULL, 0);
        let_go(half, request);
}

void half_answer_over(struct half *half, struct http_request *request)
{
        assert(half->end);
        if (half->end == &half_done && strcmp(http_request_method(request), "HEAD") == 0)
                half_answer(half, request, 200);
        else
                half_refuse(half, request, 410, "Expired", half->end->words);
}

/* --- whose turn it is
 * ---------------------------------------------------------------------------------------------------------------------- */

static void on_gone(struct http_request *request, void *userdata)
{
        struct half *half = userdata;

        if (!half)
                return;
        let_go(half, request);
        half_pump(half);
}

static void take_hold(struct half *half, struct http_request *request)
{
        http_request_set_userdata(request, half);
        http_request_on_gone(request, on_gone);
}

static void serve(struct half *half, struct http_request *request, const struct half_verb *verb)
{
        const struct half_end *end = half->state == HALF_ENDED ? NULL : half_why_over(half);

        half->request = request;
        if (end)
                half_end_now(half, end);
        if (half->state == HALF_ENDED)
                half_answer_over(half, request);
        else
                verb->serve(half, request);
}

void half_serve_waiting(struct half *half)
{
        struct http_request *request = half->waiting;

        if (!request || half->busy || half->request)
                return;
        half->waiting = NULL;
        serve(half, request, half->waiting_verb);
}

/* A client that has lost its connection comes back before the old one is known to be dead: what was silent is given up. */
static void give_up_silent(struct half *half)
{
        struct http_request *silent = half->request;
        uint64_t now = loop_now_us(half->resumable->gateway->loop);

        if (silent && half->receiving && !half->body_ended && now - half->moved_us >= LIMIT_UPLOAD_LOCK_US) {
                half_refuse(half, silent, 409, "Conflict", "another request goes on with the upload");
                half_pump(half);
        }
}

static void enter(struct half *half, struct http_request *request, const struct half_verb *verb)
{
        give_up_silent(half);
        if (half->request || half->waiting) {
                refuse(request, 423, "Conflict", "another request has the upload; try again");
                return;
        }
        take_hold(half, request);
        if (half->busy || half->receiving || half->state == HALF_FINISHING) {
                half->waiting = request;
                half->waiting_verb = verb;
                return;
        }
        serve(half, request, verb);
}

/* --- HEAD, PATCH, DELETE of an upload
 * ------------------------------------------------------------------------------------------------------ */

static void serve_head(struct half *half, struct http_request *request)
{
        if (half->offset < half->grant.size_bytes) {
                half_answer(half, request, 200);
                return;
        }
        half->success = 200;
        half_finish(half);
}

static const char *why_not_patch(const struct half *half, const struct http_request *request, uint64_t offset, int *ret_code)
{
        int64_t length = http_request_content_length(request);

        *ret_code = 409;
        if (offset != half->offset)
                return "Upload-Offset is not where the upload is; ask for it by HEAD";
        *ret_code = 413;
        if (length > 0 && (uint64_t)length > half->grant.size_bytes - offset)
                return "the body reaches beyond the size of the upload";
        return NULL;
}

static bool take_checksum(struct half *half, struct http_request *request)
{
        const char *checksum = http_request_header(request, "Upload-Checksum");

        half->checked = checksum;
        return !checksum || tus_parse_checksum(checksum, &half->checksum) == 0;
}

static void begin_body(struct half *half, struct http_request *request, int success)
{
        if (!take_checksum(half, request))
                half_refuse(half, request, 400, "BadRequest",
                            "Upload-Checksum is \"ALGORITHM BASE64\" with one of " TUS_ALGORITHMS);
        else if (half->resumable->receiving >= LIMIT_UPLOADS_AT_ONCE)
                half_refuse(half, request, 503, "ServiceUnavailable", "too many uploads are under way; try again");
        else
                half_receive(half, success);
}

static void serve_patch(struct half *half, struct http_request *request)
{
        uint64_t offset = 0;
        int code = 0;

        if (g_strcmp0(http_request_header(request, "Content-Type"), TUS_BODY_TYPE) != 0) {
                half_refuse(half, request, 415, "UnsupportedMediaType", "the Content-Type of bytes is " TUS_BODY_TYPE);
                return;
        }
        if (tus_parse_number(http_request_header(request, "Upload-Offset"), &offset) < 0) {
                half_refuse(half, request, 400, "BadRequest", "Upload-Offset is missing or no number");
                return;
        }
        const char *words = why_not_patch(half, request, offset, &code);
        if (words) {
                half_refuse(half, request, code, code == 409 ? "Conflict" : "RequestEntityTooLarge", words);
                return;
        }
        half->stuck = false;
        begin_body(half, request, 204);
}

static void serve_delete(struct half *half, struct http_request *request)
{
        half->success = 204;
        half_end_now(half, &half_terminated);
}

void half_enter(struct half *half, struct http_request *request, const char *method)
{
        static const struct half_verb verbs[] = {{"HEAD", serve_head}, {"PATCH", serve_patch}, {"DELETE", serve_delete}};

        assert(half && request && method);
        if (half->state == HALF_MAKING) {
                refuse(request, 423, "Conflict", "the upload is being begun; try again");
                return;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                if (strcmp(verbs[i].method, method) == 0) {
                        enter(half, request, &verbs[i]);
                        return;
                }
        }
        refuse(request, 405, "MethodNotAllowed", "an upload knows HEAD, PATCH and DELETE");
}

/* --- who it is
 * ----------------------------------------------------------------------------------------------------------------------------- */

static struct auth_attributes attributes_of(const struct upload_grant *grant)
{
        return (struct auth_attributes){.verb = "create",
                                        .group = grant->kind->group,
                                        .resource = grant->kind->plural,
                                        .subresource = "upload",
                                        .namespace = grant->namespace,
                                        .name = grant->name};
}

/* What its user lost meanwhile, a token or a role, is lost for the upload too. */
static bool admit(struct resumable *resumable, struct http_request *request, const struct upload_grant *grant)
{
        struct auth_attributes attributes = attributes_of(grant);

        if (http_request_vouch(request, grant->identity->user) < 0) {
                refuse(request, 429, "TooManyRequests", "too much is under way for this user");
                return false;
        }
        if (!api_may(resumable->gateway->api, grant->identity, &attributes)) {
                refuse(request, 403, "Forbidden", "the user that the upload is for may not upload this any more");
                return false;
        }
        return true;
}

static void tell_audit(struct resumable *resumable, const struct upload_grant *grant, const char *peer)
{
        struct auth_attributes attributes = attributes_of(grant);

        auth_audit_record(resumable->gateway->audit, &(struct auth_audit_entry){.identity = grant->identity,
                                                                                .attributes = &attributes,
                                                                                .peer = peer,
                                                                                .request_id = grant->id,
                                                                                .allowed = true,
                                                                                .status = 201});
}

static void handle_half(struct resumable *resumable, struct http_request *request, const char *method, const char *id)
{
        struct half *half = g_hash_table_lookup(resumable->by_id, id);

        if (!half || half->state == HALF_MAKING) {
                refuse(request, 404, "NotFound", "there is no such upload");
                return;
        }
        if (admit(resumable, request, &half->grant))
                half_enter(half, request, method);
}

/* --- POST: a new one
 * ----------------------------------------------------------------------------------------------------------------------- */

static int make_work(void *userdata)
{
        struct half *half = userdata;
        g_autofree char *record = half_record(half);
        int r = staged_open(half->resumable->staging, half->grant.id, &half->staged);

        return r ?: staging_record(half->resumable->staging, half->grant.id, record, false);
}

static void make_done(int result, void *userdata)
{
        struct half *half = userdata;
        struct resumable *resumable = half->resumable;
        struct http_request *request = half->request;

        half->busy = false;
        if (result == -ECANCELED)
                return;
        if (result < 0) {
                log_error("an upload could not be begun", "name", half->grant.name, "error", g_strerror(-result));
                half_refuse(half, request, result == -ENOSPC ? 507 : 500, "InternalError",
                            result == -ENOSPC ? "the gateway's disk is full" : "the upload could not be begun");
                half_end_now(half, &half_terminated);
                return;
        }
        half_set_state(half, HALF_OPEN);
        struct ingest_target target = half_target(half);
        ingest_report_progress(resumable->gateway, &target, 0, NULL);
        if (request) {
                tell_audit(resumable, &half->grant, http_request_peer(request));
                if (http_request_content_length(request) != 0 &&
                    g_strcmp0(http_request_header(request, "Content-Type"), TUS_BODY_TYPE) == 0)
                        begin_body(half, request, 201);
                else
                        half_answer(half, request, 201);
        }
        half_pump(half);
}

static void make(struct resumable *resumable, struct http_request *request, struct upload_grant *grant, const char *metadata)
{
        struct half *half = g_new0(struct half, 1);

        half->resumable = resumable;
        half->grant = *grant;
        *grant = (struct upload_grant){};
        half->metadata = g_strdup(metadata);
        half->request = request;
        half->busy = true;
        take_hold(half, request);
        g_hash_table_insert(resumable->by_id, half->grant.id, half);
        g_hash_table_replace(resumable->by_object, half->grant.uid, half);
        loop_pool_submit(resumable->pool, make_work, make_done, half);
}

/* What half uploads of the project are going to take, and how many there are. */
static uint64_t count_project(const struct resumable *resumable, const char *namespace, const struct half *but, size_t *ret_count)
{
        GHashTableIter iter;
        uint64_t bytes = 0;
        void *value;

        *ret_count = 0;
        g_hash_table_iter_init(&iter, resumable->by_object);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                const struct half *half = value;

                if (half == but || g_strcmp0(half->grant.namespace, namespace) != 0)
                        continue;
                ++*ret_count;
                bytes += half->grant.size_bytes;
        }
        return bytes;
}

static char *why_no_room(const struct resumable *resumable, const struct upload_grant *grant, const struct half *before,
                         int *ret_code)
{
        struct ingest_target target = {.kind = grant->kind, .namespace = grant->namespace};
        size_t count = 0;
        uint64_t others = count_project(resumable, grant->namespace, before, &count);

        *ret_code = 429;
        if (count >= LIMIT_UPLOADS_PER_PROJECT)
                return g_strdup("the project has too many half uploads; finish some, or give them up");
        if (g_hash_table_size(resumable->by_object) >= LIMIT_UPLOADS || g_hash_table_size(resumable->by_id) >= LIMIT_UPLOAD_RECORDS)
                return g_strdup("there are too many half uploads");
        *ret_code = 403;
        return ingest_over_quota(resumable->gateway, &target, others + grant->size_bytes);
}

/* An unfinished upload of the same object makes room for its user's next one at once, and for another user's when it sleeps. */
static const char *why_not_replaced(const struct half *before, const struct upload_grant *grant)
{
        if (!before)
                return NULL;
        if (before->request || before->waiting || before->busy || before->receiving)
                return "another upload for this object is under way";
        if (g_strcmp0(before->grant.identity->user, grant->identity->user) != 0 &&
            staged_touched_us(before->staged) + LIMIT_UPLOAD_IDLE_US > clock_real_us(before->resumable->gateway->clock))
                return "another user's upload for this object is under way";
        return NULL;
}

void half_begin(struct resumable *resumable, struct http_request *request, struct upload_grant *grant, const char *metadata)
{
        struct half *before = g_hash_table_lookup(resumable->by_object, grant->uid);
        const char *words = why_not_replaced(before, grant);
        int code = 0;

        assert(resumable && request && grant);
        if (words) {
                refuse(request, 423, "Conflict", words);
                return;
        }
        g_autofree char *no_room = why_no_room(resumable, grant, before, &code);
        if (no_room) {
                refuse(request, code, code == 403 ? "Forbidden" : "TooManyRequests", no_room);
                return;
        }
        if (before)
                half_end_now(before, &half_replaced);
        make(resumable, request, grant, metadata);
}

static void create(struct resumable *resumable, struct http_request *request, struct upload_grant *grant)
{
        struct gateway *gateway = resumable->gateway;
        autostoreobject object = store_get_newest(gateway->store, grant->kind, grant->namespace, grant->name);
        const char *words =
                !object || g_strcmp0(object->uid, grant->uid) != 0 ? "the object is gone" : uploads_why_not(gateway, object);

        if (words)
                refuse(request, 409, "Conflict", words);
        else
                half_begin(resumable, request, grant, http_request_header(request, "Upload-Metadata"));
}

/* The token says all but what the client asks for now: that must be the same. */
static const char *why_no_grant(struct resumable *resumable, const struct http_request *request, const struct upload_grant *grant,
                                uint64_t length)
{
        if (grant->expires_us <= clock_real_us(resumable->gateway->clock))
                return "the token has expired; ask for another one";
        if (g_hash_table_contains(resumable->by_id, grant->id))
                return "the token has been used; ask for another one";
        if (length != grant->size_bytes)
                return "the token is for an upload of another size";
        return NULL;
}

static void handle_create(struct resumable *resumable, struct http_request *request)
{
        const char *token = http_request_query(request, "token"), *metadata = http_request_header(request, "Upload-Metadata");
        struct upload_grant grant = {};
        uint64_t length = 0;

        if (tus_parse_number(http_request_header(request, "Upload-Length"), &length) < 0) {
                refuse(request, 400, "BadRequest", "Upload-Length is missing or no number");
        } else if (length > LIMIT_IMAGE_BYTES) {
                refuse(request, 413, "RequestEntityTooLarge", "Upload-Length is more than Tus-Max-Size");
        } else if (metadata && !tus_metadata_is_valid(metadata)) {
                refuse(request, 400, "BadRequest", "Upload-Metadata is not \"KEY BASE64,...\", or too long");
        } else if (!token || upload_grant_unseal(token, resumable->gateway->seal, &grant) < 0) {
                refuse(request, 401, "Unauthorized", "the address needs a token that this gateway has given: ask for one");
        } else {
                const char *words = why_no_grant(resumable, request, &grant, length);

                if (words)
                        refuse(request, 403, "Forbidden", words);
                else if (admit(resumable, request, &grant))
                        create(resumable, request, &grant);
                upload_grant_clear(&grant);
        }
}

/* --- the routes
 * ---------------------------------------------------------------------------------------------------------------------------- */

static void answer_options(struct http_request *request)
{
        http_reply_header(request, "Tus-Resumable", TUS_VERSION);
        http_reply_header(request, "Tus-Version", TUS_VERSION);
        http_reply_header(request, "Tus-Extension", TUS_EXTENSIONS);
        http_reply_header(request, "Tus-Checksum-Algorithm", TUS_ALGORITHMS);
        add_number(request, "Tus-Max-Size", LIMIT_IMAGE_BYTES);
        http_reply(request, 204, NULL, NULL, 0);
}

static void handle(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct resumable *resumable = userdata;
        const char *method = http_request_header(request, "X-HTTP-Method-Override") ?: http_request_method(request);

        if (strcmp(method, "OPTIONS") == 0)
                answer_options(request);
        else if (g_strcmp0(http_request_header(request, "Tus-Resumable"), TUS_VERSION) != 0)
                refuse(request, 412, "BadRequest", "Tus-Resumable is missing, or another version than " TUS_VERSION);
        else if (*rest)
                handle_half(resumable, request, method, rest);
        else if (strcmp(method, "POST") == 0)
                handle_create(resumable, request);
        else
                refuse(request, 405, "MethodNotAllowed", "uploads are made by POST");
}

/* --- GET .../upload: where to send the bytes
 * ------------------------------------------------------------------------------------------------ */

static struct half *find_resumable(struct resumable *resumable, const struct upload_grant *grant, bool unseen)
{
        struct half *half = g_hash_table_lookup(resumable->by_object, grant->uid);

        if (!half || half->state == HALF_MAKING || half->grant.size_bytes != grant->size_bytes ||
            g_strcmp0(half->grant.identity->user, grant->identity->user) != 0)
                return NULL;
        /* The rest of another file would make nonsense of both. */
        if (half->grant.sha256[0] && grant->sha256[0])
                return strcmp(half->grant.sha256, grant->sha256) == 0 ? half : NULL;
        return unseen ? half : NULL;
}

static void answer_url(struct resumable *resumable, struct http_request *request, const struct upload_grant *grant)
{
        struct gateway *gateway = resumable->gateway;
        struct half *half = find_resumable(resumable, grant, http_request_query(request, "resume"));
        g_autofree char *token = upload_grant_seal(grant, gateway->seal);
        g_autofree char *path = g_strconcat(PREFIX "?token=", token, NULL), *url = g_strconcat(gateway->url, path, NULL);
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT);
        char expires[CLOCK_RFC3339_MAX];

        json_set_string(doc, root, "url", url);
        json_set_string(doc, root, "path", path);
        json_set_string(doc, root, "expires", clock_format_rfc3339(grant->expires_us, false, expires));
        json_set_int(doc, root, "size", (int64_t)grant->size_bytes);
        if (half) {
                g_autofree char *half_path = g_strconcat(PREFIX, half->grant.id, NULL);
                g_autofree char *half_url = g_strconcat(gateway->url, half_path, NULL);
                struct json_value *resume = json_ensure_object(doc, root, "resume");

                json_set_string(doc, resume, "url", half_url);
                json_set_string(doc, resume, "path", half_path);
                json_set_int(doc, resume, "offset", (int64_t)half->offset);
        }
        gateway_reply_json(request, 200, root);
}

static const char *fill_grant(struct gateway *gateway, const struct http_request *request, const struct store_object *object,
                              struct upload_grant *grant)
{
        const char *sha256 = json_find_string(object->root, "spec", "dataSource", "upload", "checksum", "sha256", NULL);
        const char *life = http_request_query(request, "life");
        uint64_t seconds = LIMIT_UPLOAD_TOKEN_US / 1000000;

        if (!sha256)
                sha256 = http_request_query(request, "sha256");
        if (tus_parse_number(http_request_query(request, "size"), &grant->size_bytes) < 0 || grant->size_bytes == 0)
                return "size is needed: how many bytes the file has";
        if (sha256 && (strlen(sha256) != 64 || strspn(sha256, "0123456789abcdefABCDEF") != 64))
                return "sha256 must be 64 hexadecimal digits";
        if (life && (tus_parse_number(life, &seconds) < 0 || seconds == 0 || seconds > LIMIT_UPLOAD_TOKEN_US / 1000000))
                return "life is the number of seconds that the token is good for, 1 to 900";
        g_autofree char *lower = sha256 ? g_ascii_strdown(sha256, -1) : NULL;
        g_strlcpy(grant->sha256, lower ?: "", sizeof(grant->sha256));
        grant->expires_us = clock_real_us(gateway->clock) + seconds * 1000000;
        upload_grant_new_id(gateway->random, grant);
        return NULL;
}

static void handle_url(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                       void *userdata)
{
        struct resumable *resumable = userdata;
        struct gateway *gateway = resumable->gateway;
        struct upload_grant grant = {.kind = object->kind};
        const char *words = uploads_why_not(gateway, object);
        int code = 409;

        if (!words) {
                words = fill_grant(gateway, request, object, &grant);
                code = 400;
        }
        if (!words && grant.size_bytes > LIMIT_IMAGE_BYTES) {
                words = "the file is larger than any image may be";
                code = 413;
        }
        if (words) {
                api_reply_status(request, code,
                                 code == 409   ? "Conflict"
                                 : code == 400 ? "BadRequest"
                                               : "RequestEntityTooLarge",
                                 words, NULL);
                return;
        }
        grant.namespace = g_strdup(object->namespace);
        grant.name = g_strdup(object->name);
        grant.uid = g_strdup(object->uid);
        grant.identity = auth_identity_copy(identity);
        struct half *before = g_hash_table_lookup(resumable->by_object, grant.uid);
        g_autofree char *no_room = why_no_room(resumable, &grant, before, &code);
        if (no_room)
                api_reply_status(request, code, code == 403 ? "Forbidden" : "TooManyRequests", no_room, NULL);
        else
                answer_url(resumable, request, &grant);
        upload_grant_clear(&grant);
}

void half_http_init(struct resumable *resumable)
{
        const struct api_route route = {
                .prefix = PREFIX, .anonymous = true, .untold = true, .handle = handle, .userdata = resumable};

        api_add_route(resumable->gateway->api, &route);
        for (size_t i = 0; ingest_kinds[i]; i++) {
                struct api_subresource upload = {.kind = ingest_kinds[i],
                                                 .name = "upload",
                                                 .method = "GET",
                                                 .verb = "create",
                                                 .handle = handle_url,
                                                 .userdata = resumable};
                api_add_subresource(resumable->gateway->api, &upload);
        }
}
