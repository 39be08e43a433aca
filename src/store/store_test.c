/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/limits.h"
#include "generated/api_types.h"
#include "store/delta.h"
#include "store/world_test.h"

#include <string.h>

/* One table of behaviours, run over both drivers. */

#define MAPS   (&api_config_map_kind)
#define LEASES (&api_lease_kind)

static void create_assigns_revisions_and_stamps_them(struct world *w)
{
        autostoreobject object = NULL;

        g_assert_cmpuint(store_revision(w->store), ==, 1);
        g_assert_cmpuint(world_create(w, MAPS, "ns", "a", "one"), ==, 2);
        object = store_get(w->store, MAPS, "ns", "a");
        g_assert_cmpstr(object->key, ==, "configmaps./ns/a");
        g_assert_cmpstr(object->namespace, ==, "ns");
        g_assert_cmpstr(object->name, ==, "a");
        g_assert_cmpstr(object->uid, ==, "uid-a");
        g_assert_cmpuint(object->revision, ==, 2);
        g_assert_cmpuint(object->created_revision, ==, 2);
        g_assert_cmpstr(json_find_string(object->root, "metadata", "resourceVersion", NULL), ==, "2");
        g_assert_nonnull(strstr(object->bytes, "\"resourceVersion\":\"2\""));
        g_assert_cmpuint(object->len, ==, strlen(object->bytes));
}

static void cluster_scope_has_no_namespace(struct world *w)
{
        autostoreobject object = NULL;

        world_write(w, STORE_CREATE, &api_instance_kind, NULL, "i-1", world_instance("i-1", 1, 0));
        object = store_get(w->store, &api_instance_kind, NULL, "i-1");
        g_assert_cmpstr(object->key, ==, "instances.host.gabbro.dev/-/i-1");
        g_assert_null(object->namespace);
}

static void an_older_version_stays_valid_for_its_holder(struct world *w)
{
        autostoreobject first = NULL;
        autostoreobject second = NULL;

        world_create(w, MAPS, "ns", "a", "one");
        first = store_get(w->store, MAPS, "ns", "a");
        world_update(w, MAPS, "ns", "a", "two");
        second = store_get(w->store, MAPS, "ns", "a");
        g_assert_cmpstr(json_find_string(first->root, "data", "text", NULL), ==, "one");
        g_assert_cmpstr(json_find_string(second->root, "data", "text", NULL), ==, "two");
        g_assert_cmpuint(second->created_revision, ==, first->revision);
        world_delete(w, MAPS, "ns", "a");
        g_assert_cmpstr(json_find_string(second->root, "data", "text", NULL), ==, "two");
        g_assert_null(store_get(w->store, MAPS, "ns", "a"));
}

static void every_refusal_names_its_operation(struct world *w)
{
        const struct {
                enum store_verb verb;
                const char *name;
                uint64_t expect;
                int outcome;
        } cases[] = {
                {STORE_CREATE, "there", 0, STORE_E_EXISTS},     {STORE_UPDATE, "absent", 0, STORE_E_NOT_FOUND},
                {STORE_DELETE, "absent", 0, STORE_E_NOT_FOUND}, {STORE_UPDATE, "absent", 9, STORE_E_NOT_FOUND},
                {STORE_UPDATE, "there", 1, STORE_E_CONFLICT},   {STORE_DELETE, "there", 3, STORE_E_CONFLICT},
        };

        world_create(w, MAPS, "ns", "there", "one");
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct store_op ops[] = {
                        {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "new"},
                        {.verb = cases[i].verb, .kind = MAPS, .namespace = "ns", .name = cases[i].name},
                };
                struct world_result result;

                ops[0].doc = world_doc(MAPS, "ns", "new", "x");
                ops[1].expect_revision = cases[i].expect;
                if (cases[i].verb != STORE_DELETE)
                        ops[1].doc = world_doc(MAPS, "ns", cases[i].name, "x");
                result = world_commit(w, ops, 2, NULL, 0);
                g_assert_cmpint(result.outcome, ==, cases[i].outcome);
                g_assert_cmpuint(result.failed_op, ==, 1);
                g_assert_null(ops[0].doc);
        }
        g_assert_cmpuint(store_revision(w->store), ==, 2);
        g_assert_null(store_get_newest(w->store, MAPS, "ns", "new"));
}

static void checks_hold_or_refuse_the_whole_transaction(struct world *w)
{
        uint64_t a = world_create(w, MAPS, "ns", "a", "one");
        const struct {
                const char *name;
                uint64_t revision;
                int outcome;
        } cases[] = {
                {"a", a, 0}, {"a", a + 1, STORE_E_CONFLICT}, {"a", 0, STORE_E_CONFLICT}, {"b", 0, 0}, {"b", 4, STORE_E_CONFLICT}};

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct store_check checks[] = {{.kind = MAPS, .namespace = "ns", .name = "a", .revision = a},
                                               {.kind = MAPS, .namespace = "ns", .name = cases[i].name}};
                g_autofree char *name = g_strdup_printf("c%zu", i);
                struct store_op op = {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = name};
                struct world_result result;

                checks[1].revision = cases[i].revision;
                op.doc = world_doc(MAPS, "ns", name, "x");
                result = world_commit(w, &op, 1, checks, 2);
                g_assert_cmpint(result.outcome, ==, cases[i].outcome);
                if (result.outcome)
                        g_assert_cmpuint(result.failed_op, ==, 2);
                g_assert_cmpstr(world_text(w, MAPS, "ns", name), ==, result.outcome ? "-" : "x");
        }
}

