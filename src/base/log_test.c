/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Run @speak with standard error in a pipe and return what it wrote, its leading time cut off. */
static char *capture(void (*speak)(void))
{
        int saved = dup(STDERR_FILENO), ends[2];
        char text[4096];
        ssize_t n;

        g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_NONBLOCK), ==, 0);
        g_assert_cmpint(dup2(ends[1], STDERR_FILENO), ==, STDERR_FILENO);
        speak();
        g_assert_cmpint(dup2(saved, STDERR_FILENO), ==, STDERR_FILENO);
        n = read(ends[0], text, sizeof(text));
        fd_close(saved);
        fd_close(ends[0]);
        fd_close(ends[1]);
        return g_strndup(text, n > 0 ? (gsize)n : 0);
}

static void speak_plainly(void)
{
        errno = ERANGE;
        log_info("machine started", "machine", "a/b", "reason", "two words", "host", NULL);
        g_assert_cmpint(errno, ==, ERANGE);
}

static void a_line_is_words_and_fields(void)
{
        g_autofree char *text = NULL;

        log_setup("tester", LOG_LEVEL_INFO, false);
        text = capture(speak_plainly);
        g_assert_true(g_str_has_suffix(text, "Z tester info: machine started machine=a/b reason=\"two words\" host=-\n"));
}

static void a_json_line_is_one_object(void)
{
        g_autofree char *text = NULL;

        log_setup("tester", LOG_LEVEL_INFO, true);
        text = capture(speak_plainly);
        g_assert_true(g_str_has_prefix(text, "{\"time\":\"2"));
        g_assert_true(g_str_has_suffix(text, "Z\",\"level\":\"info\",\"program\":\"tester\",\"message\":\"machine started\","
                                             "\"machine\":\"a/b\",\"reason\":\"two words\",\"host\":\"-\"}\n"));
}

static void speak_wildly(void)
{
        log_error("a\nb\033[0m", "k", "x\"\\\n\377y");
}

static void nothing_from_outside_can_forge_a_line(void)
{
        g_autofree char *plain = NULL, *json = NULL;

        log_setup("tester", LOG_LEVEL_DEBUG, false);
        plain = capture(speak_wildly);
        g_assert_true(g_str_has_suffix(plain, "tester error: a\\nb\\u001b[0m k=\"x\\\"\\\\\\n\357\277\275y\"\n"));
        log_setup("tester", LOG_LEVEL_DEBUG, true);
        json = capture(speak_wildly);
        g_assert_true(g_str_has_suffix(json, "\"message\":\"a\\nb\\u001b[0m\",\"k\":\"x\\\"\\\\\\n\357\277\275y\"}\n"));
}

static void speak_at_all_levels(void)
{
        log_debug("one");
        log_info("two");
        log_warning("three");
        log_error("four");
}

static void levels_below_the_lowest_are_silent(void)
{
        g_autofree char *text = NULL;

        log_setup("tester", LOG_LEVEL_WARNING, false);
        text = capture(speak_at_all_levels);
        g_assert_null(strstr(text, "two"));
        g_assert_nonnull(strstr(text, "warning: three\n"));
        g_assert_nonnull(strstr(text, "error: four\n"));
}

static void level_names_are_read(void)
{
        enum log_level level = LOG_LEVEL_ERROR;

        g_assert_cmpint(log_level_parse("debug", &level), ==, 0);
        g_assert_cmpint((int)level, ==, LOG_LEVEL_DEBUG);
        g_assert_cmpint(log_level_parse("loud", &level), ==, -EINVAL);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/a_line_is_words_and_fields", a_line_is_words_and_fields);
        g_test_add_func("/log/a_json_line_is_one_object", a_json_line_is_one_object);
        g_test_add_func("/log/nothing_from_outside_can_forge_a_line", nothing_from_outside_can_forge_a_line);
        g_test_add_func("/log/levels_below_the_lowest_are_silent", levels_below_the_lowest_are_silent);
        g_test_add_func("/log/level_names_are_read", level_names_are_read);
        return g_test_run();
}
