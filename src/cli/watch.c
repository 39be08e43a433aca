/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define PAUSE_US 200000 /* before a watch that the server ended is taken up again */

struct watching {
        struct cli_watch *watch;
        GString *buffer;
        struct json_doc *status; /* why the server ended it */
        bool ended;              /* by the caller */
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

/* One connection. CLI_OK: the server ended it, or @watching->ended. */
static int watch_once(struct cli *cli, struct watching *watching, uint64_t timeout_us)
{
        struct cli_watch *watch = watching->watch;
        struct http_client_options client = client_options(cli);
        g_autofree char *url = g_strdup_printf("%s%s%cwatch=true&allowWatchBookmarks=true&resourceVersion=%s", cli->server,
                                               watch->path, strchr(watch->path, '?') ? '&' : '?', watch->resource_version ?: "0");
        g_auto(GStrv) headers = client_headers(cli, watch->accept, NULL);
        struct http_call_options call = {
                .url = url, .headers = (const char *const *)headers, .timeout_us = timeout_us, .on_piece = watch_piece};
        g_autofree char *words = NULL;
        int status = 0;

        g_string_truncate(watching->buffer, 0);
        int r = http_fetch(&client, &call, watching, &status, NULL, &words);
        if (watching->ended || (r == 0 && status == 200))
                return CLI_OK;
        if (watching->status) {
                struct cli_reply reply = {.doc = watching->status};
                int64_t number = 0;
                if (json_int64(json_get(json_root(reply.doc), "code"), &number) == 0)
                        reply.status = (int)number;
                return cli_tell_status(&reply);
        }
        if (r == -ETIMEDOUT && timeout_us > 0)
                return CLI_TIMEOUT;
        if (r < 0) {
                client_tell_unreachable(cli, r, words);
                return CLI_UNREACHABLE;
        }
        cli_error("the watch was refused with status %d", status);
        return status == 404 ? CLI_NOT_FOUND : CLI_FAILED;
}

int cli_watch(struct cli *cli, struct cli_watch *watch)
{
        assert(cli && watch && watch->path && watch->each);

        const struct clock *clock = clock_system();
        uint64_t end_us = clock_monotonic_us(clock) + watch->timeout_us;
        struct watching watching = {.watch = watch, .buffer = g_string_new(NULL)};
        int code = CLI_OK;

        while (code == CLI_OK && !watching.ended) {
                uint64_t now_us = clock_monotonic_us(clock);
                if (watch->timeout_us > 0 && now_us >= end_us)
                        code = CLI_TIMEOUT;
                else
                        code = watch_once(cli, &watching, watch->timeout_us > 0 ? end_us - now_us : 0);
                if (code == CLI_OK && !watching.ended)
                        g_usleep(PAUSE_US);
        }
        g_string_free(watching.buffer, TRUE);
        json_doc_free(watching.status);
        return code;
}
