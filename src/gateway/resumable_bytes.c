/* SPDX-License-Identifier: Apache-2.0 */
#include "base/limits.h"
#include "base/log.h"
#include "gateway/resumable.h"

#include <assert.h>
#include <errno.h>

#define CATCH_UP_BYTES (64ull << 20) /* of one job */

static void submit(struct half *half, struct loop_pool *pool, int (*work)(void *userdata), void (*done)(int result, void *userdata))
{
        assert(!half->busy);
        half->busy = true;
        loop_pool_submit(pool, work, done, half);
}

/* Nothing more of the request comes that would count. */
static bool is_over(const struct half *half)
{
        return half->body_ended || half->error || !half->request;
}

/* --- settling: the end of a request
 * ------------------------------------------------------------------------------------------------------------- */

static const struct trouble {
        int error, code;
        const char *reason, *words;
} troubles[] = {
        {-EFBIG, 413, "RequestEntityTooLarge", "the body reaches beyond the size of the upload; nothing of it was taken"},
        {-ENOSPC, 507, "InternalError", "the gateway's disk is full; what has come so far is kept"},
        {0, 500, "InternalError", "the gateway could not write the bytes; ask how far the upload is, and go on from there"},
};

static void refuse_trouble(struct half *half, int error)
{
        const struct trouble *trouble = troubles;

        while (trouble->error && trouble->error != error)
                trouble++;
        if (error != -EFBIG)
                log_error("an upload could not be written", "name", half->grant.name, "error", g_strerror(-error));
        half_refuse(half, half->request, trouble->code, trouble->reason, trouble->words);
}

static int settle_work(void *userdata)
{
        struct half *half = userdata;

        if (!half->begun && half->checked) {
                int r = staged_begin(half->staged, &half->checksum);
                if (r < 0)
                        return r;
                half->begun = true;
        }
        if (!half->begun)
                return 0;
        return staged_settle(half->staged, half->body_ended && !half->error, half->nothing, half->offset < half->grant.size_bytes);
}

static void settle_done(int result, void *userdata)
{
        struct half *half = userdata;
        int error = half->error;

        half->busy = half->receiving = false;
        half->resumable->receiving--;
        buffers_clear(&half->buffers);
        half->offset = staged_offset(half->staged);
        if (result == -ECANCELED)
                return; /* the program ends */
        if (error || result < 0)
                refuse_trouble(half, error ?: result);
        else if (result == STAGED_E_CHECKSUM)
                half_refuse(half, half->request, 460, "BadRequest",
                            "the checksum of the body is another one; nothing of it was taken");
        else if (half->request && half->offset < half->grant.size_bytes)
                half_answer(half, half->request, half->success);
        half_pump(half);
}

/* --- writing
 * ---------------------------------------------------------------------------------------------------------------------------- */

static int write_work(void *userdata)
{
        struct half *half = userdata;
        int r = half->begun ? 0 : staged_begin(half->staged, half->checked ? &half->checksum : NULL);

        half->begun = true;
        return r ?: staged_write(half->staged, half->buffers.writing, half->buffers.writing_len);
}

static void write_done(int result, void *userdata)
{
        struct half *half = userdata;

        half->busy = false;
        if (result < 0 && !half->error)
                half->error = result;
        half_pump(half);
}

/* The end of a request in one go: its client waits. */
static int last_work(void *userdata)
{
        struct half *half = userdata;
        int r = write_work(half);

        if (r < 0 && !half->error)
                half->error = r;
        return settle_work(half);
}

static void report_progress(struct half *half)
{
        struct ingest_target target = half_target(half);
        int percent = (int)((__uint128_t)half->offset * 100 / half->grant.size_bytes);
        uint64_t now = loop_now_us(half->resumable->gateway->loop);

        if (percent < 100 && (percent >= half->last_percent + 5 || transfer_rate_due(&half->rate, now))) {
                half->last_percent = percent;
                transfer_rate_look(&half->rate, now, half->offset);
                ingest_report_progress(half->resumable->gateway, &target, percent, &half->rate);
        }
}

static void pump_bytes(struct half *half)
{
        bool ready = buffers_is_ready(&half->buffers) || (is_over(half) && half->buffers.filling_len > 0);

        if (ready && !half->error) {
                bool last = is_over(half);

                buffers_swap(&half->buffers, last);
                report_progress(half);
                submit(half, half->resumable->pool, last ? last_work : write_work, last ? settle_done : write_done);
                if (half->request && !half->body_ended)
                        http_request_body_pause(half->request, false);
        } else if (is_over(half)) {
                submit(half, half->resumable->pool, settle_work, settle_done);
        }
}

static void on_piece(struct http_request *request, const char *piece, size_t len, void *userdata)
{
        struct half *half = userdata;

        if (!half || half->error)
                return;
        half->moved_us = loop_now_us(half->resumable->gateway->loop);
        half->offset += len;
        if (half->offset > half->grant.size_bytes) {
                half->error = -EFBIG;
                half->nothing = true;
        } else {
                buffers_add(&half->buffers, piece, len);
                if (half->busy && buffers_is_full(&half->buffers))
                        http_request_body_pause(request, true);
        }
        half_pump(half);
}

static void on_end(struct http_request *request, void *userdata)
{
        struct half *half = userdata;

        if (!half)
                return;
        half->body_ended = true;
        half_pump(half);
}

