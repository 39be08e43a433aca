/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/download.h"

#include "base/error.h"
#include "base/limits.h"
#include "generated/reasons.h"
#include "http/http.h"

#include <glib.h>
#include <string.h>

#define SLICE_US       100000
#define VALIDATOR_MAX  256
#define CA_BUNDLE_MAX  (1u << 20)
#define TRANSIENT_LAST 599

struct run {
        const struct download *download;
        struct blob_fault *fault;
        char *ca_pem;
        gint64 deadline;
        struct blob_intake *intake;
        uint64_t total;                /* of the file, as the server tells; 0: it does not */
        char validator[VALIDATOR_MAX]; /* "" when the server gave none that is good for a range */
        bool no_ranges;                /* it lied about one */
        char refused[64];              /* the address, */
        enum reach_verdict verdict;    /* and why */
        /* of one attempt */
        bool answered;
        uint64_t asked_from; /* 0: for all of it */
        int trouble;         /* why its answer was not taken, or not to its end: -errno */
};

static int fail(struct run *run, const char *reason, const char *format, ...) G_GNUC_PRINTF(3, 4);
static int fail(struct run *run, const char *reason, const char *format, ...)
{
        va_list args;

        run->fault->reason = reason;
        va_start(args, format);
        g_vsnprintf(run->fault->message, sizeof(run->fault->message), format, args);
        va_end(args);
        return 1;
}

static bool is_wanted(const struct run *run)
{
        const struct blob_bounds *bounds = run->download->bounds;

        return !bounds->go_on || bounds->go_on(bounds->userdata);
}

static void tell_intake(const struct run *run)
{
        const struct download *download = run->download;

        if (download->on_intake)
                download->on_intake(run->intake, run->total, download->userdata);
}

static int begin_anew(struct run *run)
{
        struct blob_intake *old = run->intake;

        run->intake = NULL;
        run->total = 0;
        tell_intake(run);
        blob_intake_free(old);
        int r = blob_intake_new(run->download->blobs, run->download->sha256, &run->intake);
        if (r == 0)
                blob_intake_bound(run->intake, run->download->bounds);
        return r;
}

/* --- the answer --- */

static bool parse_number(const char **text, uint64_t *ret_number)
{
        char *end;

        if (!g_ascii_isdigit(**text))
                return false;
        errno = 0;
        *ret_number = g_ascii_strtoull(*text, &end, 10);
        *text = end;
        return errno == 0;
}

int download_parse_range(const char *text, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total)
{
        uint64_t first, last, total = 0;

        assert(text && ret_first && ret_last && ret_total);
        if (g_ascii_strncasecmp(text, "bytes ", 6) != 0)
                return -EINVAL;
        text += 6;
        if (!parse_number(&text, &first) || *text++ != '-' || !parse_number(&text, &last) || *text++ != '/')
                return -EINVAL;
        if (strcmp(text, "*") == 0)
                text++;
        else if (!parse_number(&text, &total) || last >= total)
                return -EINVAL;
        if (*text || last < first)
                return -EINVAL;
        *ret_first = first;
        *ret_last = last;
        *ret_total = total;
        return 0;
}

/*
 * What tells that a file is still the same one (RFC 9110, 8.8): a strong entity tag. A date has the resolution of a second, so it
 * serves only where the checksum of the whole is known.
 */
static void remember_validator(struct run *run, struct http_call *call)
{
        const char *tag = http_call_header(call, "ETag"), *date = http_call_header(call, "Last-Modified");
        const char *ranges = http_call_header(call, "Accept-Ranges");
        const char *validator = tag && tag[0] == '"' ? tag : run->download->sha256 ? date : NULL;

        run->validator[0] = '\0';
        if (validator && strlen(validator) < VALIDATOR_MAX && (!ranges || g_ascii_strcasecmp(ranges, "none") != 0))
                g_strlcpy(run->validator, validator, sizeof(run->validator));
}

static int take_whole(struct run *run, struct http_call *call)
{
        const char *length = http_call_header(call, "Content-Length");
        int r = run->intake && blob_intake_bytes(run->intake) == 0 ? 0 : begin_anew(run);

        if (r < 0)
                return r;
        if (length)
                (void)parse_number(&length, &run->total);
        else if (!http_call_header(call, "Transfer-Encoding") && !run->download->sha256)
                return -EBADMSG; /* nobody would see where it was cut */
        remember_validator(run, call);
        tell_intake(run);
        return 0;
}

/* A part is taken only where it begins with the very next byte of a file of the same length. */
static int take_part(struct run *run, struct http_call *call)
{
        const char *text = http_call_header(call, "Content-Range");
        uint64_t first, last, total;

        if (run->asked_from == 0 || !text || download_parse_range(text, &first, &last, &total) < 0 || first != run->asked_from ||
            (run->total && total && total != run->total)) {
                run->no_ranges = true;
                return -EPROTO;
        }
        return 0;
}

