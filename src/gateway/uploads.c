/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "gateway/buffers.h"
#include "gateway/ingest.h"
#include "generated/reasons.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

/*
 * An upload alternates between two buffers: the loop fills one while a pool thread hashes and writes the other. While both are full
 * the socket is not read, so a fast client waits and memory stays flat.
 */

#define UPLOADS_MAX 32

struct upload {
        struct gateway *gateway;
        struct http_request *request; /* NULL: the client is gone */
        struct ingest_target target;
        struct blob_intake *intake;
        struct buffers buffers;
        int64_t expected_bytes; /* -1: not told */
        int last_percent;
        struct transfer_rate rate;
        bool busy, ended, over_quota;
        bool told;          /* the object says what came of it */
        atomic_ullong room; /* what quotas leave for it */
        int write_error;
        struct blob_facts facts;
        struct blob_fault fault;
};

struct uploads {
        GHashTable *by_uid; /* struct upload by uid of its target: one at a time */
        atomic_bool stopping;
};

/* One that broke off leaves nothing: its object waits for a file as before. */
static void upload_free(struct upload *upload)
{
        if (!upload->told && upload->last_percent > 0 && !atomic_load(&upload->gateway->uploads->stopping))
                ingest_report_none(upload->gateway, &upload->target);
        g_hash_table_remove(upload->gateway->uploads->by_uid, upload->target.uid);
        blob_intake_free(upload->intake);
        buffers_clear(&upload->buffers);
        ingest_target_clear(&upload->target);
        g_free(upload);
}

static void upload_pump(struct upload *upload);

static void look_at_room(struct upload *upload)
{
        const char *quota;

        atomic_store(&upload->room, ingest_room(upload->gateway, &upload->target, &quota));
}

/* --- pool jobs
 * -------------------------------------------------------------------------------------------------------------------------- */

static uint64_t room(void *userdata)
{
        struct upload *upload = userdata;

        return atomic_load(&upload->room);
}

static bool go_on(void *userdata)
{
        struct upload *upload = userdata;

        return !atomic_load(&upload->gateway->uploads->stopping);
}

static int write_work(void *userdata)
{
        struct upload *upload = userdata;

        return blob_intake_write(upload->intake, upload->buffers.writing, upload->buffers.writing_len);
}

static void write_done(int result, void *userdata)
{
        struct upload *upload = userdata;

        upload->busy = false;
        if (result < 0)
                upload->write_error = result;
        upload_pump(upload);
}

static int finish_work(void *userdata)
{
        struct upload *upload = userdata;

        return blob_intake_finish(upload->intake, &upload->facts, &upload->fault);
}

static void answer_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct upload *upload = userdata;

        upload->told = result == 0;
        if (upload->request && result == 0 && n_objects > 0)
                api_reply_object(upload->request, 200, objects[0]);
        else if (upload->request)
                gateway_reply_lost(upload->request, result);
        upload->busy = false;
        if (!upload->request)
                upload_free(upload);
}

static void refuse(struct upload *upload, int code, const char *reason, const char *message)
{
        if (upload->request)
                api_reply_status(upload->request, code, reason, message, NULL);
        else
                upload_free(upload);
}

static void refuse_for_quota(struct upload *upload)
{
        g_autofree char *words = ingest_no_room(upload->gateway, &upload->target);

        if (!upload->over_quota)
                ingest_report_fault(upload->gateway, &upload->target, REASON_QUOTA_EXCEEDED, words);
        upload->over_quota = upload->told = true;
        refuse(upload, 403, "Forbidden", words);
}

static void finish_done(int result, void *userdata)
{
        struct upload *upload = userdata;

        upload->busy = false;
        if (result == -EDQUOT) {
                refuse_for_quota(upload);
                return;
        }
        if (result > 0) {
                g_autoptr(schema_faults) faults = schema_faults_new();
                schema_faults_add(faults, "body", upload->fault.reason, "%s", upload->fault.message);
                ingest_report_fault(upload->gateway, &upload->target, upload->fault.reason, upload->fault.message);
                upload->told = true;
                if (upload->request)
                        api_reply_status(upload->request, 422, "Invalid", upload->fault.message, faults);
                else
                        upload_free(upload);
                return;
        }
        if (result < 0) {
                log_error("upload could not be stored", "name", upload->target.name, "error", g_strerror(-result));
                refuse(upload, result == -ENOSPC ? 507 : 500, "InternalError",
                       result == -ENOSPC ? "the gateway's disk is full" : "the image could not be stored");
                return;
        }
        upload->busy = true;
        int r = ingest_report_facts(upload->gateway, &upload->target, &upload->facts, answer_done, upload);
        if (r == -EDQUOT) {
                upload->busy = false;
                upload->told = true;
                library_release(upload->gateway, upload->facts.digest);
                refuse(upload, 403, "Forbidden", "the file is larger than what the project's quota leaves of images.storage");
        } else if (r) {
                upload->busy = false;
                library_release(upload->gateway, upload->facts.digest);
                refuse(upload, 409, "Conflict", "the image was deleted or replaced meanwhile");
        }
}

