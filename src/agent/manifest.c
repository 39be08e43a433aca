/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/manifest.h"

#include "agent/gateway.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "loop/loop.h"

#include <glib.h>

#define LINE_BYTES_MAX (LIMIT_OBJECT_BYTES + 4096)
#define STALL_US       30000000ull /* bookmarks come about every 10 s */
#define PAUSE_FIRST_US 250000ull
#define PAUSE_LAST_US  15000000ull

struct manifest {
        struct loop *loop;
        struct gateway *gateway;
        struct manifest_handlers handlers;
        struct http_call *call;
        struct loop_source *timer;
        struct line_cutter *cutter;
        char *resource_version; /* to go on after; NULL: from the beginning */
        bool listing;           /* a list is under way, not yet SYNCED */
        bool connected;
        unsigned failures;
};

static void tell_connected(struct manifest *manifest, bool connected, const char *words)
{
        if (manifest->connected != connected || words) {
                manifest->connected = connected;
                manifest->handlers.connected(connected, words, manifest->handlers.userdata);
        }
}

/* --- what comes ------------------------------------------------------------------------------------------------------------------
 */

static void remember_version(struct manifest *manifest, const char *version)
{
        /* Versions of single objects of a list are older than the list: only its end counts. */
        if (version && !manifest->listing) {
                g_free(manifest->resource_version);
                manifest->resource_version = g_strdup(version);
        }
}

static bool take_line(const char *line, size_t len, void *userdata)
{
        struct manifest *manifest = userdata;
        struct manifest_event event;
        bool synced;

        if (manifest_event_parse(line, len, &event) < 0) {
                return false;
        }
        manifest->failures = 0;
        if (!manifest->connected && !manifest->listing) {
                log_info("the manifest goes on", "revision", manifest->resource_version);
        }
        tell_connected(manifest, true, NULL);
        synced = event.type == MANIFEST_SYNCED && manifest->listing;
        if (synced) {
                manifest->listing = false;
        }
        remember_version(manifest, event.resource_version);
        if (event.type == MANIFEST_ERROR) {
                /* The stream cannot go on from where it is. */
                g_clear_pointer(&manifest->resource_version, g_free);
        } else {
                manifest->handlers.event(&event, manifest->handlers.userdata);
        }
        if (synced) {
                manifest->handlers.synced(manifest->handlers.userdata);
        }
        manifest_event_clear(&event);
        return event.type != MANIFEST_ERROR;
}

static bool on_piece(struct http_call *call, const char *piece, size_t len, void *userdata)
{
        struct manifest *manifest = userdata;

        /* The body of a refusal is no stream. */
        return http_call_status(call) != 200 || line_cutter_feed(manifest->cutter, piece, len, take_line, manifest) == 0;
}

/* --- connecting ------------------------------------------------------------------------------------------------------------------
 */

static void connect_later(struct manifest *manifest)
{
        uint64_t pause = MIN(PAUSE_FIRST_US << MIN(manifest->failures, 10), PAUSE_LAST_US);

        manifest->failures++;
        /* Hosts that lost the same gateway at the same moment do not all come back at the same moment. */
        loop_timer_set(manifest->timer, pause / 2 + random_below(random_system(), pause / 2));
}

static void on_done(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata)
{
        struct manifest *manifest = userdata;
        g_autofree char *words = NULL;

        manifest->call = NULL;
        if (status == 410) {
                log_info("the gateway does not keep the revision of the manifest any more: it is read from the beginning",
                         "revision", manifest->resource_version);
                g_clear_pointer(&manifest->resource_version, g_free);
        } else if (status == 409) {
                words = g_strdup("the gateway does not speak the protocol version " G_STRINGIFY(
                        GATEWAY_PROTOCOL) "; install the agent of the gateway's version");
        } else if (status != 200) {
                words = error ? g_strdup(error) : g_strdup_printf("the gateway answered %d", status);
        } else {
                words = g_strdup(error ? error : "the gateway ended the stream");
        }
        tell_connected(manifest, false, words);
        connect_later(manifest);
}

static void connect_now(struct manifest *manifest)
{
        g_autofree char *path = NULL;
        int r;

        manifest->cutter = line_cutter_free(manifest->cutter);
        manifest->cutter = line_cutter_new(LINE_BYTES_MAX);
        manifest->listing = !manifest->resource_version;
        path = g_strconcat("/agent/v1/manifest?watch=1&protocol=" G_STRINGIFY(GATEWAY_PROTOCOL),
                           manifest->listing ? NULL : "&resourceVersion=", manifest->resource_version, NULL);
        if (manifest->listing) {
                manifest->handlers.relist(manifest->handlers.userdata);
        }
        r = gateway_follow(manifest->gateway, path, STALL_US, on_piece, on_done, manifest, &manifest->call);
        if (r < 0) {
                tell_connected(manifest, false, g_strerror(-r));
                connect_later(manifest);
        }
}

static void on_timer(struct loop_source *source, void *userdata)
{
        struct manifest *manifest = userdata;

        if (!manifest->call) {
                connect_now(manifest);
        }
}

int manifest_follow(struct loop *loop, struct gateway *gateway, const struct manifest_handlers *handlers,
                    struct manifest **ret_manifest)
{
        struct manifest *manifest = g_new0(struct manifest, 1);
        int r;

        assert(loop && gateway && handlers && ret_manifest);
        manifest->loop = loop;
        manifest->gateway = gateway;
        manifest->handlers = *handlers;
        r = loop_timer(loop, 0, on_timer, manifest, &manifest->timer);
        if (r < 0) {
                manifest_free(manifest);
                return r;
        }
        *ret_manifest = manifest;
        return 0;
}

struct manifest *manifest_free(struct manifest *manifest)
{
        if (manifest) {
                http_call_cancel(manifest->call);
                loop_source_free(manifest->timer);
                line_cutter_free(manifest->cutter);
                g_free(manifest->resource_version);
                g_free(manifest);
        }
        return NULL;
}

void manifest_reconnect(struct manifest *manifest)
{
        manifest->call = http_call_cancel(manifest->call);
        manifest->failures = 0;
        loop_timer_set(manifest->timer, 0);
}
