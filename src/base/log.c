/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/names.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static struct {
        const char *program;
        enum log_level lowest;
        bool json;
} log_state = {.program = "gabbro", .lowest = LOG_LEVEL_INFO};

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_setup(const char *program, enum log_level lowest, bool json)
{
        assert(program);
        log_state.program = program;
        log_state.lowest = lowest;
        log_state.json = json;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
        int index = enum_index_of(level_names, G_N_ELEMENTS(level_names), text);

        assert(ret_level);
        if (index < 0)
                return index;
        *ret_level = (enum log_level)index;
        return 0;
}

/* Control characters and what would end the quotes; the text is valid UTF-8 by now. */
static void append_escaped(GString *line, const char *text)
{
        for (; *text; text++) {
                if (*text == '"' || *text == '\\')
                        g_string_append_printf(line, "\\%c", *text);
                else if (*text == '\n')
                        g_string_append(line, "\\n");
                else if ((unsigned char)*text < 0x20 || *text == 0x7f)
                        g_string_append_printf(line, "\\u%04x", (unsigned char)*text);
                else
                        g_string_append_c(line, *text);
        }
}

static void append_quoted(GString *line, const char *text)
{
        g_autofree char *valid = g_utf8_make_valid(text, -1);

        g_string_append_c(line, '"');
        append_escaped(line, valid);
        g_string_append_c(line, '"');
}

static void append_words(GString *line, const char *text)
{
        g_autofree char *valid = g_utf8_make_valid(text, -1);

        append_escaped(line, valid);
}

static bool needs_quotes(const char *text)
{
        return !*text || strpbrk(text, " \"=\\\t\n\r") != NULL;
}

static void append_field(GString *line, const char *name, const char *value)
{
        value = value ? value : "-";
        if (log_state.json) {
                g_string_append_c(line, ',');
                append_quoted(line, name);
                g_string_append_c(line, ':');
                append_quoted(line, value);
                return;
        }
        g_string_append_printf(line, " %s=", name);
        if (needs_quotes(value))
                append_quoted(line, value);
        else
                append_words(line, value);
}

static void append_head(GString *line, enum log_level level, const char *words)
{
        char time[CLOCK_RFC3339_MAX];

        clock_format_rfc3339(clock_real_us(clock_system()), true, time);
        if (!log_state.json) {
                g_string_append_printf(line, "%s %s %s: ", time, log_state.program, level_names[level]);
                append_words(line, words);
                return;
        }
        g_string_append_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":", time, level_names[level]);
        append_quoted(line, log_state.program);
        g_string_append(line, ",\"message\":");
        append_quoted(line, words);
}

void log_fields(enum log_level level, const char *words, ...)
{
        g_autoptr(GString) line = NULL;
        int saved_errno = errno;
        const char *name;
        va_list args;

        assert((size_t)level < G_N_ELEMENTS(level_names));
        if (level < log_state.lowest)
                return;
        line = g_string_sized_new(256);
        append_head(line, level, words ? words : "");
        va_start(args, words);
        while ((name = va_arg(args, const char *)))
                append_field(line, name, va_arg(args, const char *));
        va_end(args);
        g_string_append(line, log_state.json ? "}\n" : "\n");
        /* one write per line keeps lines of several threads apart; a log that cannot be written has nobody to tell */
        (void)fd_write_all(STDERR_FILENO, line->str, line->len);
        errno = saved_errno;
}
