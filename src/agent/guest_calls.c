/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest_calls.h"

#include "agent/core.h"
#include "agent/frozen.h"
#include "agent/usage.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "generated/api_types.h"
#include "generated/reasons.h"
#include "virt/guest_exec.h"
#include "virt/guest_orders.h"
#include "virt/picture.h"

#include <string.h>

/*
 * An order is carried out in steps, each a job of the guest's lane (lanes.h): what a guest does not answer holds up nobody but
 * those who ask that guest. Between two steps nothing waits on a thread.
 */
#define PATIENCE_US     2000000ull
#define CLOSE_NORMAL    1000
#define CLOSE_INTERNAL  1011
#define PIECE_BYTES     (512u << 10)
#define LOOK_LEAST_US   20000ull
#define LOOK_MOST_US    500000ull
#define EXEC_GRACE_US   5000000ull /* behind the time of a command, for the guest to end it */
#define ANSWER_S        5
#define FREEZE_ANSWER_S 10
#define ADVICE          " (doc/how-to/troubleshooting.md, \"The guest agent does not answer\")"

struct guest_call {
        struct guest_calls *owner; /* NULL: the agent stops */
        struct agent *agent;
        char *machine_uid, *uuid;
        struct http_ws *ws; /* NULL: nobody waits any more */
        struct loop_source *timer;
        const struct call_kind *kind;
        struct json_doc *order;
        bool working;

        /* Of the steps: a job's while there is one. */
        uint64_t again_us; /* when the next step is due; 0: it is done */
        struct json_doc *answer;
        GByteArray *bytes; /* sent before the answer, or NULL */
        int outcome;
        struct virt_error error;

        struct usage *usage;       /* (threads) */
        GHashTable *domains;       /* of "usages": uid of a machine -> UUID of its domain, or NULL */
        struct guest_exec_run run; /* exec; no pid: not begun */
        bool killed;               /* its time was up */
        uint64_t pause_us, end_us, deadline_us;
};

struct call_kind {
        const char *name;
        int (*step)(struct guest_call *call);   /* on a pool thread; an outcome of src/virt */
        bool (*begin)(struct guest_call *call); /* on the loop, before the first step; false: it has refused. Or NULL */
        void (*end)(struct guest_call *call);   /* on the loop, after the last, whoever waits. Or NULL */
        uint64_t patience_us;                   /* a step that takes longer was let wait by the guest; 0: PATIENCE_US */
        bool of_host;                           /* it is asked of the host, not of a machine */
        bool of_libvirt;                        /* it is asked of a machine and not of its guest */
};

struct guest_calls {
        struct agent *agent;
        struct usage *usage;
        GPtrArray *calls;
};

/* --- steps, on a pool thread -----------------------------------------------------------------------------------------------------
 */

static struct json_value *begin_answer(struct guest_call *call)
{
        call->answer = json_doc_new();
        json_set_root(call->answer, json_new(call->answer, JSON_OBJECT));
        return json_ensure_object(call->answer, json_root(call->answer), "body");
}

static void set_bytes(struct json_doc *doc, struct json_value *object, const char *key, const GByteArray *bytes)
{
        g_autofree char *text = g_base64_encode(bytes->data, bytes->len);

        json_set_string(doc, object, key, text);
}

static int begin_exec(struct guest_call *call)
{
        const struct json_value *order = json_root(call->order);
        g_autoptr(GPtrArray) words = g_ptr_array_new();
        int64_t seconds = 0;
        gsize input_len = 0;
        g_autofree guchar *input = g_base64_decode(json_string(json_get(order, "input"), ""), &input_len);
        struct guest_exec exec = {.input = input_len ? input : NULL, .input_len = input_len};
        int r;

        for (const struct json_value *it = json_first(json_get(order, "command")); it; it = json_next(it)) {
                g_ptr_array_add(words, (char *)json_string(it, ""));
        }
        g_ptr_array_add(words, NULL);
        if (words->len < 2 || json_int64(json_get(order, "timeoutSeconds"), &seconds) || seconds < 1 ||
            seconds > LIMIT_GUEST_EXEC_S) {
                call->error.reason = REASON_VALIDATION_FAILED;
                g_strlcpy(call->error.words, "no command, or no time for it", sizeof(call->error.words));
                return VIRT_E_INVALID;
        }
        exec.words = (const char *const *)words->pdata;
        exec.seconds = (unsigned)seconds;
        r = guest_exec_start(call->agent->virt, call->uuid, &exec, &call->run, &call->error);
        call->end_us = clock_monotonic_us(clock_system()) + (uint64_t)seconds * 1000000;
        call->deadline_us = call->end_us + EXEC_GRACE_US;
        call->pause_us = LOOK_LEAST_US;
        call->again_us = r ? 0 : call->pause_us;
        return r;
}