static void operations_of_a_transaction_apply_in_order_with_consecutive_revisions(struct world *w)
{
        struct store_op ops[] = {
                {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "a", .doc = world_doc(MAPS, "ns", "a", "1")},
                {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "b", .doc = world_doc(MAPS, "ns", "b", "1")},
                {.verb = STORE_UPDATE, .kind = MAPS, .namespace = "ns", .name = "a", .doc = world_doc(MAPS, "ns", "a", "2")},
                {.verb = STORE_DELETE, .kind = MAPS, .namespace = "ns", .name = "b"},
                {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "b", .doc = world_doc(MAPS, "ns", "b", "3")},
        };
        struct store_watch *watch;
        struct world_result result;

        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        world_wait_trace(w, "=;");
        result = world_commit(w, ops, G_N_ELEMENTS(ops), NULL, 0);
        g_assert_cmpint(result.outcome, ==, 0);
        g_assert_cmpuint(result.n_objects, ==, 5);
        g_assert_cmpuint(result.revisions[3], ==, 3); /* the last version of what was deleted */
        g_assert_cmpuint(result.revisions[4], ==, 6);
        world_wait_trace(w, "=;C2 a=1;C3 b=1;U4 a=2;D5 b=1;C6 b=3;");
        g_assert_cmpstr(world_text(w, MAPS, "ns", "a"), ==, "2");
        g_assert_cmpstr(world_text(w, MAPS, "ns", "b"), ==, "3");
        store_watch_free(watch);
}

static void bounds_are_refused_in_words_of_their_own(struct world *w)
{
        g_autofree char *large = g_strnfill(LIMIT_OBJECT_BYTES, 'x');
        struct store_op op = {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "a"};
        struct store_op ops[LIMIT_STORE_TXN_OPS + 1];
        struct json_value *value;

        op.doc = world_doc(MAPS, "ns", "a", large);
        g_assert_cmpint(world_commit(w, &op, 1, NULL, 0).outcome, ==, STORE_E_TOO_LARGE);
        op.doc = world_doc(MAPS, "ns", "a", "x");
        value = json_root(op.doc);
        for (int i = 0; i < LIMIT_JSON_DEPTH; i++)
                value = json_ensure_object(op.doc, value, "deeper");
        g_assert_cmpint(world_commit(w, &op, 1, NULL, 0).outcome, ==, STORE_E_TOO_LARGE);
        for (size_t i = 0; i < G_N_ELEMENTS(ops); i++)
                ops[i] = (struct store_op){.verb = STORE_DELETE, .kind = MAPS, .namespace = "ns", .name = "a"};
        g_assert_cmpint(world_commit(w, ops, G_N_ELEMENTS(ops), NULL, 0).outcome, ==, -E2BIG);
        g_assert_cmpuint(store_revision(w->store), ==, 1);
}

/* --- acceptance before durability
 * -------------------------------------------------------------------------------------------------- */

struct pending {
        struct world *world;
        const char *name;
        bool done;
};

static void trace_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct pending *pending = userdata;

        g_assert_cmpint(result, ==, 0);
        pending->done = true;
        g_string_append_printf(pending->world->trace, "done %s at %" G_GUINT64_FORMAT ";", pending->name,
                               store_revision(pending->world->store));
}

static int submit(struct pending *pending, enum store_verb verb, const char *name, const char *text, uint64_t expect)
{
        struct store_op op = {.verb = verb, .kind = MAPS, .namespace = "ns", .name = name, .expect_revision = expect};
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        if (text)
                op.doc = world_doc(MAPS, "ns", name, text);
        return store_commit(pending->world->store, &txn, trace_done, pending, NULL);
}

