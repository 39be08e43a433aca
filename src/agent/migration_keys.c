/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/migration_keys.h"

#include "agent/core.h"
#include "auth/auth.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "virt/migration_tls.h"

#include <string.h>

#define FOLDER           "migration"
#define QEMU_CONF        "/etc/libvirt/qemu.conf"
#define CONF_BYTES_MAX   (1u << 20)
#define PEM_BYTES_MAX    (64u << 10)
#define LOOK_INTERVAL_US (3600ull * 1000000)
#define RETRY_US         (60ull * 1000000)
#define RETRY_FIRST_US   (2ull * 1000000)

struct work;

struct migration_keys {
        struct agent *agent;
        struct loop_source *timer;
        struct http_call *call;
        struct work *asking; /* of the call */
        unsigned failures;
        bool working; /* a job looks, or writes */
};

struct work {
        struct agent *agent; /* its migration_keys may be gone when the job is back */
        char *address, *key_pem, *csr_pem, *ca_pem, *certificate_pem;
        uint64_t due_us; /* how long the certificate is good yet */
};

static void work_free(struct work *work)
{
        if (work->key_pem) {
                explicit_bzero(work->key_pem, strlen(work->key_pem));
        }
        g_free(work->address);
        g_free(work->key_pem);
        g_free(work->csr_pem);
        g_free(work->ca_pem);
        g_free(work->certificate_pem);
        g_free(work);
}

char *migration_keys_dir(const struct agent *agent)
{
        assert(agent);
        return g_build_filename(agent->data_dir, FOLDER, NULL);
}

const char *migration_keys_address(struct arena *arena)
{
        size_t n = 0;
        const struct api_node_address *list = node_addresses(arena, &n);

        for (size_t i = 0; i < n; i++) {
                if (g_str_equal(list[i].type, "InternalIP")) {
                        return list[i].address;
                }
        }
        return NULL;
}

/* --- what there is --- */

static char *address_file(const struct agent *agent)
{
        return g_build_filename(agent->data_dir, FOLDER ".address", NULL);
}

/* When the certificate that there is shall be renewed, from now; 0: it is due, or there is none for this address. */
static uint64_t good_for_us(const struct agent *agent, const char *address)
{
        g_autofree char *dir = migration_keys_dir(agent), *path = g_build_filename(dir, MIGRATION_TLS_CERTIFICATE, NULL);
        g_autofree char *noted = address_file(agent), *pem = NULL, *before = NULL;
        uint64_t now = clock_real_us(clock_system()), begin, end;
        size_t len;

        if (file_read(noted, PEM_BYTES_MAX, &before, &len) < 0 || strcmp(before, address) != 0 ||
            file_read(path, PEM_BYTES_MAX, &pem, &len) < 0 || auth_certificate_life(pem, &begin, &end) < 0 || end <= begin) {
                return 0;
        }
        begin += (end - begin) / 3 * 2;
        return begin > now ? begin - now : 0;
}

void migration_keys_say(struct agent *agent, struct arena *arena, struct api_node_condition *condition)
{
        g_autofree char *dir = migration_keys_dir(agent), *key = g_build_filename(dir, MIGRATION_TLS_KEY, NULL);
        const char *address = migration_keys_address(arena);
        g_autofree char *conf = NULL, *fault = NULL;
        struct virt_error error = {};
        size_t len;

        assert(arena && condition);
        condition->status = "False";
        if (!address || access(key, R_OK) < 0) {
                condition->reason = REASON_MIGRATION_CERTIFICATE_MISSING;
                condition->message = address ? "the gateway has not given it a certificate for migrations yet"
                                             : "the host has no address at which other hosts could reach it";
                return;
        }
        if (file_read(QEMU_CONF, CONF_BYTES_MAX, &conf, &len) < 0) {
                conf = g_strdup("");
        }
        fault = migration_tls_fault(conf, dir);
        if (fault) {
                condition->reason = REASON_MIGRATION_NOT_CONFIGURED;
                condition->message = arena_printf(arena, "%s; see doc/how-to/migration-hosts.md", fault);
                return;
        }
        if (migration_tls_reach(address, dir, &error)) {
                condition->reason = REASON_MIGRATION_NOT_REACHABLE;
                condition->message = arena_printf(arena,
                                                  "libvirt does not answer other hosts at %s: %s; see "
                                                  "doc/how-to/migration-hosts.md",
                                                  address, error.words);
                return;
        }
        condition->status = "True";
        condition->reason = REASON_MIGRATION_READY;
        condition->message = arena_printf(arena, "libvirt answers other hosts at %s", address);
}

/* --- a new one --- */

