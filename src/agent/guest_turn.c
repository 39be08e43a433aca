/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest_turn.h"

#include <assert.h>
#include <glib.h>

#define QUIET_US      10000000ull
#define SEEN_US       60000000ull
#define WAIT_US       5000000ull /* doubled each time */
#define WAITS_MOST    5
#define NEWS_US       1000000ull /* between two questions because of news */
#define NEWS_WAITS_US 5000000ull /* and of a guest that lets us wait */

static uint64_t earliest(const struct guest_turn *turn, uint64_t now_us)
{
        return MAX(now_us, turn->asked_us ? turn->asked_us + (turn->waits ? NEWS_WAITS_US : NEWS_US) : 0);
}

void guest_turn_look(struct guest_turn *turn, uint64_t now_us)
{
        assert(turn);

        turn->news = true;
        if (!turn->asking) {
                turn->due_us = MIN(turn->due_us, earliest(turn, now_us));
        }
}

bool guest_turn_is_due(const struct guest_turn *turn, uint64_t now_us)
{
        assert(turn);

        return !turn->asking && turn->due_us <= now_us;
}

void guest_turn_begin(struct guest_turn *turn, uint64_t now_us)
{
        assert(turn && !turn->asking);

        turn->asking = true;
        turn->asked_us = now_us;
        if (turn->news) {
                turn->waits = MIN(turn->waits, 1);
        }
        turn->news = false;
}

void guest_turn_end(struct guest_turn *turn, uint64_t now_us, const struct guest_answer *answer)
{
        uint64_t pause_us = QUIET_US;

        assert(turn && turn->asking);

        turn->asking = false;
        if (answer) {
                turn->waits = answer->waited ? MIN(turn->waits + 1, WAITS_MOST) : 0;
        }
        if (answer && answer->connected && !answer->soon) {
                pause_us = SEEN_US;
        } else if (turn->waits) {
                pause_us = MIN(WAIT_US << (turn->waits - 1), SEEN_US);
        }
        turn->due_us = turn->news ? earliest(turn, now_us) : now_us + pause_us;
}

void guest_turn_later(struct guest_turn *turn, uint64_t now_us)
{
        assert(turn && !turn->asking);

        turn->due_us = now_us + QUIET_US;
}