void half_receive(struct half *half, int success)
{
        assert(half && half->request && !half->busy && !half->receiving && half->state == HALF_OPEN);

        half->success = success;
        half->receiving = true;
        half->resumable->receiving++;
        half->begun = half->body_ended = half->nothing = false;
        half->error = 0;
        buffers_init(&half->buffers, half->offset, half->resumable->receiving);
        half->moved_us = loop_now_us(half->resumable->gateway->loop);
        transfer_rate_begin(&half->rate, half->moved_us, half->offset);
        http_request_body_streaming(half->request, on_piece, on_end);
}

/* --- finishing
 * ------------------------------------------------------------------------------------------------------------------------- */

static int catch_up_work(void *userdata)
{
        struct half *half = userdata;

        return staged_catch_up(half->staged, CATCH_UP_BYTES);
}

static void get_stuck(struct half *half, int error)
{
        if (half->state == HALF_FINISHING)
                half_set_state(half, HALF_OPEN);
        half->stuck = true;
        half->offset = staged_offset(half->staged); /* what could not be synced does not count */
        refuse_trouble(half, error);
        half_pump(half);
}

static void catch_up_done(int result, void *userdata)
{
        struct half *half = userdata;

        half->busy = false;
        if (result == -ECANCELED)
                return;
        if (result < 0)
                get_stuck(half, result);
        else
                half_pump(half);
}

static int rest_work(void *userdata)
{
        struct half *half = userdata;

        return staged_sync(half->staged);
}

void half_rest(struct half *half)
{
        assert(half && !half->busy && !half->receiving);
        if (half->state == HALF_OPEN && !staged_is_synced(half->staged))
                submit(half, half->resumable->pool, rest_work, catch_up_done);
        else
                half_pump(half);
}

static uint64_t room(void *userdata)
{
        const struct half *half = userdata;

        return half->room;
}

/* Whoever ends the program does not wait for an image to be unpacked: it begins anew at the next start. */
static bool go_on(void *userdata)
{
        const struct half *half = userdata;

        return !half->resumable->stopping;
}

static int finish_work(void *userdata)
{
        struct half *half = userdata;
        const struct gateway *gateway = half->resumable->gateway;
        const struct blob_bounds bounds = {.room = room, .go_on = go_on, .unpack_us = gateway->times->unpack_us, .userdata = half};
        struct blob_intake *intake = NULL;
        const char *expected = half->grant.sha256[0] ? half->grant.sha256 : NULL;

        int r = staged_sync(half->staged);
        if (r == 0)
                r = staged_digest(half->staged, half->digest);
        if (r == 0)
                r = blob_intake_adopt(gateway->blobs, staged_path(half->staged), half->digest, half->grant.size_bytes, expected,
                                      &intake);
        if (r == 0) {
                blob_intake_bound(intake, &bounds);
                r = blob_intake_finish(intake, &half->facts, &half->fault);
        }
        blob_intake_free(intake);
        return r;
}

/* The library holds the file, and the object says so, durably. */
static void told_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct half *half = userdata;

        half->busy = false;
        if (result != 0) {
                half_set_state(half, HALF_OPEN);
                half->stuck = true;
                half_refuse(half, half->request, 503, "ServiceUnavailable",
                            "what came of the upload could not be noted; try again");
                half_pump(half);
                return;
        }
        half_answer(half, half->request, half->success);
        if (!half->resumable->stopping)
                half_end_now(half, &half_done);
}

static void refuse_image(struct half *half)
{
        struct ingest_target target = half_target(half);

        ingest_report_fault(half->resumable->gateway, &target, half->fault.reason, half->fault.message);
        half_refuse_image(half, half->request);
        half_end_now(half, &half_refused);
}

static void finish_done(int result, void *userdata)
{
        struct half *half = userdata;
        struct gateway *gateway = half->resumable->gateway;
        struct ingest_target target = half_target(half);

        half->busy = false;
        if (result == -ECANCELED)
                return;
        if (result > 0) {
                refuse_image(half);
                return;
        }
        if (result < 0) {
                get_stuck(half, result);
                return;
        }
        half->busy = true;
        int r = ingest_report_facts(gateway, &target, &half->facts, told_done, half);
        if (r == 0)
                return;
        half->busy = false;
        library_release(gateway, half->facts.digest);
        if (r == -EDQUOT)
                half_refuse(half, half->request, 403, "Forbidden",
                            "the file is larger than what the project's quota leaves of images.storage");
        else
                half_refuse(half, half->request, 409, "Conflict", "the image was deleted or replaced meanwhile");
        half_end_now(half, r == -EDQUOT ? &half_refused : &half_orphaned);
}

void half_finish(struct half *half)
{
        assert(half && half->state == HALF_OPEN && !half->busy && half->offset == half->grant.size_bytes);

        struct ingest_target target = half_target(half);
        const char *quota;

        half->room = ingest_room(half->resumable->gateway, &target, &quota);
        half->stuck = false;
        half_set_state(half, HALF_FINISHING);
        half_pump(half);
}

/* --- what is next
 * ---------------------------------------------------------------------------------------------------------------------- */

void half_pump(struct half *half)
{
        if (half->busy || half->resumable->stopping || half->state == HALF_MAKING || half->state == HALF_ENDED)
                return;
        if (half->receiving)
                pump_bytes(half);
        else if (half->state == HALF_FINISHING && staged_is_hashed(half->staged))
                submit(half, half->resumable->gateway->pool, finish_work, finish_done);
        else if (half->state == HALF_FINISHING)
                submit(half, half->resumable->pool, catch_up_work, catch_up_done);
        else if (half->offset == half->grant.size_bytes && !half->stuck)
                half_finish(half);
        else if (half->waiting)
                half_serve_waiting(half);
        else if (!half->request && !half->stuck && !staged_is_hashed(half->staged))
                submit(half, half->resumable->pool, catch_up_work, catch_up_done);
}
