/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "loop/loop.h"
#include "store/driver.h"
#include "store/store_private.h"

/*
 * What the tests of the store stand on: a loop, a clock that only they move, one store, and a trace of what was told. Helpers wait
 * for the loop; nothing sleeps.
 */
#define WORLD_PATIENCE_US 20000000
#define WORLD_OPS         128
#define WORLD_BEGIN_US    1700000000000000ull

struct world {
        struct loop *loop;
        struct clock clock;
        uint64_t now_us;
        struct store_options options;
        struct store *store;
        char *folder, *path; /* of the SQLite driver, or NULL */
        unsigned failures;   /* options.failed was called */
        char *failure_words;
        GString *trace;
};

/** world_new() - @sqlite: a database in a folder of its own; else the memory driver. */
struct world *world_new(bool sqlite);
struct world *world_free(struct world *world);
AUTOPTR(world, world_free);
/** world_reopen() - close and, of the SQLite driver, open the same database again. */
void world_reopen(struct world *world);
void world_close(struct world *world);
int world_open(struct world *world);
/** world_sql() - one SQL statement on a closed store's database; the first column of the first row, or -1. */
int64_t world_sql(struct world *w, const char *text);

/** world_doc() - an object of @kind: metadata, uid "uid-<name>", data.text = @text (spec-less kinds keep it as it is). */
struct json_doc *world_doc(const struct schema_kind *kind, const char *namespace, const char *name, const char *text);
/** world_instance() - an Instance with status.progressPercent @progress and spec.epoch @epoch. */
struct json_doc *world_instance(const char *name, int epoch, int progress);

struct world_result {
        int outcome; /* of store_commit() */
        int result;  /* of the callback */
        bool done;
        size_t failed_op;
        size_t n_objects;
        uint64_t revisions[WORLD_OPS];
};

/** world_commit() - and wait until it is done (or refused). Takes the documents over. */
struct world_result world_commit(struct world *world, struct store_op *ops, size_t n_ops, const struct store_check *checks,
                                 size_t n_checks);
/** world_write() - one operation that must succeed; its revision. */
uint64_t world_write(struct world *world, enum store_verb verb, const struct schema_kind *kind, const char *namespace,
                     const char *name, struct json_doc *doc);
uint64_t world_create(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name,
                      const char *text);
uint64_t world_update(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name,
                      const char *text);
/** world_update_often() - @n updates of one object in as few transactions as they fit. */
void world_update_often(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name, unsigned n);
uint64_t world_delete(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name);

/** world_run_until() - turn the loop until @flag. */
void world_run_until(struct world *world, const bool *flag);
/** world_text() - data.text of a published object, or "-". */
const char *world_text(struct world *world, const struct schema_kind *kind, const char *namespace, const char *name);
/** world_trace_event() - a store_watch_fn whose userdata is the world: "C<revision> <name>=<text>;" U D, "=;" for caught up. */
void world_trace_event(const struct store_event *event, void *world);
/** world_wait_trace() - turn the loop until the trace is @expect; the test fails when it becomes longer than that. */
void world_wait_trace(struct world *world, const char *expect);
