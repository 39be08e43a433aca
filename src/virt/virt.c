/* SPDX-License-Identifier: Apache-2.0 */
#include "virt/virt.h"

#include "base/error.h"
#include "virt/virt_internal.h"

#include <string.h>

#define KEEPALIVE_S     5
#define KEEPALIVE_COUNT 3
#define OPEN_TIMEOUT_US 5000000ull
#define IDLE_MAX        8

static const char *const virt_event_names[VIRT_EVENT_COUNT] = {
        [VIRT_EVENT_LIFECYCLE] = "lifecycle",
        [VIRT_EVENT_REBOOT] = "reboot",
        [VIRT_EVENT_AGENT] = "agent",
        [VIRT_EVENT_DISK] = "disk",
        [VIRT_EVENT_DEVICE] = "device",
        [VIRT_EVENT_TUNED] = "tuned",
        [VIRT_EVENT_DISCONNECTED] = "disconnected",
};
ENUM_TABLE(virt_event, virt_event_names)

static const int subscribed[] = {
        VIR_DOMAIN_EVENT_ID_LIFECYCLE,       VIR_DOMAIN_EVENT_ID_REBOOT,          VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
        VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
        VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,  VIR_DOMAIN_EVENT_ID_TUNABLE,
};

/* What libvirt's callbacks of one connection hold: alive as long as libvirt may call, silent once the connection was replaced. */
struct watcher {
        gatomicrefcount refs;
        GMutex lock;
        struct virt *virt; /* NULL: silent */
        int dead;          /* the connection was lost; atomic */
};

struct role_state {
        virConnectPtr connection;
        struct watcher *watcher;
        int callbacks[G_N_ELEMENTS(subscribed)]; /* -1: not subscribed */
        bool hung, probing;
};

struct virt {
        char *uri;
        unsigned keepalive_interval_s, keepalive_count;
        GMutex lock; /* roles */
        struct role_state roles[VIRT_ROLE_COUNT];
        GMutex reconnecting; /* one virt_reconnect() at a time */
        GQueue idle;         /* connections that no call uses now; under leases_lock */
        virt_event_fn fn;
        void *userdata;
};

/* --- a call on a thread of its own, waited for only so long
 * ------------------------------------------------------------------------- */

/* How many calls of virConnectOpen() have been given up and not come back, by URI: while one has not, the next would hang as well.
 */
static GMutex given_up_lock;
static GHashTable *given_up;

static unsigned count_given_up(const char *uri, int change)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&given_up_lock);
        unsigned n;

        if (!given_up)
                given_up = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        n = GPOINTER_TO_UINT(g_hash_table_lookup(given_up, uri)) + (unsigned)change;
        if (change && n)
                g_hash_table_insert(given_up, g_strdup(uri), GUINT_TO_POINTER(n));
        else if (change)
                g_hash_table_remove(given_up, uri);
        return n;
}

struct bounded {
        gatomicrefcount refs;
        GMutex lock;
        GCond ended;
        bool done, abandoned;
        int result;
        struct virt_error error;
        void (*work)(struct bounded *call);
        char *uri;                /* open: in */
        virConnectPtr connection; /* open: out; probe: in, with a reference */
};

static void bounded_unref(struct bounded *call)
{
        if (!g_atomic_ref_count_dec(&call->refs))
                return;
        if (call->connection)
                virConnectClose(call->connection);
        g_mutex_clear(&call->lock);
        g_cond_clear(&call->ended);
        g_free(call->uri);
        g_free(call);
}

static struct bounded *bounded_new(void (*work)(struct bounded *call))
{
        struct bounded *call = g_new0(struct bounded, 1);

        g_atomic_ref_count_init(&call->refs);
        g_mutex_init(&call->lock);
        g_cond_init(&call->ended);
        call->work = work;
        return call;
}

static void *bounded_main(void *userdata)
{
        struct bounded *call = userdata;

        call->work(call);
        g_mutex_lock(&call->lock);
        call->done = true;
        if (call->abandoned && call->uri)
                count_given_up(call->uri, -1);
        g_cond_signal(&call->ended);
        g_mutex_unlock(&call->lock);
        bounded_unref(call);
        return NULL;
}

/* Whether it ended in time; afterwards the caller still owns its reference. */
static bool bounded_run(struct bounded *call, uint64_t timeout_us)
{
        gint64 deadline = g_get_monotonic_time() + (gint64)timeout_us;
        bool done;

        g_atomic_ref_count_inc(&call->refs);
        g_thread_unref(g_thread_new("libvirt-call", bounded_main, call));
        g_mutex_lock(&call->lock);
        while (!call->done && g_cond_wait_until(&call->ended, &call->lock, deadline))
                ;
        done = call->done;
        call->abandoned = !done;
        if (call->abandoned && call->uri)
                count_given_up(call->uri, 1);
        g_mutex_unlock(&call->lock);
        return done;
}

