/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define PAUSE_US    200000 /* before a watch that the server ended is taken up again */
#define PATIENCE_US 30000000u
#define HTTP_GONE   410

struct watching {
        struct cli_watch *watch;
        GString *buffer;
        struct json_doc *status; /* why the server ended it */
        bool ended;              /* by the caller */
        bool answered;           /* since the connection was lost */
        uint64_t lost_us;
};

/* Where a watch goes on after @object: of a row of a table, its object has it. */
static void note_version(struct cli_watch *watch, const struct json_value *object)
{
        const struct json_value *row = json_at(json_get(object, "rows"), 0);
        const char *version = json_find_string(json_get(row, "object"), "metadata", "resourceVersion", NULL)
                                      ?: json_find_string(object, "metadata", "resourceVersion", NULL);

        if (version && *version) {
                g_free(watch->resource_version);
                watch->resource_version = g_strdup(version);
        }
}

static bool watch_line(struct watching *watching, const char *line, size_t len)
{
        g_autoptr(json_doc) doc = NULL;

        if (len == 0)
                return true;
        if (json_parse_within(line, len, CLIENT_LIST_BYTES, CLIENT_LIST_NODES, &doc, NULL))
                return false;
        const char *type = json_find_string(json_root(doc), "type", NULL);
        struct json_value *object = json_get(json_root(doc), "object");
        if (!type || !object || g_str_equal(type, "ERROR")) { /* refused watches are answered by a Status alone */
                watching->status = json_doc_new();
                json_set_root(watching->status, json_copy(watching->status, object ?: json_root(doc)));
                return false;
        }
        watching->answered = true;
        note_version(watching->watch, object);
        if (!g_str_equal(type, "BOOKMARK"))
                watching->ended = !watching->watch->each(type, object, watching->watch->userdata);
        return !watching->ended;
}

static bool watch_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct watching *watching = userdata;
        size_t used = 0;
        bool go_on = true;

        g_string_append_len(watching->buffer, piece, (gssize)len);
        while (go_on) {
                const char *line = watching->buffer->str + used;
                const char *end = memchr(line, '\n', watching->buffer->len - used);
                if (!end)
                        break;
                go_on = watch_line(watching, line, (size_t)(end - line));
                used += (size_t)(end - line) + 1;
        }
        g_string_erase(watching->buffer, 0, (gssize)used);
        return go_on;
}

enum ending { ENDED_BY_CALLER, ENDED_BY_SERVER, ENDED_BY_TIME, ENDED_BY_LOSS, ENDED_BY_REFUSAL };

/* One connection. @*ret_lost, @*ret_words (g_free): of ENDED_BY_LOSS. */
static enum ending watch_once(struct cli *cli, struct watching *watching, uint64_t timeout_us, int *ret_lost, char **ret_words)
{
        struct cli_watch *watch = watching->watch;
        struct http_client_options client = client_options(cli);
        g_autofree char *url = g_strdup_printf("%s%s%cwatch=true&allowWatchBookmarks=true&resourceVersion=%s", cli->server,
                                               watch->path, strchr(watch->path, '?') ? '&' : '?', watch->resource_version ?: "0");
        g_auto(GStrv) headers = client_headers(cli, watch->accept, NULL, NULL);
        struct http_call_options call = {
                .url = url, .headers = (const char *const *)headers, .timeout_us = timeout_us, .on_piece = watch_piece};
        int status = 0;

        g_string_truncate(watching->buffer, 0);
        int r = http_fetch(&client, &call, watching, &status, NULL, ret_words);
        if (watching->ended)
                return ENDED_BY_CALLER;
        if (watching->status || (r == 0 && status != 200))
                return ENDED_BY_REFUSAL;
        if (r == -ETIMEDOUT && timeout_us > 0)
                return ENDED_BY_TIME;
        *ret_lost = r;
        return r < 0 ? ENDED_BY_LOSS : ENDED_BY_SERVER;
}

/* The Status that the server gave, or none. Too old a version is no failure: what is there is looked at again. */
static int on_refusal(struct watching *watching)
{
        struct cli_reply reply = {.doc = watching->status};
        int64_t number = 0;

        if (reply.doc && json_int64(json_get(json_root(reply.doc), "code"), &number) == 0)
                reply.status = (int)number;
        if (reply.status == HTTP_GONE) {
                g_clear_pointer(&watching->watch->resource_version, g_free);
                watching->watch->gone = true;
                g_clear_pointer(&watching->status, json_doc_free);
                return CLI_OK;
        }
        return cli_tell_status(&reply);
}

/* A gateway that restarts is waited for: it had answered, at least the request before the watch. */
static int on_loss(struct cli *cli, struct watching *watching, int r, const char *words)
{
        uint64_t now_us = clock_monotonic_us(clock_system());

        if (watching->answered) {
                cli_note("The connection to %s is lost; trying again.", cli->server);
                watching->answered = false;
                watching->lost_us = now_us;
        }
        if (r != -EKEYREJECTED && now_us - watching->lost_us < PATIENCE_US)
                return CLI_OK;
        client_tell_unreachable(cli, r, words);
        return CLI_UNREACHABLE;
}

int cli_watch(struct cli *cli, struct cli_watch *watch)
{
        assert(cli && watch && watch->path && watch->each);

        const struct clock *clock = clock_system();
        uint64_t end_us = clock_monotonic_us(clock) + watch->timeout_us;
        struct watching watching = {.watch = watch, .buffer = g_string_new(NULL), .answered = true};
        int code = CLI_OK;

        watch->gone = false;
        while (code == CLI_OK && !watching.ended && !(watch->gone && watch->stop_when_gone)) {
                g_autofree char *words = NULL;
                uint64_t now_us = clock_monotonic_us(clock);
                enum ending ending = ENDED_BY_TIME;
                int r = 0;
                if (watch->timeout_us == 0 || now_us < end_us)
                        ending = watch_once(cli, &watching, watch->timeout_us > 0 ? end_us - now_us : 0, &r, &words);
                if (ending == ENDED_BY_TIME)
                        code = CLI_TIMEOUT;
                else if (ending == ENDED_BY_REFUSAL)
                        code = on_refusal(&watching);
                else if (ending == ENDED_BY_LOSS)
                        code = on_loss(cli, &watching, r, words);
                if (code == CLI_OK && !watching.ended)
                        g_usleep(PAUSE_US);
        }
        g_string_free(watching.buffer, TRUE);
        json_doc_free(watching.status);
        return code;
}
