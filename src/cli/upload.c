/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/upload.h"

#include "base/clock.h"
#include "cli/client.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define STALL_US     60000000u
#define PATIENCE_US  120000000u /* without any progress */
#define PAUSE_US     250000u    /* the first one; each is twice the one before, up to ... */
#define PAUSE_MAX_US 4000000u
#define TUS          "Tus-Resumable: 1.0.0"

struct upload {
        struct cli *cli;
        const struct upload_file *file;
        struct cli_bar bar;
        char *path; /* of the half upload at the gateway; NULL: not known */
        uint64_t offset;
        bool known;                  /* offset is what the gateway says */
        uint64_t furthest, moved_us; /* the furthest that it ever was, and when it came there */
        uint64_t pause_us;           /* the last one without progress since */
        bool reached;                /* the gateway has answered */
        char *answer_location;       /* of the last answer */
        bool has_offset;
        uint64_t answer_offset;
};

enum step {
        STEP_ON,   /* go on */
        STEP_DONE, /* the gateway has it all */
        STEP_LOST, /* no answer, or one that says to come again */
        STEP_FAIL, /* told already */
};

/* --- one request
 * --------------------------------------------------------------------------------------------------------------------------- */

static void on_answer(struct http_call *call, void *userdata)
{
        struct upload *upload = userdata;
        const char *offset = http_call_header(call, "Upload-Offset"), *location = http_call_header(call, "Location");

        g_free(upload->answer_location);
        upload->answer_location = g_strdup(location);
        upload->has_offset = offset && g_ascii_string_to_unsigned(offset, 10, 0, INT64_MAX, &upload->answer_offset, NULL);
}

static void on_sent(struct http_call *call, uint64_t sent, void *userdata)
{
        struct upload *upload = userdata;

        cli_bar_show(&upload->bar, upload->offset + sent, upload->file->size);
}

/* CLI_OK and the answer; or -errno of http_fetch() and words. */
static int ask(struct upload *upload, const char *method, const char *path, const char *const *more, bool bytes,
               struct cli_reply *ret_reply, char **reterr_words)
{
        struct http_client_options client = client_options(upload->cli);
        g_autofree char *url = g_strconcat(upload->cli->server, path, NULL);
        g_autoptr(GStrvBuilder) builder = g_strv_builder_new();

        g_strv_builder_add(builder, TUS);
        for (; *more; more++)
                g_strv_builder_add(builder, *more);
        g_auto(GStrv) headers = g_strv_builder_end(builder);
        struct http_call_options call = {
                .method = method,
                .url = url,
                .headers = (const char *const *)headers,
                .body_fd = upload->file->fd,
                .body_fd_set = bytes,
                .body_len = bytes ? upload->file->size - upload->offset : 0,
                .on_sent = on_sent,
                .on_answer = on_answer,
                .stall_timeout_us = STALL_US,
        };
        *ret_reply = (struct cli_reply){};
        int r = http_fetch(&client, &call, upload, &ret_reply->status, &ret_reply->text, reterr_words);
        if (r == 0 && ret_reply->text && ret_reply->text->len > 0 &&
            json_parse(ret_reply->text->str, ret_reply->text->len, &ret_reply->doc, NULL) != 0)
                ret_reply->doc = NULL;
        return r;
}

/* What an answer other than the wanted one means. */
static enum step judge(struct upload *upload, struct cli_reply *reply)
{
        static const int again[] = {408, 409, 423, 429};

        upload->known = false;
        for (size_t i = 0; i < G_N_ELEMENTS(again); i++)
                if (reply->status == again[i])
                        return STEP_LOST;
        if (upload->path && (reply->status == 404 || reply->status == 410)) {
                g_clear_pointer(&upload->path, g_free); /* then from the beginning */
                return STEP_LOST;
        }
        if (reply->status / 100 == 5)
                return STEP_LOST;
        cli_bar_end(&upload->bar);
        cli_tell_status(reply);
        return STEP_FAIL;
}

/* --- the steps
 * ----------------------------------------------------------------------------------------------------------------------------- */

static enum step create(struct upload *upload, const char *path, struct cli_reply *reply, char **reterr_words, int *ret_r)
{
        g_autofree char *length = g_strdup_printf("Upload-Length: %" G_GUINT64_FORMAT, upload->file->size);

        *ret_r = ask(upload, "POST", path, (const char *const[]){length, NULL}, false, reply, reterr_words);
        if (*ret_r < 0)
                return STEP_LOST;
        if (reply->status == 409) {
                cli_tell_status(reply);
                return STEP_FAIL;
        }
        if (reply->status != 201 || !upload->answer_location)
                return judge(upload, reply);
        upload->path = g_steal_pointer(&upload->answer_location);
        upload->offset = 0;
        upload->known = true;
        return STEP_ON;
}

/* Where the bytes go: what this file began already, or a new upload. */
static enum step find(struct upload *upload, struct cli_reply *reply, char **reterr_words, int *ret_r)
{
        const struct upload_file *file = upload->file;
        g_autofree char *path =
                g_strdup_printf("%s/upload?size=%" G_GUINT64_FORMAT "%s%s%s", file->object, file->size,
                                file->sha256 ? "&sha256=" : "", file->sha256 ?: "", file->resume ? "&resume=1" : "");
        g_auto(GStrv) headers = client_headers(upload->cli, NULL, NULL, NULL);
        int64_t offset = 0;

