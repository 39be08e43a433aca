/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide.h"

#include "base/error.h"

#include <glib.h>

static const char *const state_names[] = {"absent", "off", "running", "held", "paused", "stuck", "leaving"};
static const char *const action_names[] = {"report", "start",   "wait-lease", "resume", "obey",
                                           "stop",   "destroy", "undefine",   "gone"};

static const char *const order_names[INSTANCE_ORDER_COUNT] = {
        [INSTANCE_NO_ORDER] = "",
        [INSTANCE_SUSPEND_ORDER] = "Suspend",
        [INSTANCE_RESUME_ORDER] = "Resume",
        [INSTANCE_RESET_ORDER] = "Reset",
};
ENUM_TABLE(instance_order, order_names)

const char *instance_state_to_text(enum instance_state state)
{
        return state < INSTANCE_STATE_COUNT ? state_names[state] : NULL;
}

const char *instance_action_to_text(enum instance_action action)
{
        return action < INSTANCE_ACTION_COUNT ? action_names[action] : NULL;
}

/* What each state becomes when the domain shall not run, and when a newer epoch shall. A paused guest cannot shut down. */
static const enum instance_action bring_down[] = {
        [INSTANCE_RUNNING] = INSTANCE_STOP,   [INSTANCE_LEAVING] = INSTANCE_STOP,  [INSTANCE_HELD] = INSTANCE_STOP,
        [INSTANCE_PAUSED] = INSTANCE_DESTROY, [INSTANCE_STUCK] = INSTANCE_DESTROY,
};

static bool active(const struct instance_fact *fact)
{
        return fact->state != INSTANCE_ABSENT && fact->state != INSTANCE_OFF;
}

/* In which states an order is carried out; in the others it waits. A guest that stands still at our own start is let run first. */
static const bool obeys[INSTANCE_ORDER_COUNT][INSTANCE_STATE_COUNT] = {
        [INSTANCE_SUSPEND_ORDER] = {[INSTANCE_RUNNING] = true, [INSTANCE_HELD] = true},
        [INSTANCE_RESUME_ORDER] = {[INSTANCE_RUNNING] = true, [INSTANCE_HELD] = true, [INSTANCE_STUCK] = true},
        [INSTANCE_RESET_ORDER] = {[INSTANCE_RUNNING] = true},
};

static enum instance_action keep_running(const struct instance_wish *wish, const struct instance_fact *fact)
{
        bool held_by_us = fact->resetting && fact->state == INSTANCE_HELD && wish->order == INSTANCE_RESET_ORDER;
        bool paused = fact->state == INSTANCE_PAUSED || (fact->state == INSTANCE_STUCK && fact->cured);

        if (fact->epoch != wish->epoch) {
                return INSTANCE_REPORT;
        }
        /* Nobody else may run it while this node has no lease, so it does not begin to run again. */
        if (held_by_us) {
                return wish->may_start ? INSTANCE_OBEY : INSTANCE_WAIT_LEASE;
        }
        if (obeys[wish->order][fact->state] && (wish->may_start || wish->order != INSTANCE_RESUME_ORDER)) {
                return INSTANCE_OBEY;
        }
        if (!paused || wish->suspended) {
                return INSTANCE_REPORT;
        }
        return wish->may_start ? INSTANCE_RESUME : INSTANCE_WAIT_LEASE;
}

enum instance_action instance_decide(const struct instance_wish *wish, const struct instance_fact *fact)
{
        assert(wish && fact && fact->state < INSTANCE_STATE_COUNT);
        if (wish->deleted) {
                return active(fact) ? bring_down[fact->state] : fact->state == INSTANCE_OFF ? INSTANCE_UNDEFINE : INSTANCE_GONE;
        }
        if (!wish->power_on) {
                return active(fact) ? bring_down[fact->state] : INSTANCE_REPORT;
        }
        if (fact->epoch >= wish->epoch) {
                return keep_running(wish, fact);
        }
        if (active(fact)) {
                return bring_down[fact->state];
        }
        return wish->may_start ? INSTANCE_START : INSTANCE_WAIT_LEASE;
}

enum stop_action stop_decide(const struct stop_progress *progress, bool force, uint64_t grace_us, uint64_t now_us,
                             uint64_t *ret_again_us)
{
        uint64_t since_begin, since_ask;

        assert(progress && ret_again_us);
        if (force || !grace_us) {
                return STOP_PULL;
        }
        since_begin = progress->begun_us ? now_us - progress->begun_us : 0;
        if (since_begin >= grace_us) {
                return STOP_PULL;
        }
        since_ask = progress->asked_us ? now_us - progress->asked_us : STOP_ASK_INTERVAL_US;
        if (since_ask >= STOP_ASK_INTERVAL_US) {
                *ret_again_us = MIN(STOP_ASK_INTERVAL_US, grace_us - since_begin);
                return STOP_ASK;
        }
        *ret_again_us = MIN(STOP_ASK_INTERVAL_US - since_ask, grace_us - since_begin);
        return STOP_WAIT;
}

static bool came_back_soon(const struct space_progress *progress, uint64_t now_us)
{
        return progress->resumed_us && now_us - progress->resumed_us < SPACE_SOON_US;
}

uint64_t space_wait_us(const struct space_progress *progress, uint64_t now_us)
{
        uint64_t pause_us, since_us;

        assert(progress && now_us >= progress->resumed_us);
        if (!came_back_soon(progress, now_us)) {
                return 0;
        }
        pause_us = MIN(SPACE_AGAIN_US << MIN(progress->again, 5), SPACE_AGAIN_MAX_US);
        since_us = now_us - progress->resumed_us;
        return since_us < pause_us ? pause_us - since_us : 0;
}

void space_resumed(struct space_progress *progress, uint64_t now_us)
{
        assert(progress);
        progress->again = came_back_soon(progress, now_us) ? progress->again + 1 : 0;
        progress->resumed_us = now_us;
}

uint64_t unplug_wait_us(const struct unplug_progress *progress, uint64_t now_us)
{
        uint64_t pause_us, since_us;

        assert(progress);
        if (!progress->asked_us) {
                return 0;
        }
        pause_us = now_us - progress->begun_us < UNPLUG_OFTEN_US ? UNPLUG_SOON_US : UNPLUG_LATER_US;
        since_us = now_us - progress->asked_us;
        return since_us < pause_us ? pause_us - since_us : 0;
}

void unplug_asked(struct unplug_progress *progress, uint64_t now_us)
{
        assert(progress);
        progress->begun_us = progress->begun_us ? progress->begun_us : now_us;
        progress->asked_us = now_us;
}

bool unplug_is_late(const struct unplug_progress *progress, uint64_t now_us)
{
        assert(progress);
        return progress->begun_us && now_us - progress->begun_us >= UNPLUG_LATE_US;
}