static void conditions_look_at_the_newest_accepted_state(struct world *w)
{
        struct pending p[3] = {{w, "first", false}, {w, "second", false}, {w, "third", false}};
        autostoreobject newest = NULL;

        g_assert_cmpint(submit(&p[0], STORE_CREATE, "a", "1", 0), ==, 0);
        g_assert_null(store_get(w->store, MAPS, "ns", "a"));
        newest = store_get_newest(w->store, MAPS, "ns", "a");
        g_assert_cmpuint(newest->revision, ==, 2);
        g_assert_cmpint(submit(&p[1], STORE_CREATE, "a", "1", 0), ==, STORE_E_EXISTS);
        g_assert_cmpint(submit(&p[1], STORE_UPDATE, "a", "2", 2), ==, 0);
        g_assert_cmpint(submit(&p[2], STORE_UPDATE, "a", "3", 2), ==, STORE_E_CONFLICT);
        g_assert_cmpint(submit(&p[2], STORE_DELETE, "a", NULL, 3), ==, 0);
        g_assert_null(store_get_newest(w->store, MAPS, "ns", "a"));
        g_assert_cmpint(submit(&p[2], STORE_UPDATE, "a", "3", 0), ==, STORE_E_NOT_FOUND);
        g_assert_cmpuint(store_revision(w->store), ==, 1);
        world_run_until(w, &p[2].done);
        g_assert_cmpuint(store_revision(w->store), ==, 4);
        g_assert_null(store_get(w->store, MAPS, "ns", "a"));
}

static void publishing_watching_and_answering_go_in_order(struct world *w)
{
        struct pending p[3] = {{w, "x", false}, {w, "y", false}, {w, "z", false}};
        struct store_watch *watch;

        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        world_wait_trace(w, "=;");
        g_assert_cmpint(submit(&p[0], STORE_CREATE, "a", "1", 0), ==, 0);
        g_assert_cmpint(submit(&p[1], STORE_CREATE, "b", "1", 0), ==, 0);
        g_assert_cmpint(submit(&p[2], STORE_UPDATE, "a", "2", 0), ==, 0);
        g_assert_cmpstr(w->trace->str, ==, "=;");
        world_wait_trace(w, "=;C2 a=1;done x at 2;C3 b=1;done y at 3;U4 a=2;done z at 4;");
        store_watch_free(watch);
}

static void closing_completes_what_was_accepted(struct world *w)
{
        struct pending p[2] = {{w, "x", false}, {w, "y", false}};

        g_assert_cmpint(submit(&p[0], STORE_CREATE, "a", "1", 0), ==, 0);
        g_assert_cmpint(submit(&p[1], STORE_CREATE, "b", "1", 0), ==, 0);
        world_close(w);
        g_assert_cmpstr(w->trace->str, ==, "done x at 2;done y at 3;");
}

static void a_full_queue_says_busy_and_recovers(struct world *w)
{
        struct pending p = {w, "x", false}, last = {w, "last", false};
        unsigned accepted = 0;
        int r = 0;

        while (r == 0 && accepted <= LIMIT_STORE_QUEUE_OPS) {
                g_autofree char *name = g_strdup_printf("m%u", accepted);

                r = submit(&p, STORE_CREATE, name, "1", 0);
                accepted += r == 0;
        }
        g_assert_cmpint(r, ==, STORE_E_BUSY);
        g_assert_cmpuint(accepted, ==, LIMIT_STORE_QUEUE_OPS);
        while (store_revision(w->store) < 1 + accepted)
                g_assert_cmpint(loop_run_once(w->loop, WORLD_PATIENCE_US), >, 0);
        g_assert_cmpint(submit(&last, STORE_CREATE, "again", "1", 0), ==, 0);
        world_run_until(w, &last.done);
}

/* --- lists
 * ------------------------------------------------------------------------------------------------------------------------- */

struct listing {
        GString *text;
        unsigned limit;
        char *last_key;
};

static bool list_each(const struct store_object *object, void *userdata)
{
        struct listing *listing = userdata;

        g_assert_nonnull(object->root);
        g_string_append_printf(listing->text, "%s/%s ", object->namespace, object->name);
        g_free(listing->last_key);
        listing->last_key = g_strdup(object->key);
        return --listing->limit > 0;
}

static const char *list_text(struct world *w, const char *namespace, unsigned limit, char **key)
{
        struct listing listing = {.text = g_string_new(NULL), .limit = limit, .last_key = NULL};
        const char *interned;

        g_assert_cmpuint(store_list(w->store, MAPS, namespace, *key, list_each, &listing), ==, store_revision(w->store));
        interned = g_intern_string(listing.text->str);
        g_string_free(listing.text, TRUE);
        g_free(*key);
        *key = listing.last_key;
        return interned;
}

static void lists_are_in_key_order_and_can_be_continued(struct world *w)
{
        const char *const names[][2] = {{"ns", "b"}, {"ns-a", "a"}, {"ns", "a"},  {"ns", "c.d"},
                                        {"zz", "a"}, {"n", "x"},    {"ns", "c-d"}};
        g_autofree char *key = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                world_create(w, MAPS, names[i][0], names[i][1], "x");
        world_create(w, LEASES, "ns", "other", "x");
        g_assert_cmpstr(list_text(w, NULL, 99, &key), ==, "n/x ns-a/a ns/a ns/b ns/c-d ns/c.d zz/a ");
        g_clear_pointer(&key, g_free);
        g_assert_cmpstr(list_text(w, "ns", 99, &key), ==, "ns/a ns/b ns/c-d ns/c.d ");
        g_clear_pointer(&key, g_free);
        g_assert_cmpstr(list_text(w, "ns", 2, &key), ==, "ns/a ns/b ");
        world_delete(w, MAPS, "ns", "b"); /* the continuation does not need its key */
        g_assert_cmpstr(list_text(w, "ns", 2, &key), ==, "ns/c-d ns/c.d ");
        g_assert_cmpstr(list_text(w, "ns", 2, &key), ==, "");
        g_assert_cmpuint(store_count(w->store, MAPS, NULL), ==, 6);
        g_assert_cmpuint(store_count(w->store, MAPS, "ns"), ==, 3);
        g_assert_cmpuint(store_count(w->store, MAPS, "nobody"), ==, 0);
        g_assert_cmpuint(store_count(w->store, LEASES, NULL), ==, 1);
}