        *ret_r = ask(upload, "GET", path, (const char *const *)headers, false, reply, reterr_words);
        if (*ret_r < 0)
                return STEP_LOST;
        const struct json_value *root = reply->doc ? json_root_const(reply->doc) : NULL;
        const char *fresh = json_find_string(root, "path", NULL), *begun = json_find_string(root, "resume", "path", NULL);
        if (reply->status == 409) {
                cli_tell_status(reply);
                return STEP_FAIL;
        }
        if (reply->status != 200 || !fresh)
                return judge(upload, reply);
        if (begun && json_int64(json_find(root, "resume", "offset", NULL), &offset) == 0) {
                upload->path = g_strdup(begun);
                if (offset > 0)
                        cli_note("Going on with the upload that broke off at %d %%.",
                                 (int)((__int128_t)offset * 100 / (int64_t)file->size));
                return STEP_ON;
        }
        g_autofree char *target = g_strdup(fresh);
        cli_reply_clear(reply);
        return create(upload, target, reply, reterr_words, ret_r);
}

static enum step look(struct upload *upload, struct cli_reply *reply, char **reterr_words, int *ret_r)
{
        *ret_r = ask(upload, "HEAD", upload->path, (const char *const[]){NULL}, false, reply, reterr_words);
        if (*ret_r < 0)
                return STEP_LOST;
        if (reply->status != 200 || !upload->has_offset || upload->answer_offset > upload->file->size)
                return judge(upload, reply);
        upload->offset = upload->answer_offset;
        upload->known = true;
        return upload->offset == upload->file->size ? STEP_DONE : STEP_ON;
}

static enum step send(struct upload *upload, struct cli_reply *reply, char **reterr_words, int *ret_r)
{
        g_autofree char *offset = g_strdup_printf("Upload-Offset: %" G_GUINT64_FORMAT, upload->offset);
        const char *const headers[] = {"Content-Type: application/offset+octet-stream", offset, NULL};

        if (lseek(upload->file->fd, (off_t)upload->offset, SEEK_SET) < 0) {
                cli_error("cannot read the file: %s", g_strerror(errno));
                return STEP_FAIL;
        }
        *ret_r = ask(upload, "PATCH", upload->path, headers, true, reply, reterr_words);
        upload->known = false;
        if (*ret_r < 0)
                return STEP_LOST;
        if (reply->status != 204 || !upload->has_offset)
                return judge(upload, reply);
        return upload->answer_offset == upload->file->size ? STEP_DONE : STEP_LOST;
}

static enum step take_step(struct upload *upload, struct cli_reply *reply, char **reterr_words, int *ret_r)
{
        *ret_r = 0;
        if (!upload->path)
                return find(upload, reply, reterr_words, ret_r);
        return upload->known ? send(upload, reply, reterr_words, ret_r) : look(upload, reply, reterr_words, ret_r);
}

/* --- patience
 * ---------------------------------------------------------------------------------------------------------------------------- */

static int give_up(struct upload *upload, int r, const char *words, const struct cli_reply *reply)
{
        cli_bar_end(&upload->bar);
        if (r < 0)
                client_tell_unreachable(upload->cli, r, words);
        else
                cli_tell_status(reply);
        if (upload->path)
                cli_note("What has come is kept for a day: the same command goes on from there.");
        return r < 0 ? CLI_UNREACHABLE : CLI_FAILED;
}

static void tell_pause(struct upload *upload, int r, const struct cli_reply *reply)
{
        const char *message = reply->doc ? json_find_string(json_root_const(reply->doc), "message", NULL) : NULL;

        cli_bar_end(&upload->bar);
        if (r < 0)
                cli_note("The connection to %s is lost; the upload goes on when it is back.", upload->cli->server);
        else
                cli_note("%s: %s; trying again.", upload->cli->server, message ?: "not now");
}

/* CLI_OK: after a pause once more. */
static int wait_a_while(struct upload *upload, int r, const char *words, const struct cli_reply *reply)
{
        uint64_t spent_us = clock_monotonic_us(clock_system()) - upload->moved_us;

        if (!upload->reached || spent_us > PATIENCE_US)
                return give_up(upload, r, words, reply);
        if (upload->pause_us == 0)
                tell_pause(upload, r, reply);
        upload->pause_us = upload->pause_us == 0 ? PAUSE_US : MIN(2 * upload->pause_us, PAUSE_MAX_US);
        g_usleep(upload->pause_us);
        return CLI_OK;
}

static int go_on(struct upload *upload)
{
        upload->moved_us = clock_monotonic_us(clock_system());
        for (;;) {
                g_autofree char *words = NULL;
                struct cli_reply reply = {};
                int r = 0;
                enum step step = take_step(upload, &reply, &words, &r);
                int code = step == STEP_FAIL ? CLI_FAILED : CLI_OK;

                upload->reached |= r == 0;
                if (upload->known && upload->offset > upload->furthest) {
                        upload->furthest = upload->offset;
                        upload->moved_us = clock_monotonic_us(clock_system());
                        upload->pause_us = 0;
                }
                if (step == STEP_LOST)
                        code = wait_a_while(upload, r, words, &reply);
                cli_reply_clear(&reply);
                if (step == STEP_DONE || code != CLI_OK)
                        return code;
        }
}

int upload_send(struct cli *cli, const struct upload_file *file)
{
        assert(cli && file && file->object && file->fd >= 0 && file->size > 0);

        struct upload upload = {.cli = cli, .file = file, .bar = {.what = "uploading", .rate = true}};
        int code = go_on(&upload);
        if (code == CLI_OK)
                cli_bar_show(&upload.bar, file->size, file->size);
        cli_bar_end(&upload.bar);
        g_free(upload.path);
        g_free(upload.answer_location);
        return code;
}