static void work_open(struct bounded *call)
{
        call->connection = virConnectOpen(call->uri);
        if (!call->connection)
                call->result = virt_fail(&call->error, "LibvirtUnreachable");
}

static void work_probe(struct bounded *call)
{
        unsigned long version;

        if (virConnectGetLibVersion(call->connection, &version) < 0)
                call->result = virt_fail(&call->error, "LibvirtUnreachable");
}

static int open_bounded(const char *uri, virConnectPtr *ret_connection, struct virt_error *reterr)
{
        struct bounded *call;
        int r;

        if (count_given_up(uri, 0))
                return virt_say(reterr, VIRT_E_UNREACHABLE, "LibvirtUnreachable", "%s does not answer", uri);
        call = bounded_new(work_open);
        call->uri = g_strdup(uri);
        if (!bounded_run(call, OPEN_TIMEOUT_US)) {
                r = virt_say(reterr, VIRT_E_UNREACHABLE, "LibvirtUnreachable", "%s does not answer", uri);
        } else {
                r = call->result;
                if (r)
                        *reterr = call->error;
                else
                        *ret_connection = g_steal_pointer(&call->connection);
        }
        bounded_unref(call);
        return r;
}

/* --- events
 * ----------------------------------------------------------------------------------------------------------------------------- */

static void watcher_unref(void *userdata)
{
        struct watcher *watcher = userdata;

        if (!g_atomic_ref_count_dec(&watcher->refs))
                return;
        g_mutex_clear(&watcher->lock);
        g_free(watcher);
}

static struct watcher *watcher_new(struct virt *virt)
{
        struct watcher *watcher = g_new0(struct watcher, 1);

        g_atomic_ref_count_init(&watcher->refs);
        g_mutex_init(&watcher->lock);
        watcher->virt = virt;
        return watcher;
}

static struct watcher *watcher_ref(struct watcher *watcher)
{
        g_atomic_ref_count_inc(&watcher->refs);
        return watcher;
}

static void watcher_silence(struct watcher *watcher)
{
        g_mutex_lock(&watcher->lock);
        watcher->virt = NULL;
        g_mutex_unlock(&watcher->lock);
}

static void tell(struct watcher *watcher, enum virt_event event, virDomainPtr domain)
{
        char uuid[VIR_UUID_STRING_BUFLEN] = "";

        if (domain && virDomainGetUUIDString(domain, uuid) < 0)
                return;
        g_mutex_lock(&watcher->lock);
        if (watcher->virt && watcher->virt->fn)
                watcher->virt->fn(event, domain ? uuid : NULL, watcher->virt->userdata);
        g_mutex_unlock(&watcher->lock);
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *userdata)
{
        tell(userdata, VIRT_EVENT_LIFECYCLE, domain);
        return 0;
}

static void on_reboot(virConnectPtr connection, virDomainPtr domain, void *userdata)
{
        tell(userdata, VIRT_EVENT_REBOOT, domain);
}

static void on_agent(virConnectPtr connection, virDomainPtr domain, int state, int reason, void *userdata)
{
        tell(userdata, VIRT_EVENT_AGENT, domain);
}

static void on_threshold(virConnectPtr connection, virDomainPtr domain, const char *device, const char *path,
                         unsigned long long threshold, unsigned long long excess, void *userdata)
{
        tell(userdata, VIRT_EVENT_DISK, domain);
}

static void on_io_error(virConnectPtr connection, virDomainPtr domain, const char *path, const char *alias, int action,
                        const char *reason, void *userdata)
{
        tell(userdata, VIRT_EVENT_DISK, domain);
}

static void on_device(virConnectPtr connection, virDomainPtr domain, const char *alias, void *userdata)
{
        tell(userdata, VIRT_EVENT_DEVICE, domain);
}

static void on_tuned(virConnectPtr connection, virDomainPtr domain, virTypedParameterPtr params, int n, void *userdata)
{
        tell(userdata, VIRT_EVENT_TUNED, domain);
}

static const virConnectDomainEventGenericCallback handlers[G_N_ELEMENTS(subscribed)] = {
        VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), VIR_DOMAIN_EVENT_CALLBACK(on_reboot),   VIR_DOMAIN_EVENT_CALLBACK(on_agent),
        VIR_DOMAIN_EVENT_CALLBACK(on_threshold), VIR_DOMAIN_EVENT_CALLBACK(on_io_error), VIR_DOMAIN_EVENT_CALLBACK(on_device),
        VIR_DOMAIN_EVENT_CALLBACK(on_device),    VIR_DOMAIN_EVENT_CALLBACK(on_tuned),
};

