/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH    30
#define RATE_MAX     32
#define AGAIN_US     500000u /* on a terminal a rate is shown so often although no percent was done */
#define LINE_PERCENT 25      /* without a terminal a line whenever so much more is done */

/* ", 12.3 MiB/s" since it began, once that can be told. */
static void format_rate(const struct cli_bar *bar, uint64_t done, uint64_t now_us, char text[RATE_MAX])
{
        uint64_t spent_us = now_us - bar->begun_us;

        text[0] = '\0';
        if (bar->rate && bar->begun && spent_us > 0 && done > bar->from)
                g_snprintf(text, RATE_MAX, ", %.1f MiB/s", (double)(done - bar->from) / 1.048576 / (double)spent_us);
}

void cli_bar_show(struct cli_bar *bar, uint64_t done, uint64_t total)
{
        assert(bar && bar->what);

        int percent = total > 0 ? (int)((__uint128_t)MIN(done, total) * 100 / total) : 0;
        uint64_t now_us = bar->rate ? clock_monotonic_us(clock_system()) : 0;
        char filled[BAR_WIDTH + 1] = "", rate[RATE_MAX];

        if (bar->begun && percent == bar->percent && now_us - bar->shown_us < AGAIN_US)
                return;
        format_rate(bar, done, now_us, rate);
        if (cli_is_terminal(STDERR_FILENO)) {
                memset(filled, '#', (size_t)(percent * BAR_WIDTH / 100));
                fprintf(stderr, "\r%s [%-*s] %3d %%%s", bar->what, BAR_WIDTH, filled, percent, rate);
        } else if (percent / LINE_PERCENT > bar->percent / LINE_PERCENT) {
                fprintf(stderr, "%s: %d %%%s\n", bar->what, percent, rate);
        }
        if (!bar->begun) {
                bar->begun_us = now_us;
                bar->from = done;
        }
        bar->begun = true;
        bar->percent = percent;
        bar->shown_us = now_us;
}

void cli_bar_end(struct cli_bar *bar)
{
        assert(bar);

        if (bar->begun && cli_is_terminal(STDERR_FILENO))
                fputc('\n', stderr);
        bar->begun = false;
}
