/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"

#include <stdint.h>

/*
 * What is half done (decision 12): one small file for each intent uid and generation, durable before each step. After a kill the
 * next job sees which step was begun and whether it ended, and goes on or undoes. Thread-safe; blocks on the disk.
 */
struct journal;

enum journal_state {
        JOURNAL_NONE,  /* never begun */
        JOURNAL_BEGUN, /* begun, and it is not known how far it came */
        JOURNAL_DONE,
};

struct steps;

/** journal_open() - load what earlier runs left; files that cannot be read are moved aside as "*.bad". Each write is told to @steps
 *  (or NULL) before and after. */
int journal_open(const char *dir, struct steps *steps, struct journal **ret_journal);
struct journal *journal_free(struct journal *journal);
AUTOPTR(journal, journal_free);

struct journal_key {
        const char *kind; /* for people: "volumes" */
        const char *name;
        const char *uid;
        int64_t generation;
};

/** journal_begin() - @step is about to happen; on disk when this returns 0. Steps of an older generation are carried over. */
int journal_begin(struct journal *journal, const struct journal_key *key, const char *step);
/** journal_done() - @step, begun before, has happened. */
int journal_done(struct journal *journal, const struct journal_key *key, const char *step);
/** journal_undo() - @step was undone: as if never begun. */
int journal_undo(struct journal *journal, const struct journal_key *key, const char *step);
/** journal_step() - what is known of @step of an intent, in whatever generation. */
enum journal_state journal_step(struct journal *journal, const char *uid, const char *step);
/** journal_drop() - the status that tells of it was acknowledged: forget the intent up to @generation. */
int journal_drop(struct journal *journal, const char *uid, int64_t generation);
/** journal_length() - number of intents with an entry. */
unsigned journal_length(struct journal *journal);
