/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/instance_balloon.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "virt/live_size.h"

#include <assert.h>

#define SECOND_US     1000000ull
#define SOON_US       200000ull   /* between two looks, for a guest that was asked just now */
#define LATE_US       10000000ull /* without any movement: it is told */
#define TOLERANCE_MIB 1           /* guests count in pages, and round */

/* What was told of this epoch. */
static const struct api_instance_status *told_of(const struct instance_turn *turn)
{
        const struct api_instance_status *told = turn->job->told;

        return told && told->has_epoch && told->epoch == turn->fact.epoch ? told : NULL;
}

static uint64_t told_target(const struct instance_turn *turn)
{
        const struct api_instance_status *told = told_of(turn);

        return told && told->has_balloon_mib ? (uint64_t)told->balloon_mib : 0;
}

static bool is_near(uint64_t a, uint64_t b)
{
        return (a > b ? a - b : b - a) <= TOLERANCE_MIB;
}

static int ask(struct instance_turn *turn, uint64_t target, struct virt_error *reterr)
{
        int r;

        (void)job_pass(turn->job, "balloon", "before");
        r = virt_live_balloon(turn->job->agent->virt, turn->uuid, target, reterr);
        (void)job_pass(turn->job, "balloon", "asked");
        unplug_asked(&turn->job->balloon, clock_monotonic_us(clock_system()));
        return r;
}

static const char *late_words(const struct instance_turn *turn, uint64_t target, uint64_t held)
{
        return arena_printf(turn->job->arena,
                            "the guest holds %" G_GUINT64_FORMAT " MiB of memory instead of %" G_GUINT64_FORMAT
                            " MiB: it has no balloon driver, sleeps, or needs what it has; it is asked again now and then, and a "
                            "restart brings the size",
                            held, target);
}

/* It was asked and does not hold what it shall. One that still gives, or takes, has its time. */
static void wait_for(struct instance_turn *turn, uint64_t target, int r, const struct virt_error *error)
{
        const struct api_instance_status *told = told_of(turn);
        struct unplug_progress *progress = &turn->job->balloon;
        uint64_t now = clock_monotonic_us(clock_system()), wait_us = SECOND_US;
        bool moves = told && told->has_held_mib && (uint64_t)told->held_mib != turn->held_mib;
        bool late = !moves && ((told && told->balloon_late && told_target(turn) == turn->balloon_mib) ||
                               (progress->begun_us && now - progress->begun_us >= LATE_US));

        if (moves || !progress->begun_us) {
                progress->begun_us = now;
        }
        if (late || r) {
                wait_us = MAX(unplug_wait_us(progress, now), SECOND_US);
        } else if (now - progress->begun_us < 2 * SECOND_US) {
                wait_us = SOON_US;
        }
        if (r) {
                turn->balloon_late = arena_strdup(turn->job->arena, error->words);
        } else if (late) {
                turn->balloon_late = late_words(turn, target, turn->held_mib);
        }
        if (turn->balloon_late && (!told || !told->balloon_late)) {
                log_warning("a guest does not hold the memory that it shall", "domain", turn->entry.name, "what",
                            turn->balloon_late);
        }
        turn->job->again_us = turn->job->again_us ? MIN(turn->job->again_us, wait_us) : wait_us;
}

void instance_balloon(struct instance_turn *turn)
{
        const struct api_instance_spec *spec = turn->instance->spec;
        uint64_t full, target, wanted, told = told_target(turn);
        struct virt_error error = {};
        bool fresh;
        int r = 0;

        assert(turn);
        if (!turn->live || turn->live->domain.no_balloon || !turn->live->domain.memory_mib) {
                return;
        }
        full = turn->live->domain.memory_mib;
        wanted = spec->has_balloon_mib ? (uint64_t)spec->balloon_mib : full;
        target = MIN(wanted, full);
        turn->held_mib = turn->live->domain.balloon_mib ? turn->live->domain.balloon_mib : full;
        turn->balloon_mib = target < full ? target : 0;
        /* Two names of all: nothing was ever asked of most guests. */
        fresh = told ? told != target : turn->balloon_mib > 0;
        if (fresh) {
                turn->job->balloon = (struct unplug_progress){};
        }
        if (fresh ||
            (!is_near(turn->held_mib, target) && !unplug_wait_us(&turn->job->balloon, clock_monotonic_us(clock_system())))) {
                r = ask(turn, target, &error);
                if (fresh && !r) {
                        log_info("a guest was asked for memory", "domain", turn->entry.name, "what",
                                 arena_printf(turn->job->arena, "to keep %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " MiB",
                                              target, full));
                }
                if (r) {
                        turn->balloon_mib = told; /* what it was asked last */
                }
        }
        if (is_near(turn->held_mib, target) && !r) {
                turn->held_mib = target;
                turn->job->balloon = (struct unplug_progress){};
        } else {
                wait_for(turn, target, r, &error);
        }
}

void instance_tell_balloon(const struct instance_turn *turn, struct api_instance_status *status)
{
        const struct api_instance_status *told = told_of(turn);

        assert(turn && status);
        if (!turn->exists || !turn->entry.active) {
                return;
        }
        if (turn->held_mib) {
                status->held_mib = (int64_t)turn->held_mib;
                status->has_held_mib = true;
                status->balloon_mib = (int64_t)turn->balloon_mib;
                status->has_balloon_mib = turn->balloon_mib > 0;
                status->balloon_late = turn->balloon_late;
        } else if (told) {
                status->held_mib = told->held_mib;
                status->has_held_mib = told->has_held_mib;
                status->balloon_mib = told->balloon_mib;
                status->has_balloon_mib = told->has_balloon_mib;
                status->balloon_late = told->balloon_late;
        }
}