/* --- watches
 * ------------------------------------------------------------------------------------------------------------------------ */

static void a_watch_begins_behind_its_revision_and_goes_on(struct world *w)
{
        const struct schema_kind *const maps[] = {MAPS, NULL};
        struct store_watch *watch;
        uint64_t a = world_create(w, MAPS, "ns", "a", "1");

        world_create(w, LEASES, "ns", "l", "1");
        world_update(w, MAPS, "ns", "a", "2");
        world_delete(w, MAPS, "ns", "a");
        g_assert_cmpint(store_watch(w->store, maps, a, world_trace_event, w, &watch), ==, 0);
        g_assert_cmpstr(w->trace->str, ==, ""); /* not before the next iteration */
        world_wait_trace(w, "U4 a=2;D5 a=2;=;");
        world_create(w, LEASES, "ns", "m", "1");
        world_create(w, MAPS, "ns", "b", "1");
        world_wait_trace(w, "U4 a=2;D5 a=2;=;C7 b=1;");
        store_watch_free(watch);
        world_create(w, MAPS, "ns", "c", "1");
        g_assert_cmpstr(w->trace->str, ==, "U4 a=2;D5 a=2;=;C7 b=1;");
}

static void a_paused_watch_catches_up(struct world *w)
{
        struct store_watch *watch;

        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        world_wait_trace(w, "=;");
        world_create(w, MAPS, "ns", "a", "1");
        world_wait_trace(w, "=;C2 a=1;");
        store_watch_pause(watch, true);
        world_update(w, MAPS, "ns", "a", "2");
        world_update(w, MAPS, "ns", "a", "3");
        g_assert_cmpstr(w->trace->str, ==, "=;C2 a=1;");
        store_watch_pause(watch, false);
        world_wait_trace(w, "=;C2 a=1;U3 a=2;U4 a=3;=;");
        g_assert_false(store_watch_gone(watch));
        store_watch_free(watch);
}

struct pauser {
        struct world *world;
        struct store_watch *self, *other;
};

static void pause_both(const struct store_event *event, void *userdata)
{
        struct pauser *pauser = userdata;

        world_trace_event(event, pauser->world);
        if (event) {
                store_watch_pause(pauser->self, true);
                store_watch_pause(pauser->other, true);
        }
}

static void pausing_from_within_a_callback_loses_and_doubles_nothing(struct world *w)
{
        struct pauser first = {.world = w}, second = {.world = w};
        struct store_op ops[] = {
                {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "a", .doc = world_doc(MAPS, "ns", "a", "1")},
                {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "b", .doc = world_doc(MAPS, "ns", "b", "1")},
        };

        g_assert_cmpint(store_watch(w->store, NULL, 1, pause_both, &first, &first.self), ==, 0);
        g_assert_cmpint(store_watch(w->store, NULL, 1, pause_both, &second, &second.self), ==, 0);
        first.other = second.self;
        second.other = first.self;
        world_wait_trace(w, "=;=;");
        world_commit(w, ops, 2, NULL, 0);
        g_assert_cmpstr(w->trace->str, ==, "=;=;C2 a=1;");
        g_string_truncate(w->trace, 0);
        store_watch_pause(second.self, false);
        world_wait_trace(w, "C2 a=1;");
        store_watch_pause(second.self, false);
        world_wait_trace(w, "C2 a=1;C3 b=1;");
        store_watch_pause(second.self, false);
        world_wait_trace(w, "C2 a=1;C3 b=1;=;");
        g_string_truncate(w->trace, 0);
        store_watch_pause(first.self, false);
        world_wait_trace(w, "C3 b=1;");
        store_watch_free(first.self);
        store_watch_free(second.self);
}

static void free_both(const struct store_event *event, void *userdata)
{
        struct pauser *pauser = userdata;

        world_trace_event(event, pauser->world);
        if (event) {
                pauser->self = store_watch_free(pauser->self);
                pauser->other = store_watch_free(pauser->other);
        }
}