static int judge_answer(struct run *run, struct http_call *call)
{
        switch (http_call_status(call)) {
        case 200:
                return take_whole(run, call);
        case 206:
                return take_part(run, call);
        default:
                return -EREMOTEIO;
        }
}

static bool on_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct run *run = userdata;
        const struct blob_bounds *bounds = run->download->bounds;

        if (!run->answered) {
                run->answered = true;
                run->trouble = judge_answer(run, call);
                if (run->trouble == 0 && bounds->room && run->total > bounds->room(bounds->userdata))
                        run->trouble = -EDQUOT; /* not a byte more */
        }
        if (run->trouble == 0)
                run->trouble = blob_intake_write(run->intake, piece, len);
        return run->trouble == 0;
}

static bool go_on(struct http_call *call, void *userdata)
{
        return is_wanted(userdata);
}

static bool allow_address(const char *ip, void *userdata)
{
        struct run *run = userdata;
        enum reach_verdict verdict = reach_judge(run->download->reach, ip);

        if (verdict != REACH_ALLOWED) {
                run->verdict = verdict;
                g_strlcpy(run->refused, ip, sizeof(run->refused));
        }
        return verdict == REACH_ALLOWED;
}

/* --- one attempt --- */

enum next { NEXT_DONE, NEXT_FAILED, NEXT_AGAIN };

/* What writing the bytes says; it would say the same again. */
static int judge_trouble(struct run *run)
{
        switch (run->trouble) {
        case -ENOSPC:
                return fail(run, REASON_DISK_FULL, "the gateway's disk is full");
        case -EFBIG:
                return fail(run, REASON_IMAGE_TOO_LARGE, "the file is larger than an image may be");
        case -EDQUOT:
                return fail(run, REASON_QUOTA_EXCEEDED,
                            "exceeded quota: the file is larger than what the project has left of images.storage");
        case -EBADMSG:
                return fail(run, REASON_IMAGE_FETCH_FAILED,
                            "the server does not tell how long the file is; give its SHA-256, so that a cut one is seen");
        default:
                return run->trouble;
        }
}

static enum next judge_transport(struct run *run, int r, const char *words)
{
        static const struct {
                int r;
                const char *reason;
        } for_good[] = {
                {-EINVAL, REASON_IMAGE_URL_REFUSED},
                {-EKEYREJECTED, REASON_IMAGE_SERVER_UNTRUSTED},
                {-ELOOP, REASON_IMAGE_FETCH_FAILED},
                {-EMSGSIZE, REASON_IMAGE_FETCH_FAILED},
        };

        if (r == -EACCES) {
                fail(run, REASON_IMAGE_URL_REFUSED, "connections to %s are not allowed: %s", run->refused,
                     reach_words(run->verdict));
                return NEXT_FAILED;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(for_good); i++) {
                if (r == for_good[i].r) {
                        fail(run, for_good[i].reason, "the download failed: %s", words ?: g_strerror(-r));
                        return NEXT_FAILED;
                }
        }
        fail(run, REASON_IMAGE_FETCH_FAILED, "the download failed: %s", words ?: g_strerror(-r));
        return NEXT_AGAIN;
}

static enum next judge_status(struct run *run, int status)
{
        if (status == 200 || status == 206) {
                if (run->answered || !run->asked_from)
                        return NEXT_DONE;
                run->no_ranges = true;
                fail(run, REASON_IMAGE_FETCH_FAILED, "the server sent nothing of the part that it was asked for");
                return NEXT_AGAIN;
        }
        if (status == 416 && run->asked_from) { /* the file has become shorter */
                run->no_ranges = true;
                fail(run, REASON_IMAGE_FETCH_FAILED, "the file has changed while it was fetched");
                return NEXT_AGAIN;
        }
        fail(run, REASON_IMAGE_FETCH_FAILED, "the server answered with status %d", status);
        return status == 408 || status == 429 || (status >= 500 && status <= TRANSIENT_LAST) ? NEXT_AGAIN : NEXT_FAILED;
}

/* Where the file breaks off without the transport's saying so. */
static enum next judge_length(struct run *run)
{
        uint64_t bytes = run->intake ? blob_intake_bytes(run->intake) : 0;

        if (!run->total || bytes == run->total)
                return NEXT_DONE;
        if (bytes > run->total)
                run->no_ranges = true;
        fail(run, REASON_IMAGE_FETCH_FAILED, "the server sent %" G_GUINT64_FORMAT " bytes of %" G_GUINT64_FORMAT, bytes,
             run->total);
        return NEXT_AGAIN;
}