static void answer_exec(struct guest_call *call, const struct guest_exec_result *result, bool out_of_time)
{
        struct json_value *body = begin_answer(call);

        json_set_int(call->answer, body, "exitCode", result->exit_code);
        if (result->output) {
                set_bytes(call->answer, body, "stdout", result->output);
                set_bytes(call->answer, body, "stderr", result->complaints);
        }
        json_set_bool(call->answer, body, "stdoutTruncated", result->output_cut);
        json_set_bool(call->answer, body, "stderrTruncated", result->complaints_cut);
        json_set_bool(call->answer, body, "timedOut", out_of_time);
}

/* A guest without a shell does not end it by itself. Whether it does when it is told is seen by the next looks. */
static void kill_exec(struct guest_call *call)
{
        struct virt_error error;
        int r = guest_exec_kill(call->agent->virt, call->uuid, call->run.pid, &error);

        call->killed = true;
        call->pause_us = LOOK_LEAST_US;
        if (r) {
                log_info("a guest was not told to end a command whose time is up", "uuid", call->uuid, "error", error.words);
        }
}

/* A killed command ends like any other; that its time was up is told by the clock. */
static int step_exec(struct guest_call *call)
{
        struct guest_exec_result result = {};
        uint64_t now;
        int r;

        if (!call->run.pid) {
                return begin_exec(call);
        }
        r = guest_exec_look(call->agent->virt, call->uuid, call->run.pid, &result, &call->error);
        now = clock_monotonic_us(clock_system());
        if (r) {
                call->again_us = 0;
        } else if (!result.exited && now < call->deadline_us) {
                if (now >= call->end_us && !call->run.bounded && !call->killed) {
                        kill_exec(call);
                }
                call->pause_us = MIN(call->pause_us * 2, LOOK_MOST_US);
                call->again_us = call->pause_us;
        } else {
                answer_exec(call, &result, !result.exited || call->killed || (result.exit_code == 137 && now >= call->end_us));
                call->again_us = 0;
        }
        guest_exec_result_clear(&result);
        return r;
}

static int step_password(struct guest_call *call)
{
        const struct json_value *order = json_root(call->order);
        const char *password = json_string(json_get(order, "password"), "");
        int r = guest_set_password(call->agent->virt, call->uuid, json_string(json_get(order, "user"), ""), password,
                                   json_bool(json_get(order, "hashed"), false), &call->error);

        explicit_bzero((char *)password, strlen(password));
        if (!r) {
                begin_answer(call);
        }
        return r;
}

static int step_screenshot(struct guest_call *call)
{
        int r = virt_domain_screenshot(call->agent->virt, call->uuid, &call->bytes, &call->error);

        if (!r) {
                begin_answer(call);
        }
        return r;
}

/* Of a machine, or of the host and how many domains run there. */
static int step_usage(struct guest_call *call)
{
        int r = usage_look(call->usage, call->agent->virt, &call->again_us, &call->error);
        struct json_value *body;

        if (r || call->again_us) {
                return r;
        }
        body = begin_answer(call);
        if (usage_tell(call->usage, call->uuid, call->answer, body)) {
                return 0;
        }
        call->error.reason = REASON_DOMAIN_LOST;
        g_strlcpy(call->error.words, "the machine does not run on this host", sizeof(call->error.words));
        return VIRT_E_MISSING;
}

/* Of the host and of every machine on it, in one look. */
static int step_usages(struct guest_call *call)
{
        int r = usage_look(call->usage, call->agent->virt, &call->again_us, &call->error);
        struct json_value *body, *machines;
        GHashTableIter iter;
        void *uid, *uuid;

        if (r || call->again_us) {
                return r;
        }
        body = begin_answer(call);
        (void)usage_tell(call->usage, NULL, call->answer, json_ensure_object(call->answer, body, "host"));
        machines = json_ensure_object(call->answer, body, "machines");
        g_hash_table_iter_init(&iter, call->domains);
        while (g_hash_table_iter_next(&iter, &uid, &uuid)) {
                struct json_value *one = json_new(call->answer, JSON_OBJECT);

                if (usage_tell(call->usage, uuid, call->answer, one)) {
                        json_set(call->answer, machines, uid, one);
                }
        }
        return 0;
}