static void a_watch_may_end_itself_and_others_from_within_its_callback(struct world *w)
{
        struct pauser first = {.world = w};

        g_assert_cmpint(store_watch(w->store, NULL, 1, free_both, &first, &first.self), ==, 0);
        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &first.other), ==, 0);
        world_wait_trace(w, "=;=;");
        world_create(w, MAPS, "ns", "a", "1");
        world_create(w, MAPS, "ns", "b", "1");
        g_assert_cmpstr(w->trace->str, ==, "=;=;C2 a=1;");
}

static void what_fell_out_of_the_ring_is_gone(struct world *w)
{
        struct store_watch *paused, *late;
        const unsigned n = LIMIT_STORE_EVENT_RING_QUIET + 200;

        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &paused), ==, 0);
        store_watch_pause(paused, true);
        world_create(w, LEASES, "ns", "a", "0");
        for (unsigned i = 1; i < n; i += 10) {
                /* Old enough to leave a quiet ring. */
                w->now_us += LIMIT_STORE_EVENT_RING_QUIET_US;
                world_update_often(w, LEASES, "ns", "a", MIN(10, n - i));
        }
        g_assert_cmpuint(store_oldest_revision(w->store), ==, 1 + n - LIMIT_STORE_EVENT_RING_QUIET);
        g_assert_true(store_watch_gone(paused));
        store_watch_pause(paused, false);
        g_assert_cmpint(store_watch(w->store, NULL, store_oldest_revision(w->store) - 1, world_trace_event, w, &late), ==,
                        STORE_E_GONE);
        g_assert_cmpint(store_watch(w->store, NULL, store_revision(w->store), world_trace_event, w, &late), ==, 0);
        world_wait_trace(w, "=;"); /* of the late one alone */
        store_watch_free(paused);
        store_watch_free(late);
}

static void a_long_backlog_comes_whole_and_in_order(struct world *w)
{
        g_autoptr(GString) expect = g_string_new(NULL);
        struct store_watch *watch;

        for (unsigned i = 0; i < 13; i++) {
                struct store_op ops[LIMIT_STORE_TXN_OPS];

                for (unsigned k = 0; k < G_N_ELEMENTS(ops); k++) {
                        g_autofree char *text = g_strdup_printf("%u", i);
                        g_autofree char *own = g_strdup_printf("n%u", k);
                        const char *name = g_intern_string(own);

                        ops[k] = (struct store_op){.kind = MAPS, .namespace = "ns", .name = name};
                        ops[k].verb = i == 0 ? STORE_CREATE : STORE_UPDATE;
                        ops[k].doc = world_doc(MAPS, "ns", name, text);
                        g_string_append_printf(expect, "%c%u n%u=%u;", i == 0 ? 'C' : 'U', 2 + i * 100 + k, k, i);
                }
                g_assert_cmpint(world_commit(w, ops, G_N_ELEMENTS(ops), NULL, 0).outcome, ==, 0);
        }
        g_string_append(expect, "=;");
        g_assert_cmpint(store_watch(w->store, NULL, 1, world_trace_event, w, &watch), ==, 0);
        world_wait_trace(w, expect->str);
        store_watch_free(watch);
}

/* --- history
 * ------------------------------------------------------------------------------------------------------------------------ */

static void trace_history(const struct store_history_row *row, void *userdata)
{
        struct world *w = userdata;

        g_string_append_printf(w->trace, "%c%llu+%llu %s %s;", "CUD"[row->verb], (unsigned long long)row -> revision,
                               (unsigned long long)(row->time_us - WORLD_BEGIN_US), row -> uid, row -> delta ? row -> delta : "-");
        g_assert_cmpstr(row->user, ==, "alice");
        g_assert_cmpstr(row->client, ==, "127.0.0.1");
        g_assert_cmpstr(row->request_id, ==, "r1");
        g_assert_cmpstr(row->field_manager, ==, "test");
        g_assert_cmpstr(row->api_verb, ==, "patch");
}

static void history_tells_who_when_and_the_way_back(struct world *w)
{
        world_create(w, MAPS, "ns", "a", "1");
        world_update(w, MAPS, "ns", "a", "2");
        w->now_us += 1000;
        world_create(w, MAPS, "ns", "b", "1");
        world_delete(w, MAPS, "ns", "b");
        g_assert_cmpint(store_history(w->store, "configmaps./ns/a", 0, 10, trace_history, w), ==, 0);
        g_assert_cmpstr(w->trace->str, ==,
                        "U3+1 uid-a [{\"op\":\"replace\",\"path\":\"/metadata/resourceVersion\",\"value\":\"2\"},"
                        "{\"op\":\"replace\",\"path\":\"/data/text\",\"value\":\"1\"}];C2+0 uid-a -;");
        g_string_truncate(w->trace, 0);
        g_assert_cmpint(store_history(w->store, NULL, 0, 2, trace_history, w), ==, 0);
        g_assert_cmpstr(
                w->trace->str, ==,
                "D5+1001 uid-b [{\"op\":\"add\",\"path\":\"\",\"value\":{\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"ns\","
                "\"name\":\"b\",\"uid\":\"uid-b\",\"resourceVersion\":\"4\"},\"data\":{\"text\":\"1\"}}}];C4+1000 uid-b -;");
        g_string_truncate(w->trace, 0);
        g_assert_cmpint(store_history(w->store, NULL, 3, 10, trace_history, w), ==, 0);
        g_assert_cmpstr(w->trace->str, ==, "C2+0 uid-a -;");
}

