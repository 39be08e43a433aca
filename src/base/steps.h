/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The steps of a work that must survive the end of the process between any two of them. Whoever does such work tells each place as
 * it passes it. Nobody listens but tests: their implementation ends this process or another one, or makes the step fail, at a place
 * of their choice (tests/fault). NULL: nobody listens.
 */
struct steps {
        /* Runs on any thread. -errno: the step fails as if its system call had; places that cannot fail ignore it. */
        int (*pass)(struct steps *steps, const char *work, const char *step, const char *place);
};

/** steps_pass() - @work "volumes", @step "create", @place "begin.before": 0, or what an implementation wants to have gone wrong. */
static inline int steps_pass(struct steps *steps, const char *work, const char *step, const char *place)
{
        return steps ? steps->pass(steps, work, step, place) : 0;
}
