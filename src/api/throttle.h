/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "base/clock.h"

/* How often something may be tried under a name: a burst, and then once in an interval. */
struct throttle;
/** throttle_new() - @burst at once, then one each @interval_us. */
struct throttle *throttle_new(const struct clock *clock, unsigned burst, uint64_t interval_us);
struct throttle *throttle_free(struct throttle *throttle);
AUTOPTR(throttle, throttle_free);
/** throttle_take() - one attempt under @key. 0, or the seconds (> 0) after which the next one is let through. */
unsigned throttle_take(struct throttle *throttle, const char *key);
/** throttle_forgive() - the attempt was a good one: it does not count. */
void throttle_forgive(struct throttle *throttle, const char *key);
