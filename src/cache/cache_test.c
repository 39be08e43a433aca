/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "cache/cache.h"
#include "cache/texts.h"
#include "generated/api_types.h"
#include "store/world_test.h"

#include <stdio.h>
#include <string.h>

#define MAPS      (&api_config_map_kind)
#define INSTANCES (&api_instance_kind)

static const struct schema_kind *const test_kinds[] = {&api_config_map_kind, &api_instance_kind, NULL};

/* A cache that writes down what its listeners hear: "+name=revision;" "~" "-". */
struct scene {
        struct cache *cache;
        GString *trace;
};

static void scene_hear(const struct cache_object *before, const struct cache_object *now, void *userdata)
{
        struct scene *scene = userdata;
        const struct cache_object *object = now ? now : before;

        g_assert_true(cache_get(scene->cache, object->kind, object->namespace, object->name) == now);
        g_string_append_printf(scene->trace, "%c%s=%d;", !before ? '+' : now ? '~' : '-', object->name, (int)object->revision);
}

static void no_indexes(struct cache *cache)
{
}

static void scene_init(struct scene *scene, void (*define)(struct cache *cache))
{
        scene->cache = cache_new(test_kinds);
        scene->trace = g_string_new(NULL);
        define(scene->cache);
        cache_listen(scene->cache, scene_hear, scene);
}

static void scene_clear(struct scene *scene)
{
        cache_free(scene->cache);
        g_string_free(scene->trace, TRUE);
}

static struct json_doc *doc_at(struct json_doc *doc, const char *uid, int revision)
{
        g_autofree char *text = g_strdup_printf("%d", revision);
        struct json_value *metadata = json_get(json_root(doc), "metadata");

        json_set_string(doc, metadata, "uid", uid);
        json_set_string(doc, metadata, "resourceVersion", text);
        return doc;
}

static void apply(struct scene *scene, const char *namespace, const char *name, const char *uid, int revision)
{
        cache_apply_doc(scene->cache, MAPS, doc_at(world_doc(MAPS, namespace, name, "x"), uid, revision));
}

static void expect(struct scene *scene, const char *trace)
{
        g_assert_cmpstr(scene->trace->str, ==, trace);
        g_string_truncate(scene->trace, 0);
}

static void test_objects_are_found_by_name_and_uid_with_a_view(void)
{
        struct scene s;
        const struct cache_object *object;
        const struct api_instance *view;

        scene_init(&s, no_indexes);
        cache_apply_doc(s.cache, INSTANCES, doc_at(world_instance("i-1", 7, 42), "u1", 5));
        object = cache_get(s.cache, INSTANCES, NULL, "i-1");
        g_assert_nonnull(object);
        g_assert_true(object == cache_by_uid(s.cache, "u1"));
        g_assert_cmpuint(object->revision, ==, 5);
        g_assert_null(object->namespace);
        view = object->view;
        g_assert_cmpstr(view->metadata->name, ==, "i-1");
        g_assert_true(view->spec->has_epoch);
        g_assert_cmpint(view->spec->epoch, ==, 7);
        g_assert_cmpint(view->status->progress_percent, ==, 42);
        g_assert_null(cache_get(s.cache, MAPS, NULL, "i-1"));
        g_assert_null(cache_by_uid(s.cache, "u2"));
        g_assert_null(cache_by_uid(s.cache, NULL));
        scene_clear(&s);
}

static void test_listeners_hear_each_change_once(void)
{
        struct scene s;

        scene_init(&s, no_indexes);
        apply(&s, "ns", "a", "u1", 2);
        apply(&s, "ns", "a", "u1", 2);
        expect(&s, "+a=2;");
        apply(&s, "ns", "a", "u1", 3);
        expect(&s, "~a=3;");
        apply(&s, "ns", "a", "u2", 9);
        expect(&s, "-a=3;+a=9;");
        g_assert_null(cache_by_uid(s.cache, "u1"));
        cache_remove(s.cache, MAPS, "ns", "a");
        cache_remove(s.cache, MAPS, "ns", "a");
        cache_remove(s.cache, &api_lease_kind, "ns", "a");
        expect(&s, "-a=9;");
        cache_apply_doc(s.cache, &api_lease_kind, world_doc(&api_lease_kind, "ns", "a", "x"));
        cache_apply_doc(s.cache, MAPS, json_doc_new());
        expect(&s, "");
        g_assert_null(cache_by_uid(s.cache, "u2"));
        scene_clear(&s);
}

