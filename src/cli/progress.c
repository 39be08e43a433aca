/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH    30
#define LINE_PERCENT 25 /* without a terminal a line whenever so much more is done */

void cli_bar_show(struct cli_bar *bar, uint64_t done, uint64_t total)
{
        assert(bar && bar->what);

        int percent = total > 0 ? (int)((__uint128_t)MIN(done, total) * 100 / total) : 0;
        char filled[BAR_WIDTH + 1] = "";

        if (bar->begun && percent == bar->percent)
                return;
        if (cli_is_terminal(STDERR_FILENO)) {
                memset(filled, '#', (size_t)(percent * BAR_WIDTH / 100));
                fprintf(stderr, "\r%s [%-*s] %3d %%", bar->what, BAR_WIDTH, filled, percent);
        } else if (percent / LINE_PERCENT > bar->percent / LINE_PERCENT) {
                fprintf(stderr, "%s: %d %%\n", bar->what, percent);
        }
        bar->begun = true;
        bar->percent = percent;
}

void cli_bar_end(struct cli_bar *bar)
{
        assert(bar);

        if (bar->begun && cli_is_terminal(STDERR_FILENO))
                fputc('\n', stderr);
        bar->begun = false;
}
