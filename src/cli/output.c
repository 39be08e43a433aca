/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool cli_is_terminal(int fd)
{
        return isatty(fd) && g_strcmp0(g_getenv("TERM"), "dumb") != 0;
}

static bool has_colour(int fd)
{
        const char *no_colour = g_getenv("NO_COLOR"); /* https://no-color.org: any text but the empty one */

        return cli_is_terminal(fd) && !(no_colour && *no_colour);
}

char *cli_clean(const char *text, bool lines)
{
        GString *clean = g_string_new(NULL);

        for (const char *c = text ?: ""; *c;) {
                gunichar character = g_utf8_get_char_validated(c, -1);
                bool valid = character != (gunichar)-1 && character != (gunichar)-2;
                const char *next = valid ? g_utf8_next_char(c) : c + 1;
                if (valid && (g_unichar_isprint(character) || (lines && character == '\n')))
                        g_string_append_len(clean, c, next - c);
                else
                        g_string_append_c(clean, '?');
                c = next;
        }
        return g_string_free(clean, FALSE);
}

static void print_error(const char *format, va_list args) G_GNUC_PRINTF(1, 0);
static void print_error(const char *format, va_list args)
{
        g_autofree char *words = g_strdup_vprintf(format, args);
        g_autofree char *clean = cli_clean(words, true);

        fflush(stdout);
        fprintf(stderr, has_colour(STDERR_FILENO) ? "\033[31mgabbro:\033[0m %s\n" : "gabbro: %s\n", clean);
}

void cli_error(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        print_error(format, args);
        va_end(args);
}

int cli_usage(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        print_error(format, args);
        va_end(args);
        return CLI_USAGE;
}

void cli_note(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        g_autofree char *words = g_strdup_vprintf(format, args);
        va_end(args);
        g_autofree char *clean = cli_clean(words, true);
        fflush(stdout);
        fprintf(stderr, "%s\n", clean);
}

void cli_hint(const char *format, ...)
{
        va_list args;

        if (!isatty(STDERR_FILENO))
                return;
        va_start(args, format);
        g_autofree char *words = g_strdup_vprintf(format, args);
        va_end(args);
        cli_note("%s", words);
}

void cli_say(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        g_autofree char *words = g_strdup_vprintf(format, args);
        va_end(args);
        g_autofree char *clean = cli_clean(words, true);
        printf("%s\n", clean);
        fflush(stdout);
}

/* JSON as written escapes what JSON demands; here also DEL and the C1 controls, which terminals obey. They stand only in strings.
 */
static void print_json(const char *text)
{
        for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
                if (*c == 0x7f) {
                        printf("\\u007f");
                } else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
                        printf("\\u00%02x", c[1]);
                        c++;
                } else {
                        putchar(*c);
                }
        }
}

/* Who set which field is for programs: as in kubectl, people are not shown it. */
static struct json_value *without_owners(struct json_doc *doc, const struct json_value *object)
{
        struct json_value *shown = json_copy(doc, object);

        json_remove(json_get(shown, "metadata"), "managedFields");
        for (struct json_value *item = json_first(json_get(shown, "items")); item; item = json_next(item))
                json_remove(json_get(item, "metadata"), "managedFields");
        return shown;
}

void cli_print_object(const struct json_value *object, const char *format)
{
        assert(format);

        g_autoptr(json_doc) doc = json_doc_new();
        g_autoptr(GString) text = g_string_new(NULL);

        if (g_str_equal(format, "name")) {
                const char *kind = json_find_string(object, "kind", NULL);
                const char *name = json_find_string(object, "metadata", "name", NULL);
                g_autofree char *lower = g_ascii_strdown(kind ?: "object", -1);
                cli_say("%s/%s", lower, name ?: "");
                return;
        }
        if (g_str_equal(format, "yaml")) {
                json_write_yaml(without_owners(doc, object), text);
                fputs(text->str, stdout);
        } else {
                json_write_pretty(without_owners(doc, object), text);
                print_json(text->str);
        }
        if (text->len == 0 || text->str[text->len - 1] != '\n')
                putchar('\n');
}

int cli_print_list(struct cli *cli, const char *path, const char *format, void (*print)(const struct json_value *items))
{
        assert(cli && path && print);

        struct cli_request request = {.path = path};
        struct cli_reply reply = {};
        int code = cli_expect(cli, &request, &reply);

        if (code == CLI_OK && format)
                cli_print_object(json_root(reply.doc), format);
        else if (code == CLI_OK)
                print(json_get(json_root(reply.doc), "items"));
        cli_reply_clear(&reply);
        return code;
}

/* --- tables
 * --------------------------------------------------------------------------------------------------------------------------------
 */

#define TABLE_COLUMNS 64

struct cli_table {
        GPtrArray *rows; /* char ** */
        glong widths[TABLE_COLUMNS];
};

struct cli_table *cli_table_new(void)
{
        struct cli_table *table = g_new0(struct cli_table, 1);

        table->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
        return table;
}

void cli_table_add(struct cli_table *table, const char *const *cells)
{
        assert(table && cells);

        g_autoptr(GStrvBuilder) row = g_strv_builder_new();
        for (guint c = 0; cells[c] && c < TABLE_COLUMNS; c++) {
                g_autofree char *clean = cli_clean(cells[c], false);
                table->widths[c] = MAX(table->widths[c], g_utf8_strlen(clean, -1));
                g_strv_builder_add(row, clean);
        }
        g_ptr_array_add(table->rows, g_strv_builder_end(row));
}

void cli_table_print(struct cli_table *table)
{
        assert(table);

        for (guint r = 0; r < table->rows->len; r++) {
                char **cells = table->rows->pdata[r];
                for (guint c = 0; cells[c]; c++) {
                        glong padding = cells[c + 1] ? table->widths[c] + 3 - g_utf8_strlen(cells[c], -1) : 0;
                        printf("%s%*s", cells[c], (int)padding, "");
                }
                putchar('\n');
        }
        fflush(stdout);
        g_ptr_array_set_size(table->rows, 0);
}

struct cli_table *cli_table_free(struct cli_table *table)
{
        if (!table)
                return NULL;
        g_ptr_array_unref(table->rows);
        g_free(table);
        return NULL;
}

char *cli_joined(const struct json_value *list)
{
        GString *text = g_string_new(NULL);

        for (const struct json_value *value = json_first(list); value; value = json_next(value))
                g_string_append_printf(text, "%s%s", text->len ? "," : "", json_string(value, ""));
        return g_string_free(text, FALSE);
}
