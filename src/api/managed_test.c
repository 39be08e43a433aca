/* SPDX-License-Identifier: Apache-2.0 */
#include "api/apply.h"
#include "api/managed.h"
#include "generated/api_types.h"

#include <string.h>

/* Ownership and merging of random documents, against models that are simple enough to be believed. */

#define ROUNDS 300

static struct json_doc *parse(const char *text)
{
        struct json_doc *doc = NULL;

        g_assert_cmpint(json_parse(text, strlen(text), &doc, NULL), ==, 0);
        return doc;
}

/* An object that is written again and again, and its managedFields with it. */
struct object {
        const struct schema_kind *kind;
        struct json_doc *live; /* NULL: there is none yet */
        unsigned now;
};

static struct managed *managed_of(const struct object *object)
{
        struct managed *managed = NULL;
        const struct json_value *list =
                object->live ? json_find(json_root_const(object->live), "metadata", "managedFields", NULL) : NULL;

        g_assert_cmpint(managed_read(object->kind, list, NULL, &managed), ==, 0);
        return managed;
}

static void become(struct object *object, struct json_doc *doc)
{
        json_doc_free(object->live);
        object->live = doc;
}

/* As the API does it, without defaults. */
static int apply(struct object *object, const char *manager, const char *text, bool force)
{
        g_autofree char *time = g_strdup_printf("2026-01-01T00:%02u:%02uZ", object->now / 60 % 60, object->now % 60), *words = NULL;
        g_autoptr(managed) managed = managed_of(object);
        g_autoptr(json_doc) applied = parse(text), doc = json_doc_new();
        g_autoptr(schema_faults) faults = schema_faults_new();
        struct json_value *merged = NULL;
        const struct managed_writer writer = {.name = manager, .time = time};
        int r;

        object->now++;
        apply_clean(object->kind, applied, json_root(applied));
        r = managed_apply(managed,
                          &(struct managed_application){.writer = &writer,
                                                        .kind = object->kind,
                                                        .live = object->live ? json_root_const(object->live) : NULL,
                                                        .applied = json_root_const(applied),
                                                        .force = force},
                          doc, &merged, faults, &words);
        if (r)
                return r;
        json_set_root(doc, merged);
        json_remove(json_get(merged, "metadata"), "managedFields");
        g_assert_true(managed_write(managed, object->kind, doc));
        become(object, g_steal_pointer(&doc));
        return 0;
}

static void update(struct object *object, const char *manager, struct json_doc *doc)
{
        g_autofree char *time = g_strdup_printf("2026-01-01T00:%02u:%02uZ", object->now / 60 % 60, object->now % 60);
        g_autoptr(managed) managed = managed_of(object);
        const struct managed_writer writer = {.name = manager, .time = time};

        object->now++;
        json_remove(json_get(json_root(doc), "metadata"), "managedFields");
        managed_update(managed, &writer, object->kind, object->live ? json_root_const(object->live) : NULL, json_root(doc));
        g_assert_true(managed_write(managed, object->kind, doc));
        become(object, doc);
}

static char *text_of(const struct object *object)
{
        return json_to_text(json_root_const(object->live));
}

/* Without who owns what. */
static char *content_of(const struct object *object)
{
        g_autoptr(json_doc) copy = json_doc_new();

        json_set_root(copy, json_copy(copy, json_root_const(object->live)));
        json_remove(json_get(json_root(copy), "metadata"), "managedFields");
        return json_to_text(json_root(copy));
}

/* --- one map and a model of it
 * -------------------------------------------------------------------------------------------------------- */

#define KEYS     6
#define MANAGERS 3

static const char *const managers[MANAGERS] = {"a", "b", "c"};

/* Of each key: its value (0: absent), who applies it and who has updated it. */
struct model {
        int value[KEYS];
        bool applies[MANAGERS][KEYS];
        int updated_by[KEYS]; /* -1: nobody */
};