struct times {
        uint64_t later;
        unsigned n;
};

static void expect_earlier(const struct store_history_row *row, void *userdata)
{
        struct times *times = userdata;

        g_assert_true(times->n == 0 || row->time_us < times->later);
        times->later = row->time_us;
        times->n++;
}

/* Also when the clock has moved on since the transaction before. */
static void rows_of_one_transaction_differ_in_time(struct world *w)
{
        static const char *const names[] = {"a", "b", "c"};
        struct store_op ops[G_N_ELEMENTS(names)];
        struct times times = {};

        world_create(w, MAPS, "ns", "first", "one");
        w->now_us += 60000000;
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                ops[i] = (struct store_op){.verb = STORE_CREATE,
                                           .kind = MAPS,
                                           .namespace = "ns",
                                           .name = names[i],
                                           .doc = world_doc(MAPS, "ns", names[i], "x")};
        g_assert_true(world_commit(w, ops, G_N_ELEMENTS(ops), NULL, 0).done);
        g_assert_cmpint(store_history(w->store, NULL, 0, 10, expect_earlier, &times), ==, 0);
        g_assert_cmpuint(times.n, ==, 4);
}

static bool count_object(const struct store_object *object, void *userdata)
{
        ++*(unsigned *)userdata;
        return true;
}

/* Whatever stands in a URL comes here: a namespace that no key can hold has nothing in it. */
static void names_too_long_for_a_key_are_absent(struct world *w)
{
        g_autofree char *longest = g_strnfill(5000, 'n');
        unsigned seen = 0;

        world_create(w, MAPS, "ns", "a", "one");
        for (size_t len = 640; len <= 5000; len = len < 760 ? len + 1 : len * 2) {
                g_autofree char *name = g_strndup(longest, len);

                g_assert_cmpuint(store_list(w->store, MAPS, name, NULL, count_object, &seen), ==, store_revision(w->store));
                g_assert_cmpuint(seen, ==, 0);
                g_assert_cmpuint(store_count(w->store, MAPS, name), ==, 0);
                g_assert_null(store_get(w->store, MAPS, name, "a"));
                g_assert_null(store_get(w->store, MAPS, "ns", name));
                g_assert_null(store_get_newest(w->store, MAPS, name, name));
        }
}

static void count_history(const struct store_history_row *row, void *userdata)
{
        ++*(unsigned *)userdata;
}

static void kinds_without_history_have_no_rows(struct world *w)
{
        unsigned n = 0;

        world_create(w, LEASES, "ns", "a", "1");
        world_update(w, LEASES, "ns", "a", "2");
        g_assert_cmpint(store_history(w->store, NULL, 0, 10, count_history, &n), ==, 0);
        g_assert_cmpint(store_history(w->store, "leases.coordination.k8s.io/ns/a", 0, 10, count_history, &n), ==, 0);
        g_assert_cmpuint(n, ==, 0);
}

static void secrets_have_rows_but_no_deltas(struct world *w)
{
        world_create(w, &api_secret_kind, "ns", "s", "aGlkZGVu");
        world_update(w, &api_secret_kind, "ns", "s", "b3RoZXI=");
        world_delete(w, &api_secret_kind, "ns", "s");
        g_assert_cmpint(store_history(w->store, NULL, 0, 10, trace_history, w), ==, 0);
        g_assert_cmpstr(w->trace->str, ==, "D4+2 uid-s -;U3+1 uid-s -;C2+0 uid-s -;");
}

static void sensitive_values_are_hidden_in_deltas(struct world *w)
{
        const struct schema_kind *tokens = &api_token_kind;
        struct json_doc *doc;

        for (int i = 0; i < 2; i++) {
                doc = world_doc(tokens, NULL, "t", NULL);
                json_set_string(doc, json_ensure_object(doc, json_root(doc), "spec"), "hash", i == 0 ? "aaaa" : "bbbb");
                json_set_string(doc, json_ensure_object(doc, json_root(doc), "spec"), "user", i == 0 ? "one" : "two");
                world_write(w, i == 0 ? STORE_CREATE : STORE_UPDATE, tokens, NULL, "t", doc);
        }
        world_delete(w, tokens, NULL, "t");
        g_assert_cmpint(store_history(w->store, NULL, 0, 10, trace_history, w), ==, 0);
        g_assert_null(strstr(w->trace->str, "aaaa"));
        g_assert_null(strstr(w->trace->str, "bbbb"));
        g_assert_nonnull(strstr(w->trace->str, "\"one\""));
        g_assert_nonnull(strstr(w->trace->str, "(hidden)"));
}

