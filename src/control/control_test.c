/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "base/limits.h"
#include "control/recorder.h"
#include "generated/api_types.h"
#include "loop/loop.h"
#include "store/driver.h"

#include <inttypes.h>
#include <string.h>

/* The runner over the store's memory driver, with controllers made for each test. */

#define BEGIN_US 1700000000000000ull

struct bench {
        struct loop *loop;
        struct clock clock;
        uint64_t now_us, seed;
        struct random_source random;
        struct store *store;
        struct cache *cache;
        struct control *control;
};

static uint64_t bench_now(void *userdata)
{
        return ((struct bench *)userdata)->now_us;
}

static const struct schema_kind *const kinds[] = {&api_config_map_kind, &api_virtual_disk_kind, &api_volume_kind, NULL};

/* --- a store whose disk is full for some groups --- */

static unsigned full_for;
static const struct driver_ops *memory_ops;

static int persist_or_full(struct driver *driver, struct commit *const *commits, size_t n_commits)
{
        if (full_for == 0)
                return memory_ops->persist(driver, commits, n_commits);
        full_for--;
        return DRIVER_E_FULL;
}

static void bench_open(struct bench *bench, const struct store_options *options)
{
        static struct driver_ops ops;
        struct driver *driver;

        g_assert_cmpint(driver_memory_new(&driver), ==, 0);
        memory_ops = driver->ops;
        ops = *memory_ops;
        ops.persist = persist_or_full;
        driver->ops = &ops;
        g_assert_cmpint(store_open_driver(driver, options, &bench->store), ==, 0);
}

static void bench_full(const char *words, void *userdata)
{
        struct bench *bench = userdata;

        cache_follow_back(bench->cache, bench->store);
}

static void bench_init(struct bench *bench, const struct controller *controller, bool on_loop)
{
        const struct controller *controllers[] = {controller, NULL};
        struct store_options store = {.clock = &bench->clock, .full = bench_full, .full_userdata = bench};
        struct control_options control = {.clock = &bench->clock, .random = &bench->random, .controllers = controllers};

        *bench = (struct bench){.now_us = BEGIN_US, .seed = 1};
        bench->clock = (struct clock){.real_us = bench_now, .monotonic_us = bench_now, .userdata = bench};
        bench->random = random_seeded(&bench->seed);
        g_assert_cmpint(loop_new(&bench->loop), ==, 0);
        store.loop = bench->loop;
        bench_open(bench, &store);
        bench->cache = cache_new(kinds);
        g_assert_cmpint(cache_follow_store(bench->cache, bench->store), ==, 0);
        control.store = bench->store;
        control.cache = bench->cache;
        control.loop = on_loop ? bench->loop : NULL;
        g_assert_cmpint(control_new(&control, &bench->control), ==, 0);
}

static void bench_clear(struct bench *bench)
{
        control_free(bench->control);
        cache_free(bench->cache);
        store_close(bench->store);
        loop_free(bench->loop);
}

static void note_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        g_assert_cmpint(result, ==, 0);
}