static void on_close(virConnectPtr connection, int reason, void *userdata)
{
        struct watcher *watcher = userdata;

        g_atomic_int_set(&watcher->dead, 1);
        tell(watcher, VIRT_EVENT_DISCONNECTED, NULL);
}

/* With the lock of the struct virt held, or on a copy. */
static bool is_usable(const struct role_state *state)
{
        return state->connection && !state->hung && !g_atomic_int_get(&state->watcher->dead);
}

static int subscribe(struct role_state *state, struct virt_error *reterr)
{
        for (size_t i = 0; i < G_N_ELEMENTS(subscribed); i++) {
                state->callbacks[i] = virConnectDomainEventRegisterAny(state->connection, NULL, subscribed[i], handlers[i],
                                                                       watcher_ref(state->watcher), watcher_unref);
                if (state->callbacks[i] < 0) {
                        watcher_unref(state->watcher);
                        return virt_fail(reterr, "LibvirtUnreachable");
                }
        }
        return 0;
}

/* --- life of a connection
 * ---------------------------------------------------------------------------------------------------------------- */

static void *let_go_main(void *userdata)
{
        struct role_state *old = userdata;

        for (size_t i = 0; i < G_N_ELEMENTS(subscribed); i++)
                if (old->callbacks[i] >= 0)
                        virConnectDomainEventDeregisterAny(old->connection, old->callbacks[i]);
        virConnectUnregisterCloseCallback(old->connection, on_close);
        virConnectClose(old->connection);
        watcher_unref(old->watcher);
        g_free(old);
        return NULL;
}

/* Silence and close what @state holds; on a thread of its own when the other side may not answer. */
static void let_go(struct role_state *state)
{
        struct role_state *old;
        bool wait = !state->hung;

        if (!state->connection)
                return;
        watcher_silence(state->watcher);
        old = g_memdup2(state, sizeof(*state));
        *state = (struct role_state){};
        if (wait)
                let_go_main(old);
        else
                g_thread_unref(g_thread_new("libvirt-close", let_go_main, old));
}

/* The test driver lives in this process: it cannot be lost, and what it is given as a close callback it silently forgets. */
static void watch(struct virt *virt, struct role_state *state)
{
        if (virt_is_test(virt))
                return;
        (void)virConnectSetKeepAlive(state->connection, (int)virt->keepalive_interval_s, virt->keepalive_count);
        if (virConnectRegisterCloseCallback(state->connection, on_close, watcher_ref(state->watcher), watcher_unref) < 0)
                watcher_unref(state->watcher);
}

/* A fresh connection in @ret_state, subscribed when it is the one for events. */
static int connect_role(struct virt *virt, enum virt_role role, struct role_state *ret_state, struct virt_error *reterr)
{
        struct role_state state = {};
        int r;

        memset(state.callbacks, 0xff, sizeof(state.callbacks));
        r = open_bounded(virt->uri, &state.connection, reterr);
        if (r)
                return r;
        state.watcher = watcher_new(virt);
        watch(virt, &state);
        if (role == VIRT_EVENTS && virt->fn) {
                r = subscribe(&state, reterr);
                if (r) {
                        let_go(&state);
                        return r;
                }
        }
        *ret_state = state;
        return 0;
}

/* --- connections for calls
 * ------------------------------------------------------------------------------------------------------------------
 *
 * libvirt before 10.4 loses memory of its own when two threads call on one connection (CVE-2024-4418), most of all when the other
 * side hangs: every call has a connection to itself, and the three that are watched only carry events and probes.
 */

static GMutex leases_lock;
static GHashTable *leases; /* connection -> its struct virt, NULL when that is closed */

/* One that nobody uses, or NULL. */
static virConnectPtr take_idle(struct virt *virt)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&leases_lock);
        virConnectPtr connection;

        while ((connection = g_queue_pop_head(&virt->idle)) && virConnectIsAlive(connection) != 1)
                virConnectClose(connection);
        return connection;
}

static void drop_idle(struct virt *virt)
{
        GQueue idle = G_QUEUE_INIT;
        virConnectPtr connection;

        g_mutex_lock(&leases_lock);
        idle = virt->idle;
        virt->idle = (GQueue)G_QUEUE_INIT;
        g_mutex_unlock(&leases_lock);
        while ((connection = g_queue_pop_head(&idle)))
                virConnectClose(connection);
}

