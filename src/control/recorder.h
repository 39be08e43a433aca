/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "control/turn.h"

/*
 * Writes the Events of turns. An Event is named after its object and a hash of (object uid, type, reason, message), so that the
 * same words about the same object are one Event with a count, also after a restart. The eleventh that differs from others of its
 * object and reason in the words alone is folded into one "(combined from similar events)", until fewer come than one a minute.
 * Each object has two budgets (25 events at once, one more every 5 minutes), one of warnings, which much that is ordinary shall not
 * keep away; each namespace has a bound (LIMIT_EVENTS_PER_NAMESPACE); what exceeds them is dropped. Events live for an hour after
 * they were last seen, and none is made in a namespace that is closing.
 */
struct recorder;

#define RECORDER_BURST      25
#define RECORDER_REFILL_US  (300 * 1000000ull)
#define RECORDER_SIMILAR    10                /* of one object and reason that differ in their words */
#define RECORDER_SIMILAR_US (60 * 1000000ull) /* one more each */
#define RECORDER_EXPIRE     2000
#define RECORDER_KEEP_US    (3600 * 1000000ull)
#define RECORDER_BUDGETS    8192 /* remembered; the oldest is forgotten first */

/** recorder_new() - writes to @store; borrowed arguments. */
struct recorder *recorder_new(struct store *store, const struct clock *clock, const struct random_source *random);
/** recorder_free() - NULL is accepted. */
struct recorder *recorder_free(struct recorder *recorder);
AUTOPTR(recorder, recorder_free);

/** recorder_write() - commit @events (struct turn_event) as seen by @component at @now_us. Best effort: a lost Event is no failure.
 */
void recorder_write(struct recorder *recorder, const char *component, const GArray *events, uint64_t now_us);

/** recorder_expire() - remove Events that were last seen too long ago, at most RECORDER_EXPIRE of them. Return: how many. */
size_t recorder_expire(struct recorder *recorder, uint64_t now_us);