static void put(struct bench *bench, enum store_verb verb, const struct schema_kind *kind, const char *name, const char *yaml)
{
        const char *namespace = kind->namespaced ? "default" : NULL;
        struct json_doc *doc = NULL;
        struct store_op op = {.verb = verb, .kind = kind, .namespace = namespace, .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        if (yaml) {
                struct json_value *metadata;

                g_assert_cmpint(json_parse_yaml(yaml, strlen(yaml), &doc, NULL), ==, 0);
                metadata = json_ensure_object(doc, json_root(doc), "metadata");
                json_set_string(doc, metadata, "name", name);
                json_set_string(doc, metadata, "namespace", namespace);
                if (!json_get(metadata, "uid"))
                        json_set_string(doc, metadata, "uid", name);
                json_set_int(doc, metadata, "generation", 1);
        }
        op.doc = doc;
        g_assert_cmpint(store_commit(bench->store, &txn, note_done, NULL, NULL), ==, 0);
}

static void settle(struct bench *bench)
{
        for (unsigned i = 0; i < 10000; i++)
                if (!control_step(bench->control) && loop_run_once(bench->loop, 0) == 0) {
                        if (control_idle(bench->control))
                                return;
                        bench->now_us += 1000;
                }
        g_error("the runner does not settle");
}

static const char *text_at(struct bench *bench, const struct schema_kind *kind, const char *name, const char *pointer)
{
        autostoreobject object = store_get(bench->store, kind, kind->namespaced ? "default" : NULL, name);
        const struct json_value *value = object ? json_pointer_get(object->root, pointer) : NULL;
        g_autofree char *text = value ? json_to_text(value) : g_strdup("-");

        return g_intern_string(text);
}

/* --- effects --- */

static enum turn_result everything_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_virtual_disk *disk = object->view;
        struct api_virtual_disk_spec spec = *disk->spec;
        struct api_disk_volume_claim claim = {.size = "2Gi"};
        struct api_virtual_disk_status status = disk->status ? *disk->status : (struct api_virtual_disk_status){0};

        struct conditions conditions = {.arena = turn_arena(turn),
                                        .list = &status.conditions,
                                        .n = &status.n_conditions,
                                        .generation = 1,
                                        .now_us = turn_now_us(turn)};

        spec.persistent_volume_claim = &claim;
        status.phase = "Ready";
        condition_set(&conditions, "Ready", "True", "Ready", "all is well");
        turn_update_spec(turn, object, &spec);
        turn_update_status(turn, object, &status);
        turn_set_label(turn, object, "a", "b");
        turn_set_label(turn, object, "gone", NULL);
        turn_set_annotation(turn, object, "note", "x");
        turn_add_finalizer(turn, object, "test/one");
        return TURN_DONE;
}

static const struct controller everything = {.name = "everything", .kind = &api_virtual_disk_kind, .turn = everything_turn};

static void one_turn_gathers_its_effects_in_one_write(void)
{
        struct bench bench;
        struct control_stats stats;

        bench_init(&bench, &everything, false);
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "d",
            "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {labels: {gone: x}}, spec: {persistentVolumeClaim: {size: "
            "1Gi}, unknownMember: kept}}");
        settle(&bench);
        control_stats(bench.control, "everything", &stats);
        g_assert_cmpuint(stats.effects, ==, 1);
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/spec"), ==,
                        "{\"persistentVolumeClaim\":{\"size\":\"2Gi\"},\"unknownMember\":\"kept\"}");
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/metadata/labels"), ==, "{\"a\":\"b\"}");
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/metadata/annotations"), ==, "{\"note\":\"x\"}");
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/metadata/finalizers"), ==, "[\"test/one\"]");
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/metadata/generation"), ==, "2");
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/status/conditions/0/lastTransitionTime"), ==,
                        "\"2023-11-14T22:13:20Z\"");
        g_assert_cmpuint(stats.turns, ==, 2); /* the second one found nothing to do */
        bench_clear(&bench);
}

static void what_a_full_disk_took_back_is_done_again(void)
{
        struct bench bench;
        struct control_stats stats;

        bench_init(&bench, &everything, false);
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "d", "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, spec: {}}");
        while (store_revision(bench.store) < 2)
                g_assert_cmpint(loop_run_once(bench.loop, 0), >=, 0);
        full_for = 3;
        settle(&bench);
        control_stats(bench.control, "everything", &stats);
        g_assert_cmpuint(full_for, ==, 0);
        g_assert_cmpuint(stats.failures, ==, 3);
        g_assert_cmpuint(store_revision(bench.store), ==, 3);
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/spec"), ==,
                        "{\"persistentVolumeClaim\":{\"size\":\"2Gi\"}}");
        g_assert_cmpuint(cache_get(bench.cache, &api_virtual_disk_kind, "default", "d")->revision, ==, 3);
        bench_clear(&bench);
}

static enum turn_result delete_turn(struct turn *turn, const struct cache_object *object)
{
        if (strcmp(object->name, "drop") == 0)
                turn_remove_finalizer(turn, object, "test/one");
        else
                turn_delete(turn, object);
        return TURN_DONE;
}

static const struct controller deleter = {.name = "deleter", .kind = &api_virtual_disk_kind, .turn = delete_turn};