static void again(struct migration_keys *keys, bool failed, uint64_t due_us)
{
        keys->failures = failed ? keys->failures + 1 : 0;
        loop_timer_set(keys->timer,
                       failed ? MIN(RETRY_FIRST_US << MIN(keys->failures, 5), RETRY_US) : MIN(due_us, LOOK_INTERVAL_US));
}

static int write_work(void *userdata)
{
        struct work *work = userdata;
        g_autofree char *dir = migration_keys_dir(work->agent), *noted = address_file(work->agent);
        struct virt_error error = {};
        int r = migration_tls_write(dir, work->ca_pem, work->certificate_pem, work->key_pem);

        if (!r) {
                r = file_write_atomic(noted, work->address, strlen(work->address), 0644);
        }
        if (!r && migration_tls_reload(&error)) {
                /* It may not listen at all yet; the node's report says so. */
                log_debug("libvirtd did not read the new certificate", "error", error.words);
        }
        return r;
}

static void write_done(int result, void *userdata)
{
        struct work *work = userdata;
        struct migration_keys *keys = work->agent->migration_keys;

        if (keys) {
                keys->working = false;
                again(keys, result < 0, 0);
                node_report_soon(work->agent->node);
        }
        if (result < 0 && result != -ECANCELED) {
                log_warning("the certificate for migrations could not be kept", "error", g_strerror(-result));
        } else if (!result) {
                log_info("a certificate for migrations is there", "address", work->address);
        }
        work_free(work);
}

static void on_answer(struct http_call *call, int status, const char *body, size_t len, const char *error, void *userdata)
{
        struct work *work = userdata;
        struct migration_keys *keys = work->agent->migration_keys;
        g_autofree char *words = g_strdup_printf("%d", status);
        g_autoptr(json_doc) doc = NULL;

        keys->call = NULL;
        keys->asking = NULL;
        if (status == 200 && json_parse(body, len, &doc, NULL) == 0) {
                work->ca_pem = g_strdup(json_find_string(json_root(doc), "ca", NULL));
                work->certificate_pem = g_strdup(json_find_string(json_root(doc), "certificate", NULL));
        }
        if (work->ca_pem && work->certificate_pem) {
                keys->working = true;
                loop_pool_submit(work->agent->queries, write_work, write_done, work);
                return;
        }
        log_warning("no certificate for migrations was given; it is tried again", "status", words, "error", error);
        again(keys, true, 0);
        work_free(work);
}

static int look_work(void *userdata)
{
        struct work *work = userdata;
        g_autoptr(arena) arena = arena_new(0);

        work->address = g_strdup(migration_keys_address(arena));
        if (!work->address) {
                return -EADDRNOTAVAIL;
        }
        work->due_us = good_for_us(work->agent, work->address);
        return work->due_us ? 0 : error_fold(auth_request_new("migration", &work->key_pem, &work->csr_pem));
}

static void look_done(int result, void *userdata)
{
        struct work *work = userdata;
        struct migration_keys *keys = work->agent->migration_keys;

        if (keys) {
                keys->working = false;
        }
        if (keys && result == 0 && !work->due_us) {
                g_autoptr(json_doc) doc = json_doc_new();
                struct json_value *body = json_new(doc, JSON_OBJECT);

                json_set_string(doc, body, "csr", work->csr_pem);
                json_append(json_ensure_array(doc, body, "addresses"), json_new_string(doc, work->address));
                result = gateway_call(work->agent->gateway, "POST", "/agent/v1/migration-certificate", body, on_answer, work,
                                      &keys->call);
                if (result == 0) {
                        keys->asking = work;
                        return;
                }
        }
        if (keys) {
                again(keys, result < 0, work->due_us);
        }
        work_free(work);
}

static void on_timer(struct loop_source *source, void *userdata)
{
        struct migration_keys *keys = userdata;
        struct work *work;

        if (keys->working || keys->call) {
                return;
        }
        keys->working = true;
        work = g_new0(struct work, 1);
        work->agent = keys->agent;
        loop_pool_submit(keys->agent->queries, look_work, look_done, work);
}

int migration_keys_new(struct agent *agent, struct migration_keys **ret_keys)
{
        struct migration_keys *keys = g_new0(struct migration_keys, 1);
        int r;

        assert(agent && ret_keys);
        keys->agent = agent;
        r = loop_timer(agent->loop, 0, on_timer, keys, &keys->timer);
        if (r < 0) {
                migration_keys_free(keys);
                return r;
        }
        *ret_keys = keys;
        return 0;
}

struct migration_keys *migration_keys_free(struct migration_keys *keys)
{
        if (keys) {
                http_call_cancel(keys->call);
                if (keys->asking) {
                        work_free(keys->asking);
                }
                loop_source_free(keys->timer);
                g_free(keys);
        }
        return NULL;
}