/* The versions of an Instance as (epoch, progress), newest first, rebuilt from the newest object and the deltas. */
struct rebuild {
        GString *text;
        struct json_doc *doc;
};

static void rebuild_note(struct rebuild *rebuild)
{
        int64_t epoch = -1, progress = -1;

        json_int64(json_find(json_root(rebuild->doc), "spec", "epoch", NULL), &epoch);
        json_int64(json_find(json_root(rebuild->doc), "status", "progressPercent", NULL), &progress);
        g_string_append_printf(rebuild->text, "%d/%d ", (int)epoch, (int)progress);
}

static void rebuild_row(const struct store_history_row *row, void *userdata)
{
        struct rebuild *rebuild = userdata;
        struct json_doc *older;

        rebuild_note(rebuild);
        if (!row->delta)
                return;
        older = delta_apply(json_root(rebuild->doc), row->delta);
        g_assert_nonnull(older);
        json_doc_free(rebuild->doc);
        rebuild->doc = older;
}

static const char *rebuild_all(struct world *w)
{
        struct rebuild rebuild = {.text = g_string_new(NULL), .doc = json_doc_new()};
        autostoreobject object = store_get(w->store, &api_instance_kind, NULL, "i-1");
        const char *interned;

        if (object)
                json_set_root(rebuild.doc, json_copy(rebuild.doc, object->root));
        g_assert_cmpint(store_history(w->store, "instances.host.gabbro.dev/-/i-1", 0, 100, rebuild_row, &rebuild), ==, 0);
        interned = g_intern_string(rebuild.text->str);
        g_string_free(rebuild.text, TRUE);
        json_doc_free(rebuild.doc);
        return interned;
}

static void update_instance(struct world *w, int epoch, int progress)
{
        world_write(w, STORE_UPDATE, &api_instance_kind, NULL, "i-1", world_instance("i-1", epoch, progress));
}

static void volatile_updates_leave_the_chain_of_deltas_whole(struct world *w)
{
        world_write(w, STORE_CREATE, &api_instance_kind, NULL, "i-1", world_instance("i-1", 1, 0));
        update_instance(w, 2, 0);
        update_instance(w, 2, 10);
        g_assert_cmpstr(rebuild_all(w), ==, "2/10 2/0 1/0 ");
        if (w->path)
                world_reopen(w);
        update_instance(w, 2, 50);
        update_instance(w, 2, 90);
        g_assert_cmpstr(rebuild_all(w), ==, "2/90 2/0 1/0 ");
        if (w->path)
                world_reopen(w);
        update_instance(w, 3, 100);
        g_assert_cmpstr(rebuild_all(w), ==, "3/100 2/0 1/0 ");
        g_assert_cmpint(store_compact(w->store), ==, 0);
        g_assert_cmpstr(rebuild_all(w), ==, "3/100 2/0 1/0 ");
        update_instance(w, 3, 0);
        world_delete(w, &api_instance_kind, NULL, "i-1");
        g_assert_cmpstr(rebuild_all(w), ==, "-1/-1 3/100 2/0 1/0 ");
}

static void time_of_the_log_never_stands_or_goes_back(struct world *w)
{
        world_create(w, MAPS, "ns", "a", "1");
        w->now_us -= 5000;
        world_update(w, MAPS, "ns", "a", "2");
        if (w->path)
                world_reopen(w);
        world_delete(w, MAPS, "ns", "a");
        g_string_truncate(w->trace, 0);
        g_assert_cmpint(store_history(w->store, NULL, 3, 1, trace_history, w), ==, 0);
        g_assert_nonnull(strstr(w->trace->str, "C2+0 "));
        g_assert_cmpint(store_history(w->store, NULL, 0, 2, trace_history, w), ==, 0);
        g_assert_nonnull(strstr(w->trace->str, "D4+2 "));
        g_assert_nonnull(strstr(w->trace->str, "U3+1 "));
}

static void trees_last_as_long_as_their_readers(struct world *w)
{
        const struct store_object *held;
        struct version *version;

        world_create(w, MAPS, "ns", "a", "x");
        version = store_find_published(w->store, "configmaps./ns/a");
        world_create(w, LEASES, "ns", "l", "x");
        world_update_often(w, LEASES, "ns", "l", 100); /* far enough behind */
        g_assert_null(version->doc);
        g_assert_cmpstr(world_text(w, MAPS, "ns", "a"), ==, "x");
        g_assert_nonnull(version->doc);
        g_assert_cmpuint(warm_look(w->store->warm), ==, 0);
        g_assert_null(version->doc);
        held = store_get(w->store, MAPS, "ns", "a");
        g_assert_cmpuint(warm_look(w->store->warm), ==, 1);
        g_assert_cmpstr(json_find_string(held->root, "data", "text", NULL), ==, "x");
        store_object_unref(held);
        g_assert_cmpuint(warm_look(w->store->warm), ==, 0);
        g_assert_null(version->doc);
}