static void deletion_waits_for_finalizers(void)
{
        struct bench bench;

        bench_init(&bench, &deleter, false);
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "free", "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, spec: {}}");
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "held",
            "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {finalizers: [test/one]}, spec: {}}");
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "drop",
            "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, metadata: {finalizers: [test/one], deletionTimestamp: "
            "\"2023-11-14T22:13:20Z\"}, spec: {}}");
        settle(&bench);
        g_assert_null(cache_get(bench.cache, &api_virtual_disk_kind, "default", "free"));
        g_assert_null(cache_get(bench.cache, &api_virtual_disk_kind, "default", "drop"));
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "held", "/metadata/deletionTimestamp"), ==,
                        "\"2023-11-14T22:13:20Z\"");
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "held", "/metadata/generation"), ==, "2");
        bench_clear(&bench);
}

static enum turn_result create_turn(struct turn *turn, const struct cache_object *object)
{
        struct api_object_meta meta = {.generate_name = "v-"};
        struct api_object_ref owner = {.kind = "ConfigMap", .name = object->name};
        struct api_volume_pool pool = {.name = "p", .type = "Directory", .path = "/p"};
        struct api_volume_spec spec = {.node_name = "n",
                                       .owner = &owner,
                                       .pool = &pool,
                                       .volume_name = "x",
                                       .format = "raw",
                                       .capacity_bytes = 1,
                                       .has_capacity_bytes = true};
        struct api_volume volume = {.metadata = &meta, .spec = &spec};
        struct turn_created created;

        if (cache_count(turn_cache(turn), &api_volume_kind) > 0)
                return TURN_DONE;
        created = turn_create(turn, &api_volume_kind, &volume);
        g_assert_true(g_str_has_prefix(created.name, "v-"));
        g_assert_true(uuid_valid(created.uid));
        return TURN_DONE;
}

static const struct controller creator = {.name = "creator", .kind = &api_config_map_kind, .turn = create_turn};

static void what_a_turn_creates_is_complete(void)
{
        struct bench bench;
        g_autoptr(GPtrArray) volumes = NULL;
        const struct cache_object *volume;
        g_autoptr(schema_faults) faults = schema_faults_new();

        bench_init(&bench, &creator, false);
        put(&bench, STORE_CREATE, &api_config_map_kind, "c", "{apiVersion: v1, kind: ConfigMap}");
        settle(&bench);
        volumes = cache_list(bench.cache, &api_volume_kind, NULL);
        g_assert_cmpuint(volumes->len, ==, 1);
        volume = volumes->pdata[0];
        g_assert_cmpstr(json_key(json_first(cache_root(volume))), ==, "apiVersion");
        g_assert_cmpstr(json_find_string(cache_root(volume), "kind", NULL), ==, "Volume");
        g_assert_cmpstr(text_at(&bench, &api_volume_kind, volume->name, "/spec/readOnly"), ==, "false"); /* a default */
        schema_validate(volume->kind, cache_root(volume), NULL, faults);
        g_assert_cmpuint(schema_faults_count(faults), ==, 0);
        bench_clear(&bench);
}

/* --- conflicts --- */

static struct bench *meddled;
static unsigned meddle_left;

/* While the turn is under way another writer changes what it saw: this one is overtaken, and right the next time. */
static enum turn_result overtaken_turn(struct turn *turn, const struct cache_object *object)
{
        const struct api_config_map *map = object->view;
        const char *seen = map->n_data > 0 ? map->data[0].value : "-";

        if (meddle_left > 0) {
                g_autofree char *yaml = g_strdup_printf("{apiVersion: v1, kind: ConfigMap, data: {a: \"%u\"}}", meddle_left--);

                put(meddled, STORE_UPDATE, &api_config_map_kind, object->name, yaml);
        }
        turn_set_annotation(turn, object, "seen", seen);
        return TURN_DONE;
}

static const struct controller overtaken = {.name = "overtaken", .kind = &api_config_map_kind, .turn = overtaken_turn};

static void an_overtaken_turn_is_taken_again_when_the_cache_moved(void)
{
        struct bench bench;
        struct control_stats stats;

        bench_init(&bench, &overtaken, false);
        meddled = &bench;
        meddle_left = 3;
        put(&bench, STORE_CREATE, &api_config_map_kind, "c", "{apiVersion: v1, kind: ConfigMap, data: {a: first}}");
        settle(&bench);
        control_stats(bench.control, NULL, &stats);
        g_assert_cmpuint(stats.conflicts, ==, 3);
        g_assert_cmpuint(stats.failures, ==, 0);
        g_assert_cmpstr(text_at(&bench, &api_config_map_kind, "c", "/metadata/annotations/seen"), ==, "\"1\"");
        g_assert_cmpuint(bench.now_us - BEGIN_US, <, 50000); /* not by its back-off */
        bench_clear(&bench);
}