static virConnectPtr lease(struct virt *virt, struct virt_error *reterr)
{
        virConnectPtr connection = take_idle(virt);

        if (!connection && virt_open_more(virt, &connection, reterr))
                return NULL;
        g_mutex_lock(&leases_lock);
        if (!leases)
                leases = g_hash_table_new(NULL, NULL);
        g_hash_table_insert(leases, connection, virt);
        g_mutex_unlock(&leases_lock);
        return connection;
}

/* Calls that are still under way when @virt is closed must not give back to it. */
static void disown_leases(struct virt *virt)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&leases_lock);
        GHashTableIter iter;
        void *owner;

        if (!leases)
                return;
        g_hash_table_iter_init(&iter, leases);
        while (g_hash_table_iter_next(&iter, NULL, &owner))
                if (owner == virt)
                        g_hash_table_iter_replace(&iter, NULL);
}

void virt_unuse(virConnectPtr connection)
{
        struct virt *virt = NULL;
        void *owner;
        bool keep;

        g_mutex_lock(&leases_lock);
        if (leases && g_hash_table_steal_extended(leases, connection, NULL, &owner))
                virt = owner;
        keep = virt && virConnectIsAlive(connection) == 1 && g_queue_get_length(&virt->idle) < IDLE_MAX;
        if (keep)
                g_queue_push_head(&virt->idle, connection);
        g_mutex_unlock(&leases_lock);
        if (!keep)
                virConnectClose(connection);
}

/* --- the whole
 * -------------------------------------------------------------------------------------------------------------------------------
 */

int virt_open(const struct virt_options *options, struct virt **ret_virt, struct virt_error *reterr)
{
        g_autoptr(virt) virt = NULL;
        int r;

        assert(options && options->uri && ret_virt && reterr);

        r = virt_event_loop_start(reterr);
        if (r)
                return r;
        virt = g_new0(struct virt, 1);
        virt->uri = g_strdup(options->uri);
        virt->keepalive_interval_s = options->keepalive_interval_s ? options->keepalive_interval_s : KEEPALIVE_S;
        virt->keepalive_count = options->keepalive_count ? options->keepalive_count : KEEPALIVE_COUNT;
        g_mutex_init(&virt->lock);
        g_mutex_init(&virt->reconnecting);
        for (enum virt_role role = 0; role < VIRT_ROLE_COUNT; role++) {
                r = connect_role(virt, role, &virt->roles[role], reterr);
                if (r)
                        return r;
        }
        *ret_virt = g_steal_pointer(&virt);
        return 0;
}

struct virt *virt_close(struct virt *virt)
{
        if (!virt)
                return NULL;
        disown_leases(virt);
        drop_idle(virt);
        for (enum virt_role role = 0; role < VIRT_ROLE_COUNT; role++)
                let_go(&virt->roles[role]);
        g_mutex_clear(&virt->lock);
        g_mutex_clear(&virt->reconnecting);
        g_free(virt->uri);
        g_free(virt);
        return NULL;
}

const char *virt_uri(const struct virt *virt)
{
        assert(virt);
        return virt->uri;
}

bool virt_is_test(const struct virt *virt)
{
        assert(virt);
        return g_str_has_prefix(virt->uri, "test:") || g_str_has_prefix(virt->uri, "test+");
}

/* The watched connection of @role with a reference of the caller, or NULL. */
static virConnectPtr watched(struct virt *virt, enum virt_role role, struct virt_error *reterr)
{
        virConnectPtr connection = NULL;

        assert(virt && role < VIRT_ROLE_COUNT && reterr);

        g_mutex_lock(&virt->lock);
        if (is_usable(&virt->roles[role])) {
                connection = virt->roles[role].connection;
                virConnectRef(connection);
        }
        g_mutex_unlock(&virt->lock);
        if (!connection)
                virt_say(reterr, VIRT_E_UNREACHABLE, "LibvirtUnreachable", "the connection to %s is lost", virt->uri);
        return connection;
}

virConnectPtr virt_use(struct virt *virt, enum virt_role role, struct virt_error *reterr)
{
        virConnectPtr connection = watched(virt, role, reterr);

        /* The test driver is part of this process. */
        if (!connection || virt_is_test(virt))
                return connection;
        virConnectClose(connection);
        return lease(virt, reterr);
}

int virt_open_more(struct virt *virt, virConnectPtr *ret_connection, struct virt_error *reterr)
{
        int r;

        assert(virt && ret_connection && reterr);

        r = open_bounded(virt->uri, ret_connection, reterr);
        if (!r)
                (void)virConnectSetKeepAlive(*ret_connection, (int)virt->keepalive_interval_s, virt->keepalive_count);
        return r;
}

