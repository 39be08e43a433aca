/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/*
 * A log line is data: a level, words, and fields as name, value pairs. Libraries of this tree do not log; programs and the
 * outermost modules (agent jobs, controller runner, HTTP routes) do. Lines go to standard error as text or as one JSON object each.
 * Thread-safe. Values of secrets never come here.
 */
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/** log_setup() - choose program name, lowest level written and format; call once before threads start. */
void log_setup(const char *program, enum log_level lowest, bool json);

/** log_level_parse() - "debug" "info" "warning" "error"; 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret_level);

/**
 * log_fields() - write a line
 * @words: one sentence without newline, constant or formatted by the caller
 * @...: pairs of const char * (name, value), ended by NULL; a NULL value prints as "-"
 */
void log_fields(enum log_level level, const char *words, ...) G_GNUC_NULL_TERMINATED;

#define log_debug(...)   log_fields(LOG_LEVEL_DEBUG, __VA_ARGS__, NULL)
#define log_info(...)    log_fields(LOG_LEVEL_INFO, __VA_ARGS__, NULL)
#define log_warning(...) log_fields(LOG_LEVEL_WARNING, __VA_ARGS__, NULL)
#define log_error(...)   log_fields(LOG_LEVEL_ERROR, __VA_ARGS__, NULL)