static enum turn_result depends_turn(struct turn *turn, const struct cache_object *object)
{
        const struct cache_object *other = cache_get(turn_cache(turn), &api_config_map_kind, "default", "other");

        if (strcmp(object->name, "other") == 0)
                return TURN_DONE;
        if (meddle_left > 0) {
                meddle_left--;
                put(meddled, other ? STORE_UPDATE : STORE_CREATE, &api_config_map_kind, "other",
                    "{apiVersion: v1, kind: ConfigMap, data: {n: x}}");
        }
        if (other)
                turn_depends(turn, other);
        else
                turn_depends_absent(turn, &api_config_map_kind, "default", "other");
        turn_set_annotation(turn, object, "saw", other ? "other" : "nobody");
        return TURN_DONE;
}

static const struct controller depending = {.name = "depending", .kind = &api_config_map_kind, .turn = depends_turn};

static void what_a_turn_depends_on_must_not_have_changed(void)
{
        struct bench bench;
        struct control_stats stats;

        bench_init(&bench, &depending, false);
        meddled = &bench;
        meddle_left = 2;
        put(&bench, STORE_CREATE, &api_config_map_kind, "c", "{apiVersion: v1, kind: ConfigMap}");
        settle(&bench);
        control_stats(bench.control, NULL, &stats);
        g_assert_cmpuint(stats.conflicts, ==, 2);
        g_assert_cmpstr(text_at(&bench, &api_config_map_kind, "c", "/metadata/annotations/saw"), ==, "\"other\"");
        bench_clear(&bench);
}

/* --- times --- */

static enum turn_result later_turn(struct turn *turn, const struct cache_object *object)
{
        turn_again_in(turn, 90000000);
        turn_again_in(turn, 30000000);
        return TURN_WAIT;
}

static const struct controller later = {.name = "later", .kind = &api_config_map_kind, .turn = later_turn};

static void a_turn_can_ask_for_another_one_later(void)
{
        struct bench bench;
        struct control_stats stats;

        bench_init(&bench, &later, false);
        put(&bench, STORE_CREATE, &api_config_map_kind, "c", "{apiVersion: v1, kind: ConfigMap}");
        settle(&bench);
        g_assert_true(control_idle(bench.control));
        g_assert_cmpuint(control_due_us(bench.control), <=, 30000000);
        g_assert_cmpuint(control_due_us(bench.control), >, 29000000);
        bench.now_us += 30000000;
        g_assert_false(control_idle(bench.control));
        settle(&bench);
        control_stats(bench.control, NULL, &stats);
        g_assert_cmpuint(stats.turns, ==, 2);
        bench_clear(&bench);
}

static void the_runner_works_on_the_loop_too(void)
{
        struct bench bench;

        bench_init(&bench, &everything, true);
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "d",
            "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, spec: {persistentVolumeClaim: {size: 1Gi}}}");
        for (unsigned i = 0; i < 1000 && strcmp(text_at(&bench, &api_virtual_disk_kind, "d", "/status/phase"), "\"Ready\"") != 0;
             i++)
                loop_run_once(bench.loop, 1000000);
        g_assert_cmpstr(text_at(&bench, &api_virtual_disk_kind, "d", "/status/phase"), ==, "\"Ready\"");
        bench_clear(&bench);
}

static void a_runner_may_end_while_a_commit_is_on_its_way(void)
{
        struct bench bench;

        bench_init(&bench, &everything, false);
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "d", "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, spec: {}}");
        while (!cache_get(bench.cache, &api_virtual_disk_kind, "default", "d"))
                loop_run_once(bench.loop, 1000000);
        g_assert_true(control_step(bench.control));
        g_assert_false(control_idle(bench.control));
        bench_clear(&bench); /* the sanitizers look at this */
}

/* --- limits --- */

static enum turn_result greedy_turn(struct turn *turn, const struct cache_object *object)
{
        for (unsigned i = 0; i < 250; i++) {
                struct api_object_meta meta = {.name = arena_printf(turn_arena(turn), "m-%03u", i), .namespace = "default"};
                struct api_config_map map = {.metadata = &meta};

                if (cache_get(turn_cache(turn), &api_config_map_kind, "default", meta.name))
                        continue;
                if (turn_room(turn) == 0) {
                        turn_again_in(turn, 0);
                        return TURN_WAIT;
                }
                turn_create(turn, &api_config_map_kind, &map);
        }
        return TURN_DONE;
}

