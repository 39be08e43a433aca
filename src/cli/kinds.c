/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <assert.h>
#include <string.h>

char *cli_path_in(const struct schema_kind *kind, const char *namespace, const char *name)
{
        assert(kind);

        GString *path = g_string_new(NULL);

        if (*kind->group)
                g_string_append_printf(path, "/apis/%s/%s", kind->group, kind->version);
        else
                g_string_append_printf(path, "/api/%s", kind->version);
        if (kind->namespaced && namespace) {
                g_autofree char *escaped = g_uri_escape_string(namespace, NULL, FALSE);
                g_string_append_printf(path, "/namespaces/%s", escaped);
        }
        g_string_append_printf(path, "/%s", kind->plural);
        if (name) {
                g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);
                g_string_append_printf(path, "/%s", escaped);
        }
        return g_string_free(path, FALSE);
}

char *cli_path(const struct cli *cli, const struct schema_kind *kind, const char *name)
{
        assert(cli);
        return cli_path_in(kind, cli->namespace, name);
}

/* --- kinds by their names
 * ------------------------------------------------------------------------------------------------------------------ */

static bool group_is(const struct schema_kind *kind, const char *group)
{
        size_t len = strlen(group);

        if (strncmp(kind->group, group, len) == 0)
                return true;
        for (const char *const *alias = kind->aliases; alias && *alias; alias++)
                if (strncmp(*alias, group, len) == 0)
                        return true;
        return false;
}

static bool kind_is(const struct schema_kind *kind, const char *word, const char *group)
{
        if (kind->internal || (group && !group_is(kind, group)))
                return false;
        return g_ascii_strcasecmp(kind->plural, word) == 0 || g_ascii_strcasecmp(kind->singular, word) == 0 ||
               g_ascii_strcasecmp(kind->kind, word) == 0 || g_strv_contains(kind->short_names, word);
}

static const struct schema_kind *find_kind(const char *word)
{
        g_auto(GStrv) parts = g_strsplit(word, ".", 2);

        for (size_t i = 0; parts[0] && schema_kinds[i]; i++)
                if (kind_is(schema_kinds[i], parts[0], parts[1]))
                        return schema_kinds[i];
        return NULL;
}

const struct schema_kind *cli_kind(const char *word)
{
        assert(word);

        const struct schema_kind *kind = find_kind(word);
        if (!kind)
                cli_error("there is no kind %s; gabbro get --help lists them", word);
        return kind;
}

GPtrArray *cli_kinds(const char *words)
{
        assert(words);

        GPtrArray *kinds = g_ptr_array_new();
        g_auto(GStrv) parts = g_strsplit(words, ",", 64);

        for (char **part = parts; *part; part++) {
                guint before = kinds->len;
                for (size_t i = 0; schema_kinds[i]; i++)
                        if (!schema_kinds[i]->hidden && !schema_kinds[i]->internal &&
                            g_strv_contains(schema_kinds[i]->categories, *part))
                                g_ptr_array_add(kinds, (void *)schema_kinds[i]);
                if (kinds->len > before)
                        continue;
                const struct schema_kind *kind = cli_kind(*part);
                if (!kind) {
                        g_ptr_array_set_size(kinds, 0);
                        return kinds;
                }
                g_ptr_array_add(kinds, (void *)kind);
        }
        return kinds;
}

char *cli_kinds_help(void)
{
        GString *text = g_string_new("Kinds:\n");

        for (size_t i = 0; schema_kinds[i]; i++) {
                const struct schema_kind *kind = schema_kinds[i];
                if (kind->hidden || kind->internal)
                        continue;
                const char *category = kind->categories && kind->categories[0] ? kind->categories[0] : NULL;
                g_autofree char *names = g_strjoinv(",", (char **)kind->short_names);
                g_string_append_printf(text, "  %-16s %-36s %s%s\n", names, kind->singular, category ? "also in: " : "",
                                       category ?: "");
        }
        return g_string_free(text, FALSE);
}

/* --- words of the command line that name objects
 * -------------------------------------------------------------------------------------------- */

static void target_clear(void *item)
{
        struct cli_target *target = item;

        g_free(target->name);
}

static bool add_target(GArray *targets, const struct schema_kind *kind, const char *name)
{
        if (!kind)
                return false;
        if (!*name || strchr(name, '/')) {
                cli_error(*name ? "%s is no name" : "a name is missing%s", name);
                return false;
        }
        struct cli_target target = {.kind = kind, .name = g_strdup(name)};
        g_array_append_val(targets, target);
        return true;
}

/* "vm/a vd/b" */
static bool add_slashed(GArray *targets, char **words)
{
        for (char **word = words; *word; word++) {
                g_auto(GStrv) parts = g_strsplit(*word, "/", 2);
                if (!parts[0] || !parts[1]) {
                        cli_error("%s: after KIND/NAME every word has that form", *word);
                        return false;
                }
                if (!add_target(targets, cli_kind(parts[0]), parts[1]))
                        return false;
        }
        return true;
}

bool cli_is_slashed(const char *word)
{
        return word && strchr(word, '/');
}

GArray *cli_targets(int argc, char **argv, const char *verb)
{
        assert(argc >= 1 && argv && verb);

        g_autoptr(GArray) targets = g_array_new(FALSE, FALSE, sizeof(struct cli_target));
        g_array_set_clear_func(targets, target_clear);
        bool ok = true;

        if (argc > 1 && cli_is_slashed(argv[1])) {
                ok = add_slashed(targets, argv + 1);
        } else if (argc < 3) {
                cli_error("which one? for example gabbro %s vm NAME, or gabbro %s vm/NAME", verb, verb);
                return NULL;
        } else {
                const struct schema_kind *kind = cli_kind(argv[1]);
                ok = kind != NULL;
                for (int i = 2; ok && i < argc; i++)
                        ok = add_target(targets, kind, argv[i]);
        }
        return ok ? g_steal_pointer(&targets) : NULL;
}

const char *cli_machine_name(const char *word)
{
        assert(word);

        const char *slash = strchr(word, '/');
        if (!slash)
                return word;
        g_autofree char *kind = g_strndup(word, (size_t)(slash - word));
        const struct schema_kind *found = find_kind(kind);
        if (found && g_str_equal(found->kind, "VirtualMachine") && slash[1])
                return slash + 1;
        cli_error("%s is no machine", word);
        return NULL;
}