static void figures_count(struct world *w)
{
        struct store_stats stats;

        world_create(w, MAPS, "ns", "a", "1");
        world_update(w, MAPS, "ns", "a", "2");
        store_stats(w->store, &stats);
        g_assert_cmpuint(stats.commits, ==, 2);
        g_assert_cmpuint(stats.operations, ==, 2);
        g_assert_cmpuint(stats.groups, ==, 2);
        g_assert_cmpuint(stats.events, ==, 2);
        g_assert_cmpuint(stats.objects, ==, 1);
        g_assert_cmpuint(stats.queued, ==, 0);
        g_assert_cmpuint(stats.bytes, >, 50);
        world_delete(w, MAPS, "ns", "a");
        store_stats(w->store, &stats);
        g_assert_cmpuint(stats.objects, ==, 0);
        g_assert_cmpuint(stats.bytes, ==, 0);
}

static const struct behaviour {
        const char *sentence;
        void (*run)(struct world *world);
} behaviours[] = {
#define BEHAVIOUR(name)                                                                                                            \
        {                                                                                                                          \
#name, name                                                                                                        \
        }
        BEHAVIOUR(create_assigns_revisions_and_stamps_them),
        BEHAVIOUR(cluster_scope_has_no_namespace),
        BEHAVIOUR(an_older_version_stays_valid_for_its_holder),
        BEHAVIOUR(every_refusal_names_its_operation),
        BEHAVIOUR(checks_hold_or_refuse_the_whole_transaction),
        BEHAVIOUR(operations_of_a_transaction_apply_in_order_with_consecutive_revisions),
        BEHAVIOUR(bounds_are_refused_in_words_of_their_own),
        BEHAVIOUR(conditions_look_at_the_newest_accepted_state),
        BEHAVIOUR(publishing_watching_and_answering_go_in_order),
        BEHAVIOUR(closing_completes_what_was_accepted),
        BEHAVIOUR(a_full_queue_says_busy_and_recovers),
        BEHAVIOUR(lists_are_in_key_order_and_can_be_continued),
        BEHAVIOUR(a_watch_begins_behind_its_revision_and_goes_on),
        BEHAVIOUR(a_paused_watch_catches_up),
        BEHAVIOUR(pausing_from_within_a_callback_loses_and_doubles_nothing),
        BEHAVIOUR(a_watch_may_end_itself_and_others_from_within_its_callback),
        BEHAVIOUR(what_fell_out_of_the_ring_is_gone),
        BEHAVIOUR(a_long_backlog_comes_whole_and_in_order),
        BEHAVIOUR(names_too_long_for_a_key_are_absent),
        BEHAVIOUR(history_tells_who_when_and_the_way_back),
        BEHAVIOUR(rows_of_one_transaction_differ_in_time),
        BEHAVIOUR(kinds_without_history_have_no_rows),
        BEHAVIOUR(secrets_have_rows_but_no_deltas),
        BEHAVIOUR(sensitive_values_are_hidden_in_deltas),
        BEHAVIOUR(volatile_updates_leave_the_chain_of_deltas_whole),
        BEHAVIOUR(time_of_the_log_never_stands_or_goes_back),
        BEHAVIOUR(trees_last_as_long_as_their_readers),
        BEHAVIOUR(figures_count),
};

static void run_on_memory(const void *data)
{
        g_autoptr(world) world = world_new(false);

        ((const struct behaviour *)data)->run(world);
        g_assert_cmpuint(world->failures, ==, 0);
}

static void run_on_sqlite(const void *data)
{
        g_autoptr(world) world = world_new(true);

        ((const struct behaviour *)data)->run(world);
        g_assert_cmpuint(world->failures, ==, 0);
}

static void test_without_a_loop_the_owner_steps(void)
{
        const struct store_options options = {0};
        g_autoptr(store) store = NULL;
        struct store_op op = {.verb = STORE_CREATE, .kind = MAPS, .namespace = "ns", .name = "a"};
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        g_assert_cmpint(store_open_memory(&options, &store), ==, 0);
        g_assert_false(store_step(store));
        op.doc = world_doc(MAPS, "ns", "a", "x");
        g_assert_cmpint(store_commit(store, &txn, NULL, NULL, NULL), ==, 0);
        g_assert_cmpuint(store_revision(store), ==, 1);
        g_assert_true(store_step(store));
        g_assert_cmpuint(store_revision(store), ==, 2);
        g_assert_false(store_step(store));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(behaviours); i++) {
                g_autofree char *memory = g_strconcat("/store/memory/", behaviours[i].sentence, NULL);
                g_autofree char *sqlite = g_strconcat("/store/sqlite/", behaviours[i].sentence, NULL);

                g_test_add_data_func(memory, &behaviours[i], run_on_memory);
                g_test_add_data_func(sqlite, &behaviours[i], run_on_sqlite);
        }
        g_test_add_func("/store/without_a_loop_the_owner_steps", test_without_a_loop_the_owner_steps);
        return g_test_run();
}