static char *map_text(const int *value)
{
        g_autoptr(GString) text = g_string_new("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"}");
        bool first = true;

        for (unsigned k = 0; k < KEYS; k++) {
                if (!value[k])
                        continue;
                g_string_append_printf(text, "%s\"k%u\":\"%d\"", first ? ",\"data\":{" : ",", k, value[k]);
                first = false;
        }
        g_string_append(text, first ? "}" : "}}");
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static void random_values(int *value)
{
        for (unsigned k = 0; k < KEYS; k++)
                value[k] = g_test_rand_int_range(0, 3);
}

/* Whether it works; then the model has changed. */
static bool model_apply(struct model *model, unsigned who, const int *wanted, bool force)
{
        struct model next = *model;

        for (unsigned k = 0; k < KEYS; k++) {
                bool changes = wanted[k] && wanted[k] != model->value[k];

                for (unsigned m = 0; m < MANAGERS && changes; m++) {
                        if (m != who && model->applies[m][k]) {
                                if (!force)
                                        return false;
                                next.applies[m][k] = false;
                        }
                }
                if (changes && model->updated_by[k] >= 0) {
                        if (!force)
                                return false;
                        next.updated_by[k] = -1;
                }
                next.applies[who][k] = wanted[k];
                if (wanted[k])
                        next.value[k] = wanted[k];
        }
        for (unsigned k = 0; k < KEYS; k++) {
                bool kept = next.updated_by[k] >= 0;

                for (unsigned m = 0; m < MANAGERS; m++)
                        kept |= next.applies[m][k];
                if (model->applies[who][k] && !kept)
                        next.value[k] = 0;
        }
        *model = next;
        return true;
}

static void model_update(struct model *model, unsigned who, const int *value)
{
        for (unsigned k = 0; k < KEYS; k++) {
                if (model->value[k] == value[k])
                        continue;
                for (unsigned m = 0; m < MANAGERS; m++)
                        model->applies[m][k] = false;
                model->updated_by[k] = value[k] ? (int)who : -1;
                model->value[k] = value[k];
        }
}

static void check_model(const struct object *object, const struct model *model)
{
        const struct json_value *data = json_get(json_root_const(object->live), "data"),
                                *list = json_find(json_root_const(object->live), "metadata", "managedFields", NULL);

        for (unsigned k = 0; k < KEYS; k++) {
                g_autofree char *key = g_strdup_printf("k%u", k), *name = g_strdup_printf("f:k%u", k),
                                *value = model->value[k] ? g_strdup_printf("%d", model->value[k]) : NULL;

                g_assert_cmpstr(json_string(json_get(data, key), NULL), ==, value);
                for (unsigned m = 0; m < MANAGERS; m++) {
                        bool applies = false, updated = false;

                        for (const struct json_value *part = json_first(list); part; part = json_next(part)) {
                                bool has = json_find(part, "fieldsV1", "f:data", name, NULL);

                                if (strcmp(json_find_string(part, "manager", NULL), managers[m]) != 0)
                                        continue;
                                if (strcmp(json_find_string(part, "operation", NULL), "Apply") == 0)
                                        applies |= has;
                                else
                                        updated |= has;
                        }
                        g_assert_cmpint(applies, ==, model->applies[m][k]);
                        g_assert_cmpint(updated, ==, model->updated_by[k] == (int)m);
                }
        }
}

static void random_writes_of_a_map_follow_the_model(void)
{
        for (unsigned round = 0; round < ROUNDS; round++) {
                struct object object = {.kind = &api_config_map_kind};
                struct model model = {};
                int value[KEYS];

                for (unsigned k = 0; k < KEYS; k++)
                        model.updated_by[k] = -1;
                random_values(value);
                g_autofree char *first = map_text(value);
                update(&object, managers[0], parse(first));
                model_update(&model, 0, value);
                for (unsigned step = 0; step < 12; step++) {
                        unsigned who = (unsigned)g_test_rand_int_range(0, MANAGERS);
                        bool force = g_test_rand_bit();
                        g_autofree char *text = NULL;

                        random_values(value);
                        text = map_text(value);
                        if (g_test_rand_bit()) {
                                update(&object, managers[who], parse(text));
                                model_update(&model, who, value);
                        } else if (model_apply(&model, who, value, force)) {
                                g_assert_cmpint(apply(&object, managers[who], text, force), ==, 0);
                        } else {
                                g_assert_cmpint(apply(&object, managers[who], text, force), ==, MANAGED_E_CONFLICT);
                        }
                        check_model(&object, &model);
                }
                json_doc_free(object.live);
        }
}

/* --- lists and structs
 * ------------------------------------------------------------------------------------------------------------------ */

/* A machine with some of five disks in a random order, some finalizers, labels and settings. */
static char *machine_text(unsigned prefix)
{
        g_autoptr(GString) text = g_string_new("{\"apiVersion\":\"gabbro.dev/v1\",\"kind\":\"VirtualMachine\",\"metadata\":{"
                                               "\"name\":\"m\",\"labels\":{");
        unsigned disks[5] = {0, 1, 2, 3, 4};
        int n = g_test_rand_int_range(0, 6);

        g_string_append_printf(text, "\"l%u-%d\":\"v\"},\"finalizers\":[\"x.org/%u-%d\"]},\"spec\":{", prefix,
                               g_test_rand_int_range(0, 3), prefix, g_test_rand_int_range(0, 2));
        if (g_test_rand_bit())
                g_string_append_printf(text, "\"cpu\":{\"cores\":%d},", g_test_rand_int_range(1, 3));
        if (g_test_rand_bit())
                g_string_append(text, "\"disruptions\":{\"restartApprovalMode\":\"Manual\"},\"tolerations\":[{\"key\":\"a\"}],");
        g_string_append(text, "\"blockDeviceRefs\":[");
        for (unsigned i = 5; i > 1; i--) {
                unsigned j = (unsigned)g_test_rand_int_range(0, (gint32)i), kept = disks[i - 1];

                disks[i - 1] = disks[j];
                disks[j] = kept;
        }
        for (int i = 0; i < n; i++)
                g_string_append_printf(text, "%s{\"name\":\"%u-%u\",\"kind\":\"VirtualDisk\"}", i ? "," : "", prefix, disks[i]);
        g_string_append(text, "]}}");
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static void an_apply_repeated_changes_nothing(void)
{
        for (unsigned round = 0; round < ROUNDS; round++) {
                struct object object = {.kind = &api_virtual_machine_kind};

                for (unsigned step = 0; step < 4; step++) {
                        g_autofree char *text = machine_text((unsigned)g_test_rand_int_range(0, 2)), *before = NULL, *after = NULL;
                        const char *manager = managers[g_test_rand_int_range(0, MANAGERS)];

                        g_assert_cmpint(apply(&object, manager, text, true), ==, 0);
                        before = text_of(&object);
                        g_assert_cmpint(apply(&object, manager, text, false), ==, 0);
                        after = text_of(&object);
                        g_assert_cmpstr(before, ==, after);
                }
                json_doc_free(object.live);
        }
}

/* What is applied stands there, in its order. */
static void what_is_applied_is_there(void)
{
        for (unsigned round = 0; round < ROUNDS; round++) {
                struct object object = {.kind = &api_virtual_machine_kind};

                for (unsigned step = 0; step < 4; step++) {
                        g_autofree char *text = machine_text((unsigned)g_test_rand_int_range(0, 2));
                        g_autoptr(json_doc) wanted = parse(text);
                        const struct json_value *there, *disk;

                        g_assert_cmpint(apply(&object, managers[step % MANAGERS], text, true), ==, 0);
                        there = json_first(json_find(json_root_const(object.live), "spec", "blockDeviceRefs", NULL));
                        disk = json_first(json_find(json_root_const(wanted), "spec", "blockDeviceRefs", NULL));
                        for (; there && disk; there = json_next(there))
                                if (json_equal(there, disk))
                                        disk = json_next(disk);
                        g_assert_null(disk);
                }
                json_doc_free(object.live);
        }
}

/* Who applies something of his own and then nothing leaves the object as it was. */
static void what_is_applied_and_taken_back_leaves_no_trace(void)
{
        for (unsigned round = 0; round < ROUNDS; round++) {
                struct object object = {.kind = &api_virtual_machine_kind};
                g_autofree char *theirs = machine_text(0), *mine = NULL, *before = NULL, *after = NULL;
                g_autoptr(json_doc) own = NULL;

                g_assert_cmpint(apply(&object, "them", theirs, false), ==, 0);
                before = content_of(&object);
                mine = machine_text(1);
                own = parse(mine);
                json_remove(json_get(json_root(own), "spec"), "cpu"); /* the only thing that both could want differently */
                g_free(mine);
                mine = json_to_text(json_root(own));
                g_assert_cmpint(apply(&object, "me", mine, false), ==, 0);
                g_assert_cmpint(apply(&object, "me", "{\"apiVersion\":\"gabbro.dev/v1\",\"metadata\":{\"name\":\"m\"}}", false), ==,
                                0);
                after = content_of(&object);
                g_autoptr(json_doc) was = parse(before), is = parse(after);
                if (!json_equal(json_root(was), json_root(is)))
                        g_error("%s\nwith %s\nbecame %s", before, mine, after);
                json_doc_free(object.live);
        }
}

/* --- sets of fields
 * --------------------------------------------------------------------------------------------------------------------- */

static void sets_read_back_as_they_are_written(void)
{
        for (unsigned round = 0; round < ROUNDS; round++) {
                g_autofree char *a_text = machine_text(0), *b_text = machine_text(0);
                g_autoptr(json_doc) a_doc = parse(a_text), b_doc = parse(b_text), doc = json_doc_new();
                g_autoptr(fields) a = fields_all(&api_virtual_machine_kind, json_root(a_doc)),
                                  b = fields_of(&api_virtual_machine_kind, json_root(b_doc), NULL), both = fields_both(a, b),
                                  sum = fields_copy(a), rest = fields_copy(a), again = fields_parse(fields_write(a, doc));

                g_assert_true(fields_equal(a, again));
                fields_add(sum, b);
                fields_take(rest, b);
                g_assert_cmpuint(fields_count(sum), ==, fields_count(a) + fields_count(b) - fields_count(both));
                g_assert_cmpuint(fields_count(rest), ==, fields_count(a) - fields_count(both));
                fields_add(rest, both);
                g_assert_true(fields_equal(rest, a));
                fields_keep(&api_virtual_machine_kind, a, json_root(a_doc));
                g_assert_true(fields_equal(again, a));
                g_autoptr(fields) changed = fields_changed(&api_virtual_machine_kind, json_root(a_doc), json_root(a_doc));
                g_assert_true(fields_empty(changed));
        }
}

static bool append_path(const char *path, void *userdata)
{
        g_string_append_printf(userdata, "%s\n", path);
        return true;
}

static void paths_are_told_as_kubernetes_tells_them(void)
{
        g_autoptr(json_doc) doc = parse("{\"metadata\":{\"finalizers\":[\"a/b\"],\"labels\":{\"x\":\"y\"}},\"spec\":{"
                                        "\"blockDeviceRefs\":[{\"name\":\"d\",\"kind\":\"VirtualDisk\"}],\"cpu\":{}}}");
        g_autoptr(fields) fields = fields_of(&api_virtual_machine_kind, json_root(doc), NULL);
        g_autoptr(GString) paths = g_string_new(NULL);

        fields_each(fields, append_path, paths);
        g_assert_cmpstr(paths->str, ==,
                        ".metadata.finalizers[\"a/b\"]\n.metadata.labels.x\n"
                        ".spec.blockDeviceRefs[kind=\"VirtualDisk\",name=\"d\"]\n"
                        ".spec.blockDeviceRefs[kind=\"VirtualDisk\",name=\"d\"].kind\n"
                        ".spec.blockDeviceRefs[kind=\"VirtualDisk\",name=\"d\"].name\n.spec.cpu\n");
}

static void malformed_sets_are_refused(void)
{
        static const char *const cases[] = {"[]",
                                            "7",
                                            "{\"x\":{}}",
                                            "{\"f:x\":1}",
                                            "{\"f:x\":{\"k:\":{}}}",
                                            "{\"f:x\":{\"k:{}\":{}}}",
                                            "{\"f:x\":{\"k:[1]\":{}}}",
                                            "{\"f:x\":{\"v:\":{}}}",
                                            "{\"f:x\":{\"i:x\":{}}}"};
        g_autoptr(GString) deep = g_string_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(json_doc) doc = parse(cases[i]);

                g_assert_null(fields_parse(json_root(doc)));
        }
        for (unsigned i = 0; i < 50; i++)
                g_string_append(deep, "{\"f:x\":");
        g_string_append(deep, "{}");
        for (unsigned i = 0; i < 50; i++)
                g_string_append_c(deep, '}');
        g_autoptr(json_doc) doc = parse(deep->str);
        g_assert_null(fields_parse(json_root(doc)));
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/api/managed/random_writes_of_a_map_follow_the_model", random_writes_of_a_map_follow_the_model);
        g_test_add_func("/api/managed/an_apply_repeated_changes_nothing", an_apply_repeated_changes_nothing);
        g_test_add_func("/api/managed/what_is_applied_is_there", what_is_applied_is_there);
        g_test_add_func("/api/managed/what_is_applied_and_taken_back_leaves_no_trace",
                        what_is_applied_and_taken_back_leaves_no_trace);
        g_test_add_func("/api/managed/sets_read_back_as_they_are_written", sets_read_back_as_they_are_written);
        g_test_add_func("/api/managed/paths_are_told_as_kubernetes_tells_them", paths_are_told_as_kubernetes_tells_them);
        g_test_add_func("/api/managed/malformed_sets_are_refused", malformed_sets_are_refused);
        return g_test_run();
}