static const struct controller greedy = {.name = "greedy", .kind = &api_virtual_disk_kind, .turn = greedy_turn};

static void work_beyond_one_transaction_goes_on_in_the_next_turn(void)
{
        struct bench bench;

        bench_init(&bench, &greedy, false);
        put(&bench, STORE_CREATE, &api_virtual_disk_kind, "d", "{apiVersion: gabbro.dev/v1, kind: VirtualDisk, spec: {}}");
        settle(&bench);
        g_assert_cmpuint(cache_count(bench.cache, &api_config_map_kind), ==, 250);
        bench_clear(&bench);
}

/* --- events --- */

static enum turn_result telling_turn(struct turn *turn, const struct cache_object *object)
{
        turn_event(turn, object, false, "Started", "it began");
        turn_event(turn, object, true, "Failed", "it did not end well");
        turn_event(turn, object, false, "Started", "it began");
        turn_set_annotation(turn, object, "told", arena_printf(turn_arena(turn), "%" PRIu64, turn_now_us(turn)));
        if (turn_now_us(turn) < BEGIN_US + 3000000)
                turn_again_in(turn, 1000000);
        return TURN_DONE;
}

static const struct controller telling = {.name = "telling", .kind = &api_config_map_kind, .turn = telling_turn};

static bool collect_event(const struct store_object *object, void *userdata)
{
        int64_t count = 0;

        json_int64(json_get(object->root, "count"), &count);
        g_string_append_printf(userdata, "%s %s %s x%d by %s: %s;", json_find_string(object->root, "type", NULL),
                               json_find_string(object->root, "reason", NULL),
                               json_find_string(object->root, "involvedObject", "name", NULL), (int)count,
                               json_find_string(object->root, "source", "component", NULL),
                               json_find_string(object->root, "message", NULL));
        return true;
}

static char *events_of(struct bench *bench)
{
        g_autoptr(GString) text = g_string_new(NULL);

        store_list(bench->store, &api_event_kind, NULL, NULL, collect_event, text);
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static void events_are_counted_not_repeated(void)
{
        struct bench bench;
        g_autofree char *text = NULL;

        bench_init(&bench, &telling, false);
        put(&bench, STORE_CREATE, &api_config_map_kind, "c", "{apiVersion: v1, kind: ConfigMap}");
        for (unsigned i = 0; i < 4; i++) {
                settle(&bench);
                bench.now_us += 1000000;
        }
        settle(&bench);
        text = events_of(&bench);
        g_assert_nonnull(strstr(text, "Normal Started c x"));
        g_assert_nonnull(strstr(text, "Warning Failed c x"));
        g_assert_nonnull(strstr(text, "by controller/telling: "));
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, NULL), ==, 2);
        g_assert_null(strstr(text, "x1 ")); /* told several times, each once a turn */
        bench_clear(&bench);
}

static void record_as(struct bench *bench, struct recorder *recorder, const struct cache_object *about, bool warning,
                      const char *reason, const char *message)
{
        struct turn_event event = {.about = about, .warning = warning, .reason = reason, .message = message};
        g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(event));

        g_array_append_val(events, event);
        recorder_write(recorder, "controller/test", events, bench->now_us);
}

static void record(struct bench *bench, struct recorder *recorder, const struct cache_object *about, const char *reason,
                   const char *message)
{
        record_as(bench, recorder, about, false, reason, message);
}

static void similar_events_are_folded_into_one(void)
{
        struct bench bench;
        struct recorder *recorder;
        const struct cache_object about = {.kind = &api_config_map_kind, .namespace = "default", .name = "c", .uid = "u"};
        g_autofree char *text = NULL;

        bench_init(&bench, &later, false);
        recorder = recorder_new(bench.store, &bench.clock, &bench.random);
        for (unsigned i = 0; i < RECORDER_SIMILAR + 7; i++) {
                g_autofree char *message = g_strdup_printf("number %u", i);

                record(&bench, recorder, &about, "Flood", message);
                settle(&bench);
        }
        record(&bench, recorder, &about, "Else", "another reason");
        settle(&bench);
        text = events_of(&bench);
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, "default"), ==, RECORDER_SIMILAR + 2);
        g_assert_nonnull(strstr(text, "Flood c x7 by controller/test: (combined from similar events): number 16"));
        g_assert_nonnull(strstr(text, "Normal Else c x1"));
        recorder_free(recorder);
        bench_clear(&bench);
}

