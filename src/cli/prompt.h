/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

/** prompt_secret() - a line that is typed without being shown (@from_stdin: the next line of standard input, without a prompt);
 * tells what is wrong. CLI_OK and the text, which the caller gives to prompt_wipe(). */
int prompt_secret(const char *prompt, bool from_stdin, char **ret_text);
/** prompt_new_password() - prompt_secret() twice, and the same both times; from standard input once. */
int prompt_new_password(const char *prompt, bool from_stdin, char **ret_text);
/** prompt_wipe() - overwrite and free; NULL is accepted. */
void prompt_wipe(char *text);