static int step_info(struct guest_call *call)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *told = NULL;
        int r = guest_tell(call->agent->virt, call->uuid, doc, &told, &call->error);

        if (!r) {
                json_set_root(doc, json_new(doc, JSON_OBJECT));
                json_set(doc, json_root(doc), "body", told);
                call->answer = g_steal_pointer(&doc);
        }
        json_doc_free(doc);
        return r;
}

/* --- answers ---------------------------------------------------------------------------------------------------------------------
 */

static void call_free(struct guest_call *call)
{
        loop_source_free(call->timer);
        json_doc_free(call->order);
        json_doc_free(call->answer);
        if (call->bytes) {
                g_byte_array_unref(call->bytes);
        }
        if (call->domains) {
                g_hash_table_unref(call->domains);
        }
        g_free(call->machine_uid);
        g_free(call->uuid);
        g_free(call);
}

/* A command that its guest does not end by itself is seen to its end, also when nobody waits for it any more. */
static bool must_go_on(const struct guest_call *call)
{
        return call->owner && call->again_us && call->run.pid && !call->run.bounded && !call->outcome;
}

/* Nobody waits for it and nothing works on it. */
static void release(struct guest_call *call)
{
        if (call->ws || call->working || must_go_on(call)) {
                return;
        }
        if (call->owner) {
                g_ptr_array_remove_fast(call->owner->calls, call);
        }
        call_free(call);
}

static void send_answer(struct guest_call *call)
{
        g_autofree char *text = json_to_text(json_root(call->answer));
        int r = 0;

        for (guint at = 0; call->bytes && at < call->bytes->len && r == 0; at += PIECE_BYTES) {
                r = http_ws_send(call->ws, true, call->bytes->data + at, MIN(PIECE_BYTES, call->bytes->len - at));
        }
        if (r == 0) {
                r = http_ws_send(call->ws, false, text, strlen(text));
        }
        http_ws_close(call->ws, r < 0 ? CLOSE_INTERNAL : CLOSE_NORMAL, r < 0 ? "the answer cannot be sent" : "done");
}

static void refuse(struct guest_call *call, int code, const char *reason, const char *words)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *error;

        json_set_root(doc, json_new(doc, JSON_OBJECT));
        error = json_ensure_object(doc, json_root(doc), "error");
        json_set_int(doc, error, "code", code);
        json_set_string(doc, error, "reason", reason);
        json_set_string(doc, error, "message", words);
        json_doc_free(call->answer);
        call->answer = doc;
        send_answer(call);
}

static void refuse_outcome(struct guest_call *call)
{
        static const int codes[] = {
                [VIRT_E_MISSING] = 409, [VIRT_E_STATE] = 409,       [VIRT_E_INVALID] = 400,
                [VIRT_E_FAILED] = 409,  [VIRT_E_UNREACHABLE] = 503, [VIRT_E_TIMEOUT] = 504,
        };
        int code = call->outcome > 0 && call->outcome < (int)G_N_ELEMENTS(codes) ? codes[call->outcome] : 500;
        bool silent = call->outcome == VIRT_E_STATE || call->outcome == VIRT_E_TIMEOUT;
        g_autofree char *words = g_strconcat(call->error.words, silent ? ADVICE : NULL, NULL);

        refuse(call, code ?: 500, call->error.reason, words);
}

/* --- freezing, on the loop and a pool thread -------------------------------------------------------------------------------------
 */

static int step_freeze(struct guest_call *call)
{
        int64_t n = 0;
        int r = guest_freeze(call->agent->virt, call->uuid, FREEZE_ANSWER_S, &n, &call->error);

        if (!r) {
                json_set_int(call->answer, begin_answer(call), "filesystems", n);
        }
        return r;
}

static int step_thaw(struct guest_call *call)
{
        int r = guest_thaw(call->agent->virt, call->uuid, ANSWER_S, &call->error);

        if (!r) {
                begin_answer(call);
        }
        return r;
}

