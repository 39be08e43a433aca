/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/vm/context.h"

#include "base/quantity.h"
#include "schema/change_way.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* User data may hold passwords: only its hash is kept with the Instance and shown (decision 6). */
static void hide_user_data(struct json_doc *doc, struct json_value *spec)
{
        struct json_value *provisioning = json_get(spec, "provisioning");
        const char *text = json_string(json_get(provisioning, "userData"), NULL);
        g_autofree char *sum = text ? g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1) : NULL;
        g_autofree char *shown = sum ? g_strdup_printf("sha256:%s", sum) : NULL;

        if (shown)
                json_set_string(doc, provisioning, "userData", shown);
}

static struct json_value *shown_spec(struct json_doc *doc, const struct cache_object *machine)
{
        struct json_value *spec = json_copy(doc, json_get(cache_root(machine), "spec"));

        hide_user_data(doc, spec);
        return spec;
}

char *vm_applied_text(const struct cache_object *machine)
{
        assert(machine);

        g_autoptr(json_doc) doc = json_doc_new();

        return json_to_text(shown_spec(doc, machine));
}

static uint64_t mib_of(const char *size)
{
        uint64_t bytes = 0;

        return size && quantity_parse_bytes(size, &bytes) == 0 ? (bytes + (1u << 20) - 1) >> 20 : 0;
}

struct changes {
        struct vm_context *vm;
        GArray *list; /* struct api_awaiting_change */
};

static void changes_add(struct changes *changes, const char *path, const struct json_value *current,
                        const struct json_value *desired)
{
        struct api_awaiting_change change = {
                .operation = !current   ? "add"
                             : !desired ? "remove"
                                        : "replace",
                .path = arena_strdup(changes->vm->arena, path),
                .current_value = current,
                .desired_value = desired,
        };

        if (current != desired && !(current && desired && json_equal(current, desired)))
                g_array_append_val(changes->list, change);
}

static void compare_list(struct changes *changes, const char *member, const struct json_value *current,
                         const struct json_value *desired)
{
        const struct json_value *a = json_first(current), *b = json_first(desired);

        for (unsigned i = 0; a || b; i++) {
                changes_add(changes, arena_printf(changes->vm->arena, "%s.%u", member, i), a, b);
                a = a ? json_next(a) : NULL;
                b = b ? json_next(b) : NULL;
        }
}

