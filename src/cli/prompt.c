/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/prompt.h"
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define SECRET_BYTES 4096
#define CTRL_C       3
#define CTRL_D       4
#define CTRL_U       21
#define DELETE       127

void prompt_wipe(char *text)
{
        if (!text)
                return;
        explicit_bzero(text, strlen(text));
        g_free(text);
}

static char *copy_and_wipe(char *line)
{
        char *text = g_strdup(line);

        explicit_bzero(line, SECRET_BYTES);
        return text;
}

/* One byte at a time, so that the next line stays where it is. */
static int read_line(char *line)
{
        size_t len = 0;
        char c;

        for (;;) {
                ssize_t n = read(STDIN_FILENO, &c, 1);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0 && len == 0)
                        return cli_usage("there is no line on standard input");
                if (n <= 0 || c == '\n')
                        break;
                if (len + 1 >= SECRET_BYTES)
                        return cli_usage("the line on standard input is too long");
                line[len++] = c;
        }
        if (len > 0 && line[len - 1] == '\r')
                len--;
        line[len] = 0;
        return CLI_OK;
}

/* The terminal gives every key as it is: Ctrl+C must not leave it without echo. */
static int read_keys(char *line)
{
        size_t len = 0;
        char c;

        for (;;) {
                ssize_t n = read(STDIN_FILENO, &c, 1);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0 || c == CTRL_C || (c == CTRL_D && len == 0)) {
                        cli_error("nothing was typed");
                        return CLI_FAILED;
                }
                if (c == '\n' || c == '\r')
                        break;
                if (c == CTRL_U)
                        len = 0;
                else if (c == DELETE || c == '\b')
                        len -= len > 0;
                else if (len + 1 < SECRET_BYTES)
                        line[len++] = c;
        }
        line[len] = 0;
        return CLI_OK;
}

static int read_hidden(const char *prompt, char *line)
{
        struct termios before, hidden;
        int code;

        if (tcgetattr(STDIN_FILENO, &before) < 0)
                return cli_usage("there is no terminal to ask for a password; give it with --password-stdin");
        hidden = before;
        hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
        hidden.c_cc[VMIN] = 1;
        hidden.c_cc[VTIME] = 0;
        fflush(stdout);
        fprintf(stderr, "%s: ", prompt);
        fflush(stderr);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
        code = read_keys(line);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
        return code;
}

int prompt_secret(const char *prompt, bool from_stdin, char **ret_text)
{
        char line[SECRET_BYTES] = "";
        int code;

        assert(prompt && ret_text);
        code = from_stdin ? read_line(line) : read_hidden(prompt, line);
        if (code == CLI_OK)
                *ret_text = copy_and_wipe(line);
        return code;
}

int prompt_new_password(const char *prompt, bool from_stdin, char **ret_text)
{
        char *first = NULL, *second = NULL;
        int code = prompt_secret(prompt, from_stdin, &first);

        if (code == CLI_OK && !from_stdin)
                code = prompt_secret("Once more", false, &second);
        if (code == CLI_OK && !from_stdin && strcmp(first, second) != 0) {
                cli_error("the two are not the same");
                code = CLI_FAILED;
        }
        prompt_wipe(second);
        if (code == CLI_OK)
                *ret_text = first;
        else
                prompt_wipe(first);
        return code;
}