static void test_lists_are_in_key_order(void)
{
        struct scene s;
        g_autoptr(GPtrArray) all = NULL, one = NULL, none = NULL;

        scene_init(&s, no_indexes);
        apply(&s, "ns", "b", "1", 2);
        apply(&s, "ns-a", "c", "2", 3);
        apply(&s, "ns", "a", "3", 4);
        all = cache_list(s.cache, MAPS, NULL);
        one = cache_list(s.cache, MAPS, "ns");
        none = cache_list(s.cache, MAPS, "nobody");
        g_assert_cmpuint(all->len, ==, 3);
        g_assert_cmpstr(((const struct cache_object *)all->pdata[0])->name, ==, "c");
        g_assert_cmpuint(one->len, ==, 2);
        g_assert_cmpstr(((const struct cache_object *)one->pdata[0])->name, ==, "a");
        g_assert_cmpuint(none->len, ==, 0);
        g_assert_cmpuint(cache_count(s.cache, MAPS), ==, 3);
        g_assert_cmpuint(cache_count(s.cache, INSTANCES), ==, 0);
        scene_clear(&s);
}

static void by_epoch(const struct cache_object *object, struct cache_index_keys *keys)
{
        const struct api_instance *view = object->view;
        g_autofree char *epoch = g_strdup_printf("%d", (int)view->spec->epoch);

        cache_index_add(keys, epoch);
        cache_index_add(keys, epoch);
        cache_index_add(keys, "all");
}

static void define_by_epoch(struct cache *cache)
{
        cache_define_index(cache, "epoch", INSTANCES, by_epoch);
}

static void expect_found(struct scene *scene, const char *key, const char *names)
{
        g_autoptr(GPtrArray) found = cache_lookup(scene->cache, "epoch", key);
        g_autoptr(GString) text = g_string_new(NULL);

        for (size_t i = 0; i < found->len; i++)
                g_string_append_printf(text, "%s ", ((const struct cache_object *)found->pdata[i])->name);
        g_assert_cmpstr(text->str, ==, names);
}

static void test_indexes_follow_every_change(void)
{
        struct scene s;

        scene_init(&s, define_by_epoch);
        cache_apply_doc(s.cache, INSTANCES, doc_at(world_instance("i-2", 1, 0), "u2", 2));
        cache_apply_doc(s.cache, INSTANCES, doc_at(world_instance("i-1", 1, 0), "u1", 3));
        expect_found(&s, "1", "i-1 i-2 ");
        expect_found(&s, "all", "i-1 i-2 ");
        cache_apply_doc(s.cache, INSTANCES, doc_at(world_instance("i-2", 2, 0), "u2", 4));
        expect_found(&s, "1", "i-1 ");
        expect_found(&s, "2", "i-2 ");
        cache_remove(s.cache, INSTANCES, NULL, "i-1");
        expect_found(&s, "1", "");
        expect_found(&s, "all", "i-2 ");
        scene_clear(&s);
}

static void test_a_sweep_removes_what_a_relist_did_not_name(void)
{
        struct scene s;

        scene_init(&s, no_indexes);
        apply(&s, "ns", "a", "1", 2);
        apply(&s, "ns", "b", "2", 3);
        apply(&s, "ns", "c", "3", 4);
        expect(&s, "+a=2;+b=3;+c=4;");
        cache_mark(s.cache);
        apply(&s, "ns", "b", "2", 3);
        apply(&s, "ns", "c", "3", 9);
        apply(&s, "ns", "d", "4", 8);
        cache_sweep(s.cache);
        expect(&s, "~c=9;+d=8;-a=2;");
        scene_clear(&s);
}

static void test_a_follower_is_what_the_store_has_published(void)
{
        g_autoptr(world) w = world_new(false);
        struct scene s;

        world_create(w, MAPS, "ns", "a", "1");
        world_create(w, &api_lease_kind, "ns", "l", "1");
        scene_init(&s, no_indexes);
        g_assert_false(cache_synced(s.cache));
        g_assert_cmpint(cache_follow_store(s.cache, w->store), ==, 0);
        g_assert_true(cache_synced(s.cache));
        expect(&s, "+a=2;");
        world_update(w, MAPS, "ns", "a", "2");
        world_write(w, STORE_CREATE, INSTANCES, NULL, "i-1", world_instance("i-1", 1, 0));
        world_delete(w, MAPS, "ns", "a");
        while (s.trace->len < strlen("~a=4;+i-1=5;-a=4;"))
                g_assert_cmpint(loop_run_once(w->loop, WORLD_PATIENCE_US), >, 0);
        expect(&s, "~a=4;+i-1=5;-a=4;");
        scene_clear(&s);
        world_create(w, MAPS, "ns", "b", "1");
}