static bool begin_freeze(struct guest_call *call)
{
        int64_t seconds = 0;
        int r;

        if (json_int64(json_get(json_root(call->order), "seconds"), &seconds) || seconds < 1 || seconds > LIMIT_GUEST_FREEZE_S) {
                refuse(call, 400, REASON_VALIDATION_FAILED, "it is not said for how long");
                return false;
        }
        r = frozen_begin(call->agent->frozen, call->uuid, (uint64_t)seconds);
        if (r == -EALREADY) {
                refuse(call, 409, "Conflict", "the guest is frozen already");
        } else if (r < 0) {
                log_warning("a guest cannot be frozen, because nobody would thaw it", "uuid", call->uuid, "error", g_strerror(-r));
                refuse(call, 500, "InternalError", "the agent of the host cannot see to it that the guest is thawed again");
        }
        return r == 0;
}

/* One that failed may have frozen the guest all the same. */
static void end_freeze(struct guest_call *call)
{
        if (call->outcome == VIRT_E_STATE || call->outcome == VIRT_E_MISSING) {
                frozen_end(call->agent->frozen, call->uuid); /* it was not told */
        } else if (call->outcome) {
                frozen_thaw_soon(call->agent->frozen, call->uuid);
        }
}

static void end_thaw(struct guest_call *call)
{
        if (!call->outcome) {
                frozen_end(call->agent->frozen, call->uuid);
        }
}

static bool begin_usages(struct guest_call *call)
{
        g_autoptr(GPtrArray) instances = intents_list(call->agent->intents, &api_instance_kind);

        call->domains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        for (unsigned i = 0; i < instances->len; i++) {
                const struct intent *instance = instances->pdata[i];
                const struct api_instance *view = instance->doc->view;
                const char *uuid = instance->status ? json_find_string(json_root(instance->status), "domainUuid", NULL) : NULL;

                if (uuid && view->spec->machine) {
                        g_hash_table_insert(call->domains, g_strdup(view->spec->machine->uid), g_strdup(uuid));
                }
        }
        return true;
}

static const struct call_kind kinds[] = {
        {.name = "exec", .step = step_exec},
        {.name = "freeze",
         .step = step_freeze,
         .begin = begin_freeze,
         .end = end_freeze,
         .patience_us = FREEZE_ANSWER_S * 1000000ull},
        {.name = "host-usage", .step = step_usage, .of_host = true},
        {.name = "info", .step = step_info},
        {.name = "password", .step = step_password},
        {.name = "screenshot", .step = step_screenshot, .of_libvirt = true},
        {.name = "thaw", .step = step_thaw, .end = end_thaw},
        {.name = "usage", .step = step_usage, .of_libvirt = true},
        {.name = "usages", .step = step_usages, .begin = begin_usages, .of_host = true},
};

/* --- steps, on the loop ----------------------------------------------------------------------------------------------------------
 */

static int step_work(void *userdata)
{
        struct guest_call *call = userdata;

        call->again_us = 0;
        call->outcome = call->kind->step(call);
        return 0;
}

static void step_done(int result, void *userdata)
{
        struct guest_call *call = userdata;

        call->working = false;
        if (call->owner && result == 0 && call->kind->end && !call->again_us) {
                call->kind->end(call);
        }
        if (call->ws && (result < 0 || !call->owner)) {
                refuse(call, 503, REASON_AGENT_STOPPING, "the agent of the host stops");
        } else if (result == 0 && ((call->ws && call->again_us && !call->outcome) || must_go_on(call))) {
                loop_timer_set(call->timer, call->again_us);
        } else if (call->ws && call->outcome) {
                refuse_outcome(call);
        } else if (call->ws) {
                send_answer(call);
        }
        release(call);
}

static void on_timer(struct loop_source *source, void *userdata)
{
        struct guest_call *call = userdata;

        call->working = true;
        lanes_submit(call->agent->lanes,
                     &(struct lanes_job){.guest = call->kind->of_host || call->kind->of_libvirt ? NULL : call->uuid,
                                         .patience_us = call->kind->patience_us ?: PATIENCE_US,
                                         .work = step_work,
                                         .done = step_done,
                                         .userdata = call});
}

static const char *find_domain(struct agent *agent, const char *machine_uid)
{
        g_autoptr(GPtrArray) instances = intents_list(agent->intents, &api_instance_kind);

        for (unsigned i = 0; i < instances->len; i++) {
                const struct intent *instance = instances->pdata[i];
                const struct api_instance *view = instance->doc->view;

                if (view->spec->machine && g_strcmp0(view->spec->machine->uid, machine_uid) == 0 && instance->status) {
                        return json_find_string(json_root(instance->status), "domainUuid", NULL);
                }
        }
        return NULL;
}

