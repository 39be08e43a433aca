/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "control/turn.h"

/*
 * Writes the Events of turns. An Event is named after its object and a hash of (object uid, type, reason, message), so that the
 * same words about the same object are one Event with a count, also after a restart. Each object has a budget (25 events at once,
 * one more every 5 minutes); what exceeds it is dropped. Events live for an hour after they were last seen.
 */
struct recorder;

#define RECORDER_BURST     25
#define RECORDER_REFILL_US (300 * 1000000ull)
#define RECORDER_KEEP_US   (3600 * 1000000ull)
#define RECORDER_OBJECTS   4096 /* budgets remembered; the oldest is forgotten first */

/** recorder_new() - writes to @store; borrowed arguments. */
struct recorder *recorder_new(struct store *store, const struct clock *clock, const struct random_source *random);
/** recorder_free() - NULL is accepted. */
struct recorder *recorder_free(struct recorder *recorder);
AUTOPTR(recorder, recorder_free);

/** recorder_write() - commit @events (struct turn_event) as seen by @component at @now_us. Best effort: a lost Event is no failure.
 */
void recorder_write(struct recorder *recorder, const char *component, const GArray *events, uint64_t now_us);

/** recorder_expire() - remove Events that were last seen too long ago, at most one transaction's worth. Return: how many. */
size_t recorder_expire(struct recorder *recorder, uint64_t now_us);