/* Whether the host was ordered to do it; else something keeps it from being ordered. */
static bool is_under_way(const struct vm_context *vm, const char *path)
{
        const struct {
                const char *path;
                bool ordered;
        } live[] = {
                {"cpu.cores", vm->ordered_size.cores == vm->cores},
                {"cpu.coreFraction", vm->ordered_size.fraction_percent == vm->fraction_percent},
                {"memory.size", vm->ordered_size.memory_mib == vm->memory_mib},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
                if (strcmp(live[i].path, path) == 0)
                        return live[i].ordered;
        return false;
}

/* Whether what has become of @path waits for a restart. */
static bool waits(const struct changes *changes, const char *path, const struct json_value *current,
                  const struct json_value *desired)
{
        struct vm_context *vm = changes->vm;
        const char *words = NULL;
        enum change_way way;

        if (change_equal(path, current, desired))
                return false;
        way = change_judge(&vm->room, path, current, desired, &words);
        if (words && !vm->live_words)
                vm->live_words = words;
        return way == CHANGE_RESTART || (way == CHANGE_LIVE && !is_under_way(vm, path));
}

struct part {
        const char *path;
        const struct json_value *current, *desired;
        size_t n; /* how many parts wait; the others are of the last one */
};

static void look_at_part(const struct changes *changes, const char *member, const struct json_value *current,
                         const struct json_value *desired, struct part *part)
{
        const char *path = arena_printf(changes->vm->arena, "%s.%s", member, json_key(current ? current : desired));

        if (waits(changes, path, current, desired))
                *part = (struct part){path, current, desired, part->n + 1};
}

/* Several parts that differ are one change of the whole. */
static void compare_parts(struct changes *changes, const char *member, const struct json_value *current,
                          const struct json_value *desired)
{
        struct part part = {};

        for (const struct json_value *v = json_first(current); v; v = json_next(v))
                look_at_part(changes, member, v, json_get(desired, json_key(v)), &part);
        for (const struct json_value *v = json_first(desired); v; v = json_next(v))
                if (!json_get(current, json_key(v)))
                        look_at_part(changes, member, NULL, v, &part);
        if (part.n == 1)
                changes_add(changes, part.path, part.current, part.desired);
        else if (part.n > 1)
                changes_add(changes, member, current, desired);
}

static void compare_member(struct changes *changes, const char *member, const struct json_value *current,
                           const struct json_value *desired)
{
        if (current && desired && json_is(current, JSON_OBJECT) && json_is(desired, JSON_OBJECT))
                compare_parts(changes, member, current, desired);
        else if (!waits(changes, member, current, desired))
                return;
        else if (current && desired && json_is(current, JSON_ARRAY) && json_is(desired, JSON_ARRAY))
                compare_list(changes, member, current, desired);
        else
                changes_add(changes, member, current, desired);
}

/* What the machine was started with, and has been given since: as it is written now where that is the same. */
static void overlay_size(struct vm_context *vm, struct json_doc *doc, struct json_value *current, const struct json_value *desired)
{
        struct json_value *cpu = json_ensure_object(doc, current, "cpu"), *memory = json_ensure_object(doc, current, "memory");
        const char *wanted = json_find_string(desired, "memory", "size", NULL), *known = json_find_string(memory, "size", NULL);
        const char *fraction = json_find_string(cpu, "coreFraction", NULL);
        /* A guest that was asked gives and takes as it can. */
        uint64_t mib = vm->ordered_size.full_mib == vm->has.full_mib ? vm->ordered_size.memory_mib : vm->has.memory_mib;
        int64_t grace_s = 60;
        char text[32];

        json_set_int(doc, cpu, "cores", vm->has.cores);
        if (vm->has.fraction_percent != (fraction ? strtoul(fraction, NULL, 10) : 100))
                json_set_string(doc, cpu, "coreFraction", arena_printf(vm->arena, "%u%%", vm->has.fraction_percent));
        quantity_format_bytes(mib << 20, text);
        if (mib_of(known) != mib)
                json_set_string(doc, memory, "size", mib_of(wanted) == mib ? wanted : text);
        (void)json_int64(json_get(current, "terminationGracePeriodSeconds"), &grace_s);
        if (grace_s != vm->ordered_size.grace_s)
                json_set_int(doc, current, "terminationGracePeriodSeconds", vm->ordered_size.grace_s);
}

void vm_changes(struct vm_context *vm, struct json_doc *doc)
{
        assert(vm && doc);

        const char *text = vm->instance ? object_annotation(vm->instance, ANNOTATION_APPLIED) : NULL;
        g_autoptr(json_doc) applied = NULL;
        g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(struct api_awaiting_change));
        struct changes changes = {.vm = vm, .list = list};
        struct json_value *current, *desired;

        vm->status.restart_awaiting_changes = NULL;
        vm->status.n_restart_awaiting_changes = 0;
        if (!text || vm->started || !instance_active(vm->instance) || json_parse(text, strlen(text), &applied, NULL) != 0)
                return;
        current = json_copy(doc, json_root(applied));
        desired = shown_spec(doc, vm->object);
        overlay_size(vm, doc, current, desired);
        vm_overlay_media(vm, doc, current, desired);
        vm_overlay_nics(vm, doc, current, desired);
        for (const struct json_value *v = json_first(current); v; v = json_next(v))
                compare_member(&changes, json_key(v), v, json_get(desired, json_key(v)));
        for (const struct json_value *v = json_first(desired); v; v = json_next(v))
                if (!json_get(current, json_key(v)))
                        compare_member(&changes, json_key(v), NULL, v);
        if (list->len == 0)
                return;
        vm->status.restart_awaiting_changes = arena_array(vm->arena, list->len, sizeof(struct api_awaiting_change));
        memcpy(vm->status.restart_awaiting_changes, list->data, list->len * sizeof(struct api_awaiting_change));
        vm->status.n_restart_awaiting_changes = list->len;
}