static void ignore_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
}

static const struct store_object *newest(struct world *world, const char *name)
{
        return store_get_newest(world->store, MAPS, "ns", name);
}

static void commit_unseen(struct world *world, enum store_verb verb, const char *name, const char *text)
{
        struct store_op op = {.verb = verb, .kind = MAPS, .namespace = "ns", .name = name};
        struct store_txn txn = {.ops = &op, .n_ops = 1};

        if (text)
                op.doc = world_doc(MAPS, "ns", name, text);
        if (text && text[0] == '!') /* another object of the same name */
                json_set_string(op.doc, json_get(json_root(op.doc), "metadata"), "uid", text);
        g_assert_cmpint(store_commit(world->store, &txn, ignore_done, NULL, NULL), ==, 0);
}

/* A writer goes on from its own accepted writes; what the store publishes of them later changes nothing more. */
static void put_hardware(struct world *w, const char *name, const char *model)
{
        struct json_doc *doc = world_instance(name, 7, 42);
        struct json_value *hardware = json_ensure_object(doc, json_ensure_object(doc, json_root(doc), "spec"), "hardware");

        json_set_string(doc, hardware, "model", model);
        world_write(w, STORE_CREATE, INSTANCES, NULL, name, doc);
}

static void test_a_view_needs_no_tree_and_the_tree_comes_when_asked_for(void)
{
        g_autoptr(world) w = world_new(false);
        const struct cache_object *a, *b;
        const struct api_instance *view, *other;
        struct scene s;

        put_hardware(w, "a", "q35");
        put_hardware(w, "b", "q35");
        put_hardware(w, "c", "pc");
        scene_init(&s, no_indexes);
        g_assert_cmpint(cache_follow_store(s.cache, w->store), ==, 0);
        a = cache_get(s.cache, INSTANCES, NULL, "a");
        b = cache_get(s.cache, INSTANCES, NULL, "b");
        view = a->view;
        other = b->view;
        g_assert_cmpint(view->spec->epoch, ==, 7);
        g_assert_cmpstr(view->metadata->name, ==, "a");
        g_assert_cmpstr(json_string(json_get(view->spec->hardware, "model"), NULL), ==, "q35");
        g_assert_true(view->spec->hardware == other->spec->hardware); /* the same is kept once */
        for (unsigned i = 0; i < 3; i++) {
                g_assert_cmpstr(json_find_string(cache_root(a), "spec", "hardware", NULL), ==, NULL);
                g_assert_cmpstr(json_string(json_get(json_find(cache_root(a), "spec", "hardware", NULL), "model"), NULL), ==,
                                "q35");
                cache_settle(s.cache);
                g_assert_cmpint(view->spec->epoch, ==, 7); /* it borrows nothing */
                g_assert_cmpstr(json_string(json_get(view->spec->hardware, "model"), NULL), ==, "q35");
        }
        cache_remove(s.cache, INSTANCES, NULL, "a");
        g_assert_cmpstr(json_string(json_get(other->spec->hardware, "model"), NULL), ==, "q35");
        scene_clear(&s);
}

static void test_texts_that_come_often_are_kept_once(void)
{
        g_autoptr(texts) texts = texts_new();
        const char *shared = NULL;

        g_assert_null(texts_share(texts, "rare"));
        for (unsigned i = 0; i < 300 && !shared; i++)
                shared = texts_share(texts, "often");
        g_assert_cmpstr(shared, ==, "often");
        g_assert_true(texts_share(texts, "often") == shared);
        for (unsigned i = 0; i < 2000000; i++) {
                char text[16];

                (void)snprintf(text, sizeof(text), "t%u", i % 20000);
                (void)texts_share(texts, text);
        }
        g_assert_cmpuint(texts_count(texts), ==, 4096); /* and no more */
        g_assert_true(texts_share(texts, "often") == shared);
}

