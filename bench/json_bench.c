/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How many virtual machine objects per second src/json parses and writes, beside its peer in the same run. Each figure is the best
 * of several rounds, in processor time, so that a busy machine does not blur the comparison. Usage: json_bench [FILE.json]; prints
 * "name value unit" lines.
 */

#include "json_bench.h"
#include "base/file.h"
#include "base/limits.h"
#include "json/json.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS   5
#define ROUND_US 200000u
#define BATCH    1000u

typedef bool (*bench_fn)(const char *text, size_t len, unsigned n);

static bool own_parse(const char *text, size_t len, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                g_autoptr(json_doc) doc = NULL;

                if (json_parse(text, len, &doc, NULL))
                        return false;
        }
        return true;
}

static bool own_write(const char *text, size_t len, unsigned n)
{
        g_autoptr(GString) out = g_string_new(NULL);
        g_autoptr(json_doc) doc = NULL;

        if (json_parse(text, len, &doc, NULL))
                return false;
        for (unsigned i = 0; i < n; i++) {
                g_string_truncate(out, 0);
                json_write(json_root(doc), out);
        }
        return out->len > 0;
}

static uint64_t processor_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Objects per second of the best round; 0 when @fn failed. */
static double measure(bench_fn fn, const char *text, size_t len)
{
        double best = 0;

        for (int round = 0; round < ROUNDS; round++) {
                uint64_t start = processor_us(), spent = 0;
                uint64_t n = 0;

                for (; spent < ROUND_US; n += BATCH) {
                        if (!fn(text, len, BATCH))
                                return 0;
                        spent = processor_us() - start;
                }
                best = MAX(best, (double)n * 1e6 / (double)spent);
        }
        return best;
}

static void report(const char *library, const char *what, bench_fn fn, const GString *text)
{
        double rate = measure(fn, text->str, text->len);

        printf("json_%s_%s %.0f objects/s\n", what, library, rate);
        printf("json_%s_%s_bytes %.1f MB/s\n", what, library, rate * (double)text->len / 1e6);
}

int main(int argc, char **argv)
{
        const char *path = argc > 1 ? argv[1] : BENCH_OBJECT;
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(json_doc) doc = NULL;
        g_autofree char *file = NULL;
        struct json_fault fault;
        size_t len;
        int r;

        r = file_read(path, LIMIT_JSON_BYTES, &file, &len);
        if (r < 0) {
                fprintf(stderr, "%s: %s\n", path, g_strerror(-r));
                return 1;
        }
        if (json_parse(file, len, &doc, &fault)) {
                fprintf(stderr, "%s:%u: %s\n", path, fault.line, fault.reason);
                return 1;
        }
        json_write(json_root(doc), text);
        printf("json_object_bytes %zu bytes\n", text->len);
        printf("json_tree_bytes %zu bytes\n", arena_bytes(json_arena(doc)));
        report("gabbro", "parse", own_parse, text);
        report("gabbro", "write", own_write, text);
        if (json_peer_name()) {
                report(json_peer_name(), "parse", json_peer_parse, text);
                report(json_peer_name(), "write", json_peer_write, text);
        }
        return 0;
}