/* I4: nothing of a namespace outlives it, and one that lies about its time ends like the others. */
static void events_end_with_their_namespace_and_their_time(void)
{
        static const char gone[] =
                "{status: {phase: Terminating, conditions: [{type: NamespaceContentRemaining, status: \"False\"}]}}";
        const struct cache_object about = {.kind = &api_config_map_kind, .namespace = "p", .name = "c", .uid = "u"};
        struct bench bench;
        struct recorder *recorder;

        bench_init(&bench, &later, false);
        recorder = recorder_new(bench.store, &bench.clock, &bench.random);
        record(&bench, recorder, &about, "A", "the namespace never was");
        settle(&bench);
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, NULL), ==, 0);
        put(&bench, STORE_CREATE, &api_namespace_kind, "p", "{}");
        record(&bench, recorder, &about, "B", "it is there");
        put(&bench, STORE_UPDATE, &api_namespace_kind, "p", "{metadata: {deletionTimestamp: \"2026-01-01T00:00:00Z\"}}");
        record(&bench, recorder, &about, "C", "it goes, and something is left in it");
        settle(&bench);
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, "p"), ==, 2);
        g_autofree char *closing = g_strdup_printf("{metadata: {deletionTimestamp: \"2026-01-01T00:00:00Z\"}, %s", gone + 1);
        put(&bench, STORE_UPDATE, &api_namespace_kind, "p", closing);
        record(&bench, recorder, &about, "D", "nothing is left");
        settle(&bench);
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, "p"), ==, 2);
        put(&bench, STORE_CREATE, &api_event_kind, "liar",
            "{metadata: {creationTimestamp: \"2023-11-14T22:13:20Z\"}, lastTimestamp: \"2126-01-01T00:00:00Z\"}");
        settle(&bench);
        bench.now_us += RECORDER_KEEP_US + 1000000;
        g_assert_cmpuint(recorder_expire(recorder, bench.now_us), ==, 3);
        settle(&bench);
        recorder_free(recorder);
        bench_clear(&bench);
}

static void a_flood_is_bounded_and_ends_in_one_go(void)
{
        struct bench bench;
        struct recorder *recorder;

        bench_init(&bench, &later, false);
        recorder = recorder_new(bench.store, &bench.clock, &bench.random);
        for (unsigned i = 0; i < LIMIT_EVENTS_PER_NAMESPACE + 50; i++) {
                g_autofree char *name = g_strdup_printf("c%u", i);
                const struct cache_object about = {.kind = &api_config_map_kind, .namespace = "default", .name = name, .uid = name};

                record(&bench, recorder, &about, "Flood", "much");
                settle(&bench);
        }
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, NULL), ==, LIMIT_EVENTS_PER_NAMESPACE);
        bench.now_us += RECORDER_KEEP_US + 1000000;
        for (unsigned i = 0; i <= LIMIT_EVENTS_PER_NAMESPACE / RECORDER_EXPIRE; i++) {
                recorder_expire(recorder, bench.now_us);
                settle(&bench);
        }
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, NULL), ==, 0);
        recorder_free(recorder);
        bench_clear(&bench);
}

static void an_object_has_a_budget_of_events_and_they_end(void)
{
        struct bench bench;
        struct recorder *recorder;
        const struct cache_object about = {.kind = &api_config_map_kind, .namespace = "default", .name = "c", .uid = "u"};
        size_t kept;

        bench_init(&bench, &later, false);
        recorder = recorder_new(bench.store, &bench.clock, &bench.random);
        for (unsigned i = 0; i < 100; i++) {
                g_autofree char *reason = g_strdup_printf("Flood%u", i);

                record(&bench, recorder, &about, reason, "much");
        }
        settle(&bench);
        kept = store_count(bench.store, &api_event_kind, NULL);
        g_assert_cmpuint(kept, ==, RECORDER_BURST);
        record_as(&bench, recorder, &about, true, "Broken", "much that is ordinary keeps no warning away");
        settle(&bench);
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, NULL), ==, RECORDER_BURST + 1);
        g_assert_cmpuint(recorder_expire(recorder, bench.now_us), ==, 0);
        bench.now_us += RECORDER_KEEP_US + 1000000;
        g_assert_cmpuint(recorder_expire(recorder, bench.now_us), ==, RECORDER_BURST + 1);
        settle(&bench);
        g_assert_cmpuint(store_count(bench.store, &api_event_kind, NULL), ==, 0);
        recorder_free(recorder);
        bench_clear(&bench);
}