/* Orders that were taken up, of a machine or ("") of the host. */
static unsigned count_of(const struct guest_calls *calls, const char *machine_uid)
{
        unsigned n = 0;

        for (unsigned i = 0; i < calls->calls->len; i++) {
                const struct guest_call *call = calls->calls->pdata[i];

                n += call->kind && g_str_equal(call->machine_uid, machine_uid);
        }
        return n;
}

static void begin(struct guest_call *call, const char *data, size_t len)
{
        struct agent *agent = call->agent;
        const char *uuid = find_domain(agent, call->machine_uid), *name;

        if (json_parse(data, len, &call->order, NULL)) {
                refuse(call, 400, REASON_VALIDATION_FAILED, "the order is no JSON");
                return;
        }
        name = json_find_string(json_root(call->order), "call", NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
                if (g_strcmp0(name, kinds[i].name) == 0) {
                        call->kind = &kinds[i];
                }
        }
        if (!call->kind) {
                refuse(call, 501, REASON_PROTOCOL_MISMATCH,
                       "the agent of the host does not know this order; it is older than the gateway");
        } else if (!agent->virt || (!uuid && !call->kind->of_host && (!agent->synced || agent->adopting > 0))) {
                refuse(call, 503, REASON_AGENT_NOT_READY,
                       "the agent of the host has begun just now and has not looked at the machine yet; try again in some seconds");
        } else if (!uuid && !call->kind->of_host) {
                refuse(call, 409, REASON_AGENT_NOT_READY, "the machine does not run on this host");
        } else if (count_of(call->owner, call->machine_uid) >= LIMIT_GUEST_CALLS_PER_MACHINE + 1) {
                refuse(call, 429, "TooManyRequests", "too much is asked of this guest at once");
        } else {
                call->uuid = g_strdup(uuid);
                if (!call->kind->begin || call->kind->begin(call)) {
                        loop_timer_set(call->timer, 0);
                }
        }
}

/* --- the stream ------------------------------------------------------------------------------------------------------------------
 */

static void on_message(struct http_ws *ws, bool binary, const char *data, size_t len, void *userdata)
{
        struct guest_call *call = userdata;

        if (!call->order && call->owner) {
                begin(call, data, len);
        }
}

static void on_close(struct http_ws *ws, unsigned code, const char *reason, void *userdata)
{
        struct guest_call *call = userdata;

        call->ws = NULL;
        release(call);
}

static const struct http_ws_handlers handlers = {.on_message = on_message, .on_close = on_close};

void guest_calls_open(struct guest_calls *calls, const char *nonce, const char *machine_uid)
{
        struct agent *agent = calls->agent;
        g_autofree char *path = g_strconcat("/agent/v1/calls/", nonce, NULL);
        struct guest_call *call;

        if (!uuid_valid(nonce) || calls->calls->len >= LIMIT_GUEST_CALLS) {
                log_warning("an order for a guest was announced and cannot be taken", "machine", machine_uid);
                return;
        }
        call = g_new0(struct guest_call, 1);
        call->owner = calls;
        call->agent = agent;
        call->usage = calls->usage;
        call->machine_uid = g_strdup(machine_uid);
        if (loop_timer(agent->loop, UINT64_MAX, on_timer, call, &call->timer) < 0 ||
            gateway_dial(agent->gateway, path, &handlers, call, &call->ws) < 0) {
                log_warning("the stream of an order for a guest could not be dialled", "machine", machine_uid);
                call_free(call);
                return;
        }
        g_ptr_array_add(calls->calls, call);
}

int guest_calls_new(struct agent *agent, struct guest_calls **ret_calls)
{
        struct guest_calls *calls = g_new0(struct guest_calls, 1);

        calls->agent = agent;
        calls->calls = g_ptr_array_new();
        calls->usage = usage_new();
        *ret_calls = calls;
        return 0;
}

struct guest_calls *guest_calls_free(struct guest_calls *calls)
{
        if (!calls) {
                return NULL;
        }
        for (unsigned i = 0; i < calls->calls->len; i++) {
                struct guest_call *call = calls->calls->pdata[i];

                call->owner = NULL;
                call->timer = loop_source_free(call->timer);
                if (call->ws) {
                        http_ws_close(call->ws, CLOSE_NORMAL, "the agent stops");
                } else {
                        call_free(call);
                }
        }
        usage_free(calls->usage);
        g_ptr_array_unref(calls->calls);
        g_free(calls);
        return NULL;
}