/* --- the loop's side
 * ---------------------------------------------------------------------------------------------------------------------- */

static void report_progress(struct upload *upload)
{
        if (upload->expected_bytes <= 0)
                return;
        uint64_t bytes = blob_intake_bytes(upload->intake), now = loop_now_us(upload->gateway->loop);
        int percent = (int)(bytes * 100 / (uint64_t)upload->expected_bytes);
        if (percent < 100 && (percent >= upload->last_percent + 5 || transfer_rate_due(&upload->rate, now))) {
                upload->last_percent = percent;
                transfer_rate_look(&upload->rate, now, bytes);
                ingest_report_progress(upload->gateway, &upload->target, percent, &upload->rate);
        }
}

/* What is next, whenever a piece came, a job ended or the client left. */
static void upload_pump(struct upload *upload)
{
        if (upload->busy)
                return;
        look_at_room(upload);
        if (!upload->request && !(upload->ended && upload->buffers.filling_len == 0 && !upload->write_error)) {
                upload_free(upload);
                return;
        }
        if (upload->write_error == -EDQUOT) {
                refuse_for_quota(upload);
                return;
        }
        if (upload->write_error) {
                bool full = upload->write_error == -ENOSPC;
                refuse(upload,
                       upload->write_error == -EFBIG ? 413
                       : full                        ? 507
                                                     : 500,
                       "InternalError", full ? "the gateway's disk is full" : "the image could not be written");
                return;
        }
        if (buffers_is_ready(&upload->buffers) || (upload->ended && upload->buffers.filling_len > 0)) {
                buffers_swap(&upload->buffers, upload->ended);
                upload->busy = true;
                if (!upload->ended)
                        http_request_body_pause(upload->request, false);
                loop_pool_submit(upload->gateway->pool, write_work, write_done, upload);
                report_progress(upload);
        } else if (upload->ended) {
                upload->busy = true;
                loop_pool_submit(upload->gateway->pool, finish_work, finish_done, upload);
        }
}

static void on_piece(struct http_request *request, const char *piece, size_t len, void *userdata)
{
        struct upload *upload = userdata;

        buffers_add(&upload->buffers, piece, len);
        if (upload->busy && buffers_is_full(&upload->buffers))
                http_request_body_pause(request, true);
        upload_pump(upload);
}

static void on_end(struct http_request *request, void *userdata)
{
        struct upload *upload = userdata;

        upload->ended = true;
        upload_pump(upload);
}

static void on_gone(struct http_request *request, void *userdata)
{
        struct upload *upload = userdata;

        upload->request = NULL;
        if (!upload->busy)
                upload_free(upload);
}

const char *uploads_why_not(const struct gateway *gateway, const struct store_object *object)
{
        const char *type = json_find_string(object->root, "spec", "dataSource", "type", NULL);

        if (g_strcmp0(type, "Upload") != 0)
                return "the source of this object is not Upload";
        if (json_find_string(object->root, "status", "ingest", "digest", NULL))
                return "the content has been uploaded already";
        if (json_find(object->root, "metadata", "deletionTimestamp", NULL))
                return "the object is being deleted";
        if (g_hash_table_contains(gateway->uploads->by_uid, object->uid))
                return "another upload for this object is under way";
        return NULL;
}