/* --- conditions --- */

static void the_time_of_a_condition_moves_with_its_status_only(void)
{
        g_autoptr(arena) arena = arena_new(0);
        struct api_condition *list = NULL, *first;
        size_t n = 0;
        struct conditions conditions = {.arena = arena, .list = &list, .n = &n, .generation = 1, .now_us = BEGIN_US};

        condition_set(&conditions, "Ready", "False", "Pending", "waits");
        first = list;
        conditions.generation = 2;
        conditions.now_us += 5000000;
        conditions_say(&conditions, "Ready", "False", "InProgress", "goes on with %d", 7);
        g_assert_true(first != list); /* what was given is not touched */
        g_assert_cmpstr(first[0].reason, ==, "Pending");
        g_assert_cmpuint(n, ==, 1);
        g_assert_cmpstr(list[0].message, ==, "goes on with 7");
        g_assert_cmpstr(list[0].last_transition_time, ==, "2023-11-14T22:13:20Z");
        g_assert_cmpint(list[0].observed_generation, ==, 2);
        condition_set(&conditions, "Other", "Unknown", "Unknown", "?");
        conditions.now_us += 4000000;
        condition_set(&conditions, "Ready", "True", "Ready", "done");
        g_assert_cmpstr(list[0].last_transition_time, ==, "2023-11-14T22:13:29Z");
        g_assert_true(condition_is(list, n, "Ready", "True"));
        g_assert_false(condition_is(list, n, "Absent", "True"));
        condition_remove(&conditions, "Ready");
        condition_remove(&conditions, "Absent");
        g_assert_cmpuint(n, ==, 1);
        g_assert_cmpstr(list[0].type, ==, "Other");
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/turn/one_turn_gathers_its_effects_in_one_write", one_turn_gathers_its_effects_in_one_write);
        g_test_add_func("/control/what_a_full_disk_took_back_is_done_again", what_a_full_disk_took_back_is_done_again);
        g_test_add_func("/turn/deletion_waits_for_finalizers", deletion_waits_for_finalizers);
        g_test_add_func("/turn/what_a_turn_creates_is_complete", what_a_turn_creates_is_complete);
        g_test_add_func("/control/an_overtaken_turn_is_taken_again_when_the_cache_moved",
                        an_overtaken_turn_is_taken_again_when_the_cache_moved);
        g_test_add_func("/control/what_a_turn_depends_on_must_not_have_changed", what_a_turn_depends_on_must_not_have_changed);
        g_test_add_func("/control/a_turn_can_ask_for_another_one_later", a_turn_can_ask_for_another_one_later);
        g_test_add_func("/control/the_runner_works_on_the_loop_too", the_runner_works_on_the_loop_too);
        g_test_add_func("/control/a_runner_may_end_while_a_commit_is_on_its_way", a_runner_may_end_while_a_commit_is_on_its_way);
        g_test_add_func("/control/work_beyond_one_transaction_goes_on_in_the_next_turn",
                        work_beyond_one_transaction_goes_on_in_the_next_turn);
        g_test_add_func("/recorder/events_are_counted_not_repeated", events_are_counted_not_repeated);
        g_test_add_func("/recorder/similar_events_are_folded_into_one", similar_events_are_folded_into_one);
        g_test_add_func("/recorder/I4_events_end_with_their_namespace_and_their_time",
                        events_end_with_their_namespace_and_their_time);
        g_test_add_func("/recorder/a_flood_is_bounded_and_ends_in_one_go", a_flood_is_bounded_and_ends_in_one_go);
        g_test_add_func("/recorder/an_object_has_a_budget_of_events_and_they_end", an_object_has_a_budget_of_events_and_they_end);
        g_test_add_func("/condition/the_time_of_a_condition_moves_with_its_status_only",
                        the_time_of_a_condition_moves_with_its_status_only);
        return g_test_run();
}