int virt_open_at(const char *uri, virConnectPtr *ret_connection, struct virt_error *reterr)
{
        int r;

        assert(uri && ret_connection && reterr);

        r = virt_event_loop_start(reterr);
        if (!r)
                r = open_bounded(uri, ret_connection, reterr);
        if (!r)
                (void)virConnectSetKeepAlive(*ret_connection, KEEPALIVE_S, KEEPALIVE_COUNT);
        return r;
}

int virt_reach(const char *uri, struct virt_error *reterr)
{
        virConnectPtr connection = NULL;
        int r;

        assert(uri && reterr);

        r = virt_event_loop_start(reterr);
        if (!r)
                r = open_bounded(uri, &connection, reterr);
        if (connection)
                virConnectClose(connection);
        return r;
}

/* --- health
 * --------------------------------------------------------------------------------------------------------------------------------
 */

/* Mark the probe's outcome on the role, unless the connection was replaced meanwhile. */
static void note_health(struct virt *virt, enum virt_role role, virConnectPtr connection, enum virt_health health)
{
        struct role_state *state = &virt->roles[role];

        g_mutex_lock(&virt->lock);
        if (state->connection == connection) {
                state->probing = false;
                if (health == VIRT_DEAD)
                        g_atomic_int_set(&state->watcher->dead, 1);
                state->hung |= health == VIRT_HUNG;
        }
        g_mutex_unlock(&virt->lock);
}

enum virt_health virt_probe(struct virt *virt, enum virt_role role, uint64_t timeout_us, struct virt_error *reterr)
{
        virConnectPtr connection = watched(virt, role, reterr);
        enum virt_health health = VIRT_HEALTHY;
        struct bounded *call;
        bool busy;

        if (!connection)
                return VIRT_DEAD;
        g_mutex_lock(&virt->lock);
        busy = virt->roles[role].probing;
        virt->roles[role].probing = true;
        g_mutex_unlock(&virt->lock);
        if (busy) {
                virConnectClose(connection);
                return VIRT_HEALTHY; /* the other one will tell */
        }
        call = bounded_new(work_probe);
        call->connection = connection;
        if (!bounded_run(call, timeout_us)) {
                health = VIRT_HUNG;
                virt_say(reterr, VIRT_E_UNREACHABLE, "LibvirtUnreachable", "%s does not answer", virt->uri);
        } else if (call->result) {
                health = VIRT_DEAD;
                *reterr = call->error;
        }
        note_health(virt, role, connection, health);
        bounded_unref(call);
        return health;
}

static int reconnect_role(struct virt *virt, enum virt_role role, struct virt_error *reterr)
{
        struct role_state fresh = {}, old;
        bool needed;
        int r;

        g_mutex_lock(&virt->lock);
        old = virt->roles[role];
        g_mutex_unlock(&virt->lock);
        needed = !is_usable(&old) || virConnectIsAlive(old.connection) == 0;
        if (!needed)
                return 0;
        r = connect_role(virt, role, &fresh, reterr);
        if (r)
                return r;
        g_mutex_lock(&virt->lock);
        old = virt->roles[role];
        virt->roles[role] = fresh;
        g_mutex_unlock(&virt->lock);
        let_go(&old);
        return 0;
}

int virt_reconnect(struct virt *virt, struct virt_error *reterr)
{
        int r = 0;

        assert(virt && reterr);

        g_mutex_lock(&virt->reconnecting);
        for (enum virt_role role = 0; role < VIRT_ROLE_COUNT && !r; role++)
                r = reconnect_role(virt, role, reterr);
        g_mutex_unlock(&virt->reconnecting);
        return r;
}

int virt_events_start(struct virt *virt, virt_event_fn fn, void *userdata, struct virt_error *reterr)
{
        struct role_state *state = &virt->roles[VIRT_EVENTS];
        int r;

        assert(virt && fn && !virt->fn && reterr);

        for (enum virt_role role = 0; role < VIRT_ROLE_COUNT; role++)
                g_mutex_lock(&virt->roles[role].watcher->lock);
        virt->userdata = userdata;
        virt->fn = fn;
        for (enum virt_role role = 0; role < VIRT_ROLE_COUNT; role++)
                g_mutex_unlock(&virt->roles[role].watcher->lock);
        r = subscribe(state, reterr);
        if (r)
                g_atomic_int_set(&state->watcher->dead, 1); /* a new connection will be subscribed */
        return r;
}
