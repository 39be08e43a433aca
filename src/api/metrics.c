/* SPDX-License-Identifier: Apache-2.0 */
#include "api/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const uint64_t bounds_us[] = {1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000};
#define N_BOUNDS G_N_ELEMENTS(bounds_us)

struct series {
        const char *verb, *resource;
        int status;
        uint64_t count;
};

struct histogram {
        const char *verb;
        uint64_t count, sum_us;
        uint64_t buckets[N_BOUNDS]; /* not cumulative */
};

struct metrics {
        GHashTable *series;     /* "verb resource status" -> struct series */
        GHashTable *histograms; /* verb -> struct histogram */
};

struct metrics *metrics_new(void)
{
        struct metrics *metrics = g_new0(struct metrics, 1);

        metrics->series = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        metrics->histograms = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
        return metrics;
}

struct metrics *metrics_free(struct metrics *metrics)
{
        if (!metrics)
                return NULL;
        g_hash_table_unref(metrics->series);
        g_hash_table_unref(metrics->histograms);
        g_free(metrics);
        return NULL;
}

static struct series *series_of(struct metrics *metrics, const char *verb, const char *resource, int status)
{
        char key[192];
        struct series *series;

        g_snprintf(key, sizeof(key), "%s %s %d", verb, resource, status);
        series = g_hash_table_lookup(metrics->series, key);
        if (!series) {
                series = g_new0(struct series, 1);
                *series = (struct series){.verb = verb, .resource = resource, .status = status};
                g_hash_table_insert(metrics->series, g_strdup(key), series);
        }
        return series;
}

static struct histogram *histogram_of(struct metrics *metrics, const char *verb)
{
        struct histogram *histogram = g_hash_table_lookup(metrics->histograms, verb);

        if (!histogram) {
                histogram = g_new0(struct histogram, 1);
                histogram->verb = verb;
                g_hash_table_insert(metrics->histograms, (void *)verb, histogram);
        }
        return histogram;
}

void metrics_count(struct metrics *metrics, const char *verb, const char *resource, int status, uint64_t duration_us)
{
        struct histogram *histogram;
        size_t bucket = 0;

        assert(metrics && verb && resource);
        series_of(metrics, verb, resource, status)->count++;
        histogram = histogram_of(metrics, verb);
        while (bucket < N_BOUNDS && duration_us > bounds_us[bucket])
                bucket++;
        if (bucket < N_BOUNDS)
                histogram->buckets[bucket]++;
        histogram->count++;
        histogram->sum_us += duration_us;
}

static void write_histogram(const struct histogram *histogram, GString *out)
{
        static const char name[] = "gabbro_api_request_duration_seconds";
        uint64_t below = 0;

        for (size_t i = 0; i < N_BOUNDS; i++) {
                below += histogram->buckets[i];
                g_string_append_printf(out, "%s_bucket{verb=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, histogram->verb,
                                       (double)bounds_us[i] / 1e6, below);
        }
        g_string_append_printf(out, "%s_bucket{verb=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, histogram->verb, histogram->count);
        g_string_append_printf(out, "%s_sum{verb=\"%s\"} %.6f\n", name, histogram->verb, (double)histogram->sum_us / 1e6);
        g_string_append_printf(out, "%s_count{verb=\"%s\"} %" PRIu64 "\n", name, histogram->verb, histogram->count);
}

void metrics_write(const struct metrics *metrics, GString *out)
{
        GHashTableIter iter;
        void *value;

        assert(metrics && out);
        g_string_append(out, "# HELP gabbro_api_requests_total Requests answered.\n# TYPE gabbro_api_requests_total counter\n");
        g_hash_table_iter_init(&iter, metrics->series);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                const struct series *series = value;

                g_string_append_printf(out, "gabbro_api_requests_total{verb=\"%s\",resource=\"%s\",code=\"%d\"} %" PRIu64 "\n",
                                       series->verb, series->resource, series->status, series->count);
        }
        g_string_append(out, "# HELP gabbro_api_request_duration_seconds Time from the headers of a request to its answer.\n"
                             "# TYPE gabbro_api_request_duration_seconds histogram\n");
        g_hash_table_iter_init(&iter, metrics->histograms);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                write_histogram(value, out);
}

void metrics_value(GString *out, const char *name, const char *type, const char *doc, double value)
{
        char text[G_ASCII_DTOSTR_BUF_SIZE];

        assert(out && name && type && doc);
        g_string_append_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %s\n", name, doc, name, type, name,
                               g_ascii_formatd(text, sizeof(text), "%.15g", value));
}