static void test_what_was_told_ahead_can_be_taken_back(void)
{
        g_autoptr(world) w = world_new(false);
        struct scene s;

        world_create(w, MAPS, "ns", "a", "one");
        world_create(w, MAPS, "ns", "b", "one");
        world_create(w, MAPS, "ns", "published", "one");
        scene_init(&s, no_indexes);
        g_assert_cmpint(cache_follow_store(s.cache, w->store), ==, 0);
        world_update(w, MAPS, "ns", "published", "two");

        autostoreobject published = newest(w, "published");

        cache_apply_ahead(s.cache, MAPS, "ns", "published", published);
        commit_unseen(w, STORE_UPDATE, "a", "two");
        commit_unseen(w, STORE_CREATE, "c", "one");
        commit_unseen(w, STORE_DELETE, "b", NULL);

        autostoreobject a = newest(w, "a");
        autostoreobject c = newest(w, "c");

        cache_apply_ahead(s.cache, MAPS, "ns", "a", a);
        cache_apply_ahead(s.cache, MAPS, "ns", "b", NULL);
        cache_apply_ahead(s.cache, MAPS, "ns", "c", c);
        g_assert_null(cache_get(s.cache, MAPS, "ns", "b"));
        cache_follow_back(s.cache, w->store); /* nothing of it is published */
        g_assert_cmpuint(cache_get(s.cache, MAPS, "ns", "a")->revision, ==, 2);
        g_assert_cmpuint(cache_get(s.cache, MAPS, "ns", "b")->revision, ==, 3);
        g_assert_null(cache_get(s.cache, MAPS, "ns", "c"));
        g_assert_cmpuint(cache_get(s.cache, MAPS, "ns", "published")->revision, ==, 5);
        /* What is published later is taken, the removal of b too. */
        while (store_count(w->store, MAPS, NULL) != 3 || store_revision(w->store) < 8)
                loop_run_once(w->loop, WORLD_PATIENCE_US);
        g_assert_null(cache_get(s.cache, MAPS, "ns", "b"));
        g_assert_nonnull(cache_get(s.cache, MAPS, "ns", "c"));
        g_assert_cmpuint(cache_get(s.cache, MAPS, "ns", "a")->revision, ==, 6);
        scene_clear(&s);
}

static void test_what_was_told_ahead_is_not_told_again(void)
{
        g_autoptr(world) w = world_new(false);
        struct scene s;

        scene_init(&s, no_indexes);
        g_assert_cmpint(cache_follow_store(s.cache, w->store), ==, 0);
        for (unsigned i = 0; i < 3; i++) {
                static const struct {
                        enum store_verb verb;
                        const char *text;
                } writes[] = {{STORE_CREATE, "one"}, {STORE_UPDATE, "two"}, {STORE_DELETE, NULL}};

                commit_unseen(w, writes[i].verb, "a", writes[i].text);

                autostoreobject object = newest(w, "a");

                cache_apply_ahead(s.cache, MAPS, "ns", "a", object);
        }
        commit_unseen(w, STORE_CREATE, "a", "!again");

        autostoreobject again = newest(w, "a");

        cache_apply_ahead(s.cache, MAPS, "ns", "a", again);
        g_string_truncate(s.trace, 0);
        world_create(w, MAPS, "ns", "z", "marks the end"); /* all before it is published then */
        while (!cache_get(s.cache, MAPS, "ns", "z"))
                loop_run_once(w->loop, WORLD_PATIENCE_US);
        g_assert_true(g_str_has_prefix(s.trace->str, "+z="));
        g_assert_cmpuint(cache_count(s.cache, MAPS), ==, 2);
        g_assert_cmpstr(cache_get(s.cache, MAPS, "ns", "a")->uid, ==, "!again");
        scene_clear(&s);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
#define TEST(sentence) g_test_add_func("/cache/" #sentence, test_##sentence)
        TEST(objects_are_found_by_name_and_uid_with_a_view);
        TEST(listeners_hear_each_change_once);
        TEST(lists_are_in_key_order);
        TEST(indexes_follow_every_change);
        TEST(a_sweep_removes_what_a_relist_did_not_name);
        TEST(a_follower_is_what_the_store_has_published);
        TEST(what_was_told_ahead_is_not_told_again);
        TEST(what_was_told_ahead_can_be_taken_back);
        TEST(a_view_needs_no_tree_and_the_tree_comes_when_asked_for);
        TEST(texts_that_come_often_are_kept_once);
        return g_test_run();
}
