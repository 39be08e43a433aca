/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/placement/processor.h"

#include "controllers/object.h"

#include <assert.h>
#include <string.h>

#define WORDS_FEATURES 8 /* features named one by one in a sentence */

struct asked {
        const struct api_virtual_machine_class *class;
        const struct json_value *hardware; /* of a machine that was started before; NULL: none */
        const struct api_node_virtualization *virt;
        const struct api_node_cpu *host; /* NULL: the node does not tell */
        struct arena *arena;
};

static bool names_hold(const char **names, size_t n, const char *name)
{
        return strings_hold((const char *const *)names, n, name);
}

/* The names in a sentence: the first few, and how many more. */
struct list {
        GString *text;
        size_t n;
};

static void list_add(struct list *list, const char *name)
{
        if (++list->n <= WORDS_FEATURES)
                g_string_append_printf(list->text, "%s%s", list->n > 1 ? ", " : "", name);
}

static const char *list_end(struct list *list, struct arena *arena)
{
        if (list->n > WORDS_FEATURES)
                g_string_append_printf(list->text, " and %zu more", list->n - WORDS_FEATURES);
        return arena_strndup(arena, list->text->str, list->text->len);
}

static const char *lacks(struct asked *asked, const char **features, size_t n_features)
{
        g_autoptr(GString) text = g_string_new(NULL);
        struct list missing = {.text = text};

        for (size_t i = 0; asked->host && asked->host->n_features > 0 && i < n_features; i++)
                if (!names_hold(asked->host->features, asked->host->n_features, features[i]))
                        list_add(&missing, features[i]);
        return missing.n > 0 ? arena_printf(asked->arena, "lacks the processor features %s", list_end(&missing, asked->arena))
                             : NULL;
}

/* --- one for each way of choosing --- */

static const char *host_words(struct asked *asked)
{
        const struct json_value *cpu = json_get(asked->hardware, "cpu"),
                                *asked_for = json_find(asked->hardware, "asked", "cpu", NULL);
        const struct json_value *list = json_get(cpu, "requires");
        g_autoptr(GPtrArray) needed = g_ptr_array_new();
        const char *words;

        /* What the host could do at the machine's first start stays what the guest sees. */
        if (g_strcmp0(json_find_string(asked_for, "mode", NULL), "Host") != 0)
                return NULL;
        for (const struct json_value *it = json_first(list); it; it = json_next(it))
                g_ptr_array_add(needed, (gpointer)json_string(it, ""));
        words = lacks(asked, (const char **)needed->pdata, needed->len);
        return words ? arena_printf(asked->arena, "%s, which the machine's processor has since its first start", words) : NULL;
}

static const char *passthrough_words(struct asked *asked)
{
        const char *reason = asked->virt->type_reason;

        if (g_strcmp0(asked->virt->type, "qemu") == 0)
                return arena_printf(asked->arena,
                                    "emulates its processors (%s), so a class of type HostPassthrough is not eligible there",
                                    reason ? reason : "no KVM");
        return asked->host && asked->host->has_passthrough && !asked->host->passthrough
                       ? "does not let guests see the processor itself, so a class of type HostPassthrough is not eligible there"
                       : NULL;
}

static const char *model_words(struct asked *asked)
{
        const char *model = asked->class->spec->cpu->model;
        g_autoptr(GString) text = g_string_new(NULL);
        struct list missing = {.text = text};

        if (!asked->host || asked->host->n_hypervisor_models == 0 ||
            names_hold(asked->host->hypervisor_models, asked->host->n_hypervisor_models, model))
                return NULL;
        for (size_t i = 0; i < asked->host->n_other_models; i++) {
                const struct api_node_cpu_model *other = &asked->host->other_models[i];

                for (size_t j = 0; strcmp(other->name, model) == 0 && j < other->n_missing; j++)
                        list_add(&missing, other->missing[j]);
        }
        if (missing.n == 0)
                return arena_printf(asked->arena, "cannot give guests the processor model %s", model);
        return arena_printf(asked->arena, "cannot give guests the processor model %s: it lacks %s", model,
                            list_end(&missing, asked->arena));
}

static const char *features_words(struct asked *asked)
{
        const struct api_class_cpu *cpu = asked->class->spec->cpu;

        return lacks(asked, cpu->features, cpu->n_features);
}

static const char *discovery_words(struct asked *asked)
{
        const struct api_class_cpu_features *found = asked->class->status ? asked->class->status->cpu_features : NULL;

        return found ? lacks(asked, found->enabled, found->n_enabled) : NULL;
}

const char *processor_words(const struct api_virtual_machine_class *class, const struct json_value *hardware,
                            const struct api_node *node, struct arena *arena)
{
        static const struct {
                const char *type;
                const char *(*words)(struct asked *asked);
        } types[] = {
                {"Host", host_words},         {"HostPassthrough", passthrough_words}, {"Model", model_words},
                {"Features", features_words}, {"Discovery", discovery_words},
        };

        assert(node && arena);

        struct asked asked = {.class = class, .hardware = hardware, .arena = arena};

        asked.virt = node->status ? node->status->virtualization : NULL;
        asked.host = asked.virt ? asked.virt->cpu : NULL;
        for (size_t i = 0; class && class->spec && class->spec->cpu && asked.virt && i < G_N_ELEMENTS(types); i++)
                if (strcmp(types[i].type, class->spec->cpu->type) == 0)
                        return types[i].words(&asked);
        return NULL;
}