static int ask(struct run *run, uint64_t left_us, int *ret_status, char **ret_words)
{
        const struct download *download = run->download;
        g_autofree char *range = g_strdup_printf("Range: bytes=%" G_GUINT64_FORMAT "-", run->asked_from);
        g_autofree char *same = g_strdup_printf("If-Range: %s", run->validator);
        const char *const headers[] = {range, same, NULL};
        struct http_client_options client = {.user_agent = "gabbro-gateway/" GABBRO_VERSION,
                                             .ca_pem = run->ca_pem,
                                             .allow_address = allow_address,
                                             .userdata = run};
        struct http_call_options call = {.url = download->url,
                                         .headers = run->asked_from ? headers : NULL,
                                         .timeout_us = left_us,
                                         .stall_timeout_us = download->stall_us,
                                         .stall_rate = LIMIT_DOWNLOAD_RATE,
                                         .max_redirects = LIMIT_DOWNLOAD_REDIRECTS,
                                         .on_piece = on_piece,
                                         .go_on = go_on};

        return http_fetch(&client, &call, run, ret_status, NULL, ret_words);
}

static enum next attempt(struct run *run, uint64_t left_us, int *ret_lost)
{
        g_autofree char *words = NULL;
        int status = 0, r = 0;

        run->answered = false;
        run->trouble = 0;
        if (!run->intake || !run->validator[0] || run->no_ranges)
                r = begin_anew(run);
        if (r == 0) {
                run->asked_from = blob_intake_bytes(run->intake);
                r = ask(run, left_us, &status, &words);
        } else {
                run->trouble = r;
        }
        if (run->trouble == -EPROTO) {
                fail(run, REASON_IMAGE_FETCH_FAILED, "the server sent another part of the file than it was asked for");
                return NEXT_AGAIN;
        }
        if (run->trouble == -EREMOTEIO)
                return judge_status(run, status ?: 500);
        if (run->trouble < 0) {
                *ret_lost = judge_trouble(run);
                return NEXT_FAILED;
        }
        if (r < 0)
                return judge_transport(run, r, words);
        enum next next = judge_status(run, status);
        return next == NEXT_DONE ? judge_length(run) : next;
}

/* A server that was just restarted is given a moment, in slices: nobody waits for this thread in vain. */
static void pause_before(const struct run *run, unsigned fruitless)
{
        gint64 end = g_get_monotonic_time() + (gint64)(run->download->pause_us << (fruitless - 1));

        while (is_wanted(run) && g_get_monotonic_time() < end)
                g_usleep(SLICE_US);
}

static int fetch(struct run *run)
{
        uint64_t most = 0;
        int lost = 1; /* with the words of the last attempt */

        for (unsigned fruitless = 0; fruitless < LIMIT_DOWNLOAD_ATTEMPTS && is_wanted(run);) {
                gint64 left_us = run->deadline - g_get_monotonic_time();

                if (left_us <= 0)
                        return fail(run, REASON_IMAGE_FETCH_FAILED, "the download did not end in time");
                enum next next = attempt(run, (uint64_t)left_us, &lost);
                if (next == NEXT_DONE)
                        return 0;
                if (next == NEXT_FAILED)
                        return lost;
                uint64_t bytes = run->intake ? blob_intake_bytes(run->intake) : 0;
                fruitless = bytes >= most + LIMIT_DOWNLOAD_STEP_BYTES ? 1 : fruitless + 1;
                most = MAX(most, bytes);
                if (fruitless < LIMIT_DOWNLOAD_ATTEMPTS)
                        pause_before(run, fruitless);
        }
        return is_wanted(run) ? 1 : -ECANCELED;
}

static int read_bundle(struct run *run)
{
        const char *bundle = run->download->ca_bundle;
        gsize len = 0;

        if (!bundle || !*bundle)
                return 0;
        g_autofree guchar *pem = g_base64_decode(bundle, &len);
        if (len == 0 || len > CA_BUNDLE_MAX || memchr(pem, '\0', len) ||
            !g_strstr_len((const char *)pem, (gssize)len, "-----BEGIN"))
                return fail(run, REASON_IMAGE_SERVER_UNTRUSTED, "caBundle holds no certificate in PEM");
        run->ca_pem = g_strndup((const char *)pem, len);
        return 0;
}

int download_run(const struct download *download, struct blob_facts *ret_facts, struct blob_fault *reterr_fault)
{
        assert(download && download->blobs && download->url && download->reach && download->bounds && ret_facts && reterr_fault);

        struct run run = {
                .download = download, .fault = reterr_fault, .deadline = g_get_monotonic_time() + (gint64)download->time_us};
        int r = read_bundle(&run);

        if (r == 0)
                r = fetch(&run);
        if (r == 0) {
                r = blob_intake_finish(run.intake, ret_facts, reterr_fault);
                run.trouble = r < 0 ? r : 0;
                if (r < 0)
                        r = judge_trouble(&run);
        }
        struct blob_intake *intake = run.intake;
        run.intake = NULL;
        tell_intake(&run);
        blob_intake_free(intake);
        g_free(run.ca_pem);
        return r;
}
