/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 30

bool cli_is_terminal(int fd)
{
        const char *term = g_getenv("TERM");

        return isatty(fd) && !g_getenv("NO_COLOR") && g_strcmp0(term, "dumb") != 0;
}

void cli_error(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        g_autofree char *words = g_strdup_vprintf(format, args);
        va_end(args);
        if (cli_is_terminal(STDERR_FILENO))
                fprintf(stderr, "\033[31mgabbro:\033[0m %s\n", words);
        else
                fprintf(stderr, "gabbro: %s\n", words);
}

void cli_note(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        g_autofree char *words = g_strdup_vprintf(format, args);
        va_end(args);
        fprintf(stderr, "%s\n", words);
}

void cli_print_object(const struct json_value *object, const char *format)
{
        g_autoptr(GString) text = g_string_new(NULL);

        if (g_str_equal(format, "name")) {
                const char *kind = json_find_string(object, "kind", NULL);
                const char *name = json_find_string(object, "metadata", "name", NULL);
                g_autofree char *lower = g_ascii_strdown(kind ?: "object", -1);
                printf("%s/%s\n", lower, name ?: "");
                return;
        }
        if (g_str_equal(format, "yaml"))
                json_write_yaml(object, text);
        else
                json_write_pretty(object, text);
        fwrite(text->str, 1, text->len, stdout);
        if (text->len == 0 || text->str[text->len - 1] != '\n')
                putchar('\n');
}

/* --- tables
 * --------------------------------------------------------------------------------------------------------------------------------
 */

struct cli_table {
        GPtrArray *rows; /* char ** */
};

struct cli_table *cli_table_new(void)
{
        struct cli_table *table = g_new0(struct cli_table, 1);

        table->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
        return table;
}

void cli_table_add(struct cli_table *table, const char *const *cells)
{
        g_ptr_array_add(table->rows, g_strdupv((char **)cells));
}

/* Control characters of guests and users never reach the terminal. */
static void print_cell(const char *cell, long width)
{
        long shown = 0;

        for (const char *c = cell; *c; c = g_utf8_next_char(c)) {
                gunichar character = g_utf8_get_char_validated(c, -1);
                if (character == (gunichar)-1 || character == (gunichar)-2)
                        break;
                if (g_unichar_isprint(character))
                        printf("%.*s", (int)(g_utf8_next_char(c) - c), c);
                else
                        putchar('?');
                shown++;
        }
        for (; shown < width; shown++)
                putchar(' ');
}

void cli_table_print(struct cli_table *table)
{
        glong widths[64] = {};

        for (guint r = 0; r < table->rows->len; r++) {
                char **cells = table->rows->pdata[r];
                for (guint c = 0; cells[c] && c < G_N_ELEMENTS(widths); c++)
                        widths[c] = MAX(widths[c], g_utf8_strlen(cells[c], -1));
        }
        for (guint r = 0; r < table->rows->len; r++) {
                char **cells = table->rows->pdata[r];
                for (guint c = 0; cells[c] && c < G_N_ELEMENTS(widths); c++)
                        print_cell(cells[c], cells[c + 1] ? widths[c] + 3 : 0);
                putchar('\n');
        }
        fflush(stdout);
}

struct cli_table *cli_table_free(struct cli_table *table)
{
        if (!table)
                return NULL;
        g_ptr_array_unref(table->rows);
        g_free(table);
        return NULL;
}

/* --- progress
 * ------------------------------------------------------------------------------------------------------------------------------ */

void cli_bar_show(struct cli_bar *bar, uint64_t done)
{
        int percent = bar->total > 0 ? (int)(MIN(done, bar->total) * 100 / bar->total) : 0;
        char filled[BAR_WIDTH + 1] = "";

        if (percent == bar->shown && bar->shown > 0)
                return;
        if (!cli_is_terminal(STDERR_FILENO)) {
                if (percent / 25 > bar->shown / 25)
                        fprintf(stderr, "%s: %d %%\n", bar->what, percent);
                bar->shown = percent;
                return;
        }
        bar->shown = percent;
        memset(filled, '#', (size_t)(percent * BAR_WIDTH / 100));
        fprintf(stderr, "\r%s [%-*s] %3d %%", bar->what, BAR_WIDTH, filled, percent);
        fflush(stderr);
}

void cli_bar_end(struct cli_bar *bar)
{
        if (bar->shown > 0 && cli_is_terminal(STDERR_FILENO))
                fputc('\n', stderr);
}
