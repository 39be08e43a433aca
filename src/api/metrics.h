/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>
#include <stdint.h>

/* Counts and durations of requests in Prometheus' text format. The labels come from our own tables, never from a client. */
struct metrics;

/** metrics_new() - nothing is counted yet. */
struct metrics *metrics_new(void);
/** metrics_free() - NULL is accepted. */
struct metrics *metrics_free(struct metrics *metrics);

/** metrics_count() - one request of @verb on @resource was answered with @status after @duration_us. Texts are constants. */
void metrics_count(struct metrics *metrics, const char *verb, const char *resource, int status, uint64_t duration_us);
/** metrics_write() - append what was counted. */
void metrics_write(const struct metrics *metrics, GString *out);

/** metrics_value() - append one sample with its type line. @type: "counter" or "gauge". */
void metrics_value(GString *out, const char *name, const char *type, const char *doc, double value);