static void handle_upload(struct http_request *request, const struct auth_identity *identity, const struct store_object *object,
                          void *userdata)
{
        struct gateway *gateway = userdata;
        const char *sha256 = http_request_query(request, "sha256");
        const char *refusal = uploads_why_not(gateway, object);

        if (!refusal && resumable_is_busy(gateway, object->uid))
                refusal = "another upload for this object is under way";
        if (!sha256)
                sha256 = json_find_string(object->root, "spec", "dataSource", "upload", "checksum", "sha256", NULL);
        if (refusal) {
                api_reply_status(request, 409, "Conflict", refusal, NULL);
                return;
        }
        if (sha256 && (strlen(sha256) != 64 || strspn(sha256, "0123456789abcdefABCDEF") != 64)) {
                api_reply_status(request, 400, "BadRequest", "sha256 must be 64 hexadecimal digits", NULL);
                return;
        }
        if (g_hash_table_size(gateway->uploads->by_uid) >= UPLOADS_MAX) {
                api_reply_status(request, 429, "TooManyRequests", "too many uploads are under way", NULL);
                return;
        }
        struct ingest_target target = {.kind = object->kind, .namespace = (char *)object->namespace};
        g_autofree char *over = ingest_over_quota(gateway, &target, (uint64_t)MAX(http_request_content_length(request), 0));
        if (over) {
                api_reply_status(request, 403, "Forbidden", over, NULL);
                return;
        }
        struct blob_intake *intake = NULL;
        if (blob_intake_new(gateway->blobs, sha256, &intake) < 0) {
                api_reply_status(request, 500, "InternalError", "the image folder cannot be written", NULL);
                return;
        }
        struct upload *upload = g_new0(struct upload, 1);
        upload->gateway = gateway;
        upload->request = request;
        upload->intake = intake;
        buffers_init(&upload->buffers, 0, g_hash_table_size(gateway->uploads->by_uid) + 1);
        upload->expected_bytes = http_request_content_length(request);
        ingest_target_set(&upload->target, object);
        transfer_rate_begin(&upload->rate, loop_now_us(gateway->loop), 0);
        look_at_room(upload);
        blob_intake_bound(
                intake,
                &(struct blob_bounds){.room = room, .go_on = go_on, .unpack_us = gateway->times->unpack_us, .userdata = upload});
        g_hash_table_insert(gateway->uploads->by_uid, upload->target.uid, upload);
        http_request_set_userdata(request, upload);
        http_request_on_gone(request, on_gone);
        http_request_body_streaming(request, on_piece, on_end);
}

void uploads_init(struct gateway *gateway)
{
        static const char *const methods[] = {"PUT", "POST"};

        gateway->uploads = g_new0(struct uploads, 1);
        gateway->uploads->by_uid = g_hash_table_new(g_str_hash, g_str_equal);
        for (size_t i = 0; ingest_kinds[i]; i++) {
                for (size_t m = 0; m < G_N_ELEMENTS(methods); m++) {
                        struct api_subresource upload = {.kind = ingest_kinds[i],
                                                         .name = "upload",
                                                         .method = methods[m],
                                                         .verb = "create",
                                                         .handle = handle_upload,
                                                         .userdata = gateway};
                        api_add_subresource(gateway->api, &upload);
                }
        }
}

/* --- what a kill broke off
 * ------------------------------------------------------------------------------------------------------------------ */

static bool collect_broken(const struct store_object *object, void *userdata)
{
        const struct json_value *ingest = json_find(object->root, "status", "ingest", NULL);

        if (ingest && !json_get(ingest, "digest") && !json_get(ingest, "error") &&
            g_strcmp0(json_find_string(object->root, "spec", "dataSource", "type", NULL), "Upload") == 0) {
                struct ingest_target *target = g_new0(struct ingest_target, 1);

                ingest_target_set(target, object);
                g_ptr_array_add(userdata, target);
        }
        return true;
}

static void free_target(void *data)
{
        ingest_target_clear(data);
        g_free(data);
}

void uploads_start(struct gateway *gateway)
{
        g_autoptr(GPtrArray) targets = g_ptr_array_new_with_free_func(free_target);

        assert(gateway);
        for (size_t i = 0; ingest_kinds[i]; i++)
                store_list(gateway->store, ingest_kinds[i], NULL, NULL, collect_broken, targets);
        for (guint i = 0; i < targets->len; i++) {
                const struct ingest_target *target = targets->pdata[i];

                if (!resumable_has(gateway, target->uid) && !g_hash_table_contains(gateway->uploads->by_uid, target->uid))
                        ingest_report_none(gateway, target);
        }
}

void uploads_stop(struct uploads *uploads)
{
        if (uploads)
                atomic_store(&uploads->stopping, true);
}

struct uploads *uploads_free(struct uploads *uploads)
{
        if (!uploads)
                return NULL;
        g_hash_table_unref(uploads->by_uid);
        g_free(uploads);
        return NULL;
}
