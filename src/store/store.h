/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/auto.h"
#include "base/clock.h"
#include "schema/schema.h"
#include "json/json.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/*
 * Objects by key with a revision each, an append-only log, compare-and-swap and watches. Everything here is called on the loop
 * thread; the SQLite driver commits on a thread of its own.
 *
 * How a write goes: store_commit() checks the conditions against the newest accepted state (durable or still on its way), assigns
 * consecutive revisions, stamps metadata.resourceVersion, and queues the transaction. The driver makes a group of queued
 * transactions durable at once. Then, in order: the published state changes, watchers get their events, and the commit's callback
 * runs. Nothing is read, watched or acknowledged before it is durable. When the outcome of a durable write is unknown (an fsync
 * error), the store is failed for good: every later commit is refused, and the owner ends the process.
 */
struct store;

/* One version of an object. Immutable, shared by reference; may be read from any thread. */
struct store_object {
        const struct schema_kind *kind;
        const char *key;       /* "<plural>.<group>/<namespace or ->/<name>" */
        const char *namespace; /* NULL for cluster scope */
        const char *name;
        const char *uid;
        uint64_t revision; /* of this version: metadata.resourceVersion in decimal */
        uint64_t created_revision;
        const char *bytes; /* the JSON document as it goes on the wire, NUL-terminated */
        size_t len;
        const struct json_value *root; /* the same as a tree; valid as long as the reference */
};
const struct store_object *store_object_ref(const struct store_object *object);
const struct store_object *store_object_unref(const struct store_object *object);
static inline void store_object_unrefp(const struct store_object **object)
{
        if (*object)
                store_object_unref(*object);
}
#define autostoreobject __attribute__((cleanup(store_object_unrefp))) const struct store_object *

enum store_verb { STORE_CREATE, STORE_UPDATE, STORE_DELETE };

/* Who did it, for the history row. Strings are copied; NULL is allowed. */
struct store_actor {
        const char *user;
        const char *client; /* address or "controller/vm" */
        const char *request_id;
        const char *field_manager;
        const char *verb; /* the API verb: "patch", "deletecollection" ... */
};

/* One operation of a transaction. */
struct store_op {
        enum store_verb verb;
        const struct schema_kind *kind;
        const char *namespace; /* NULL: cluster scope */
        const char *name;
        struct json_doc *doc;     /* CREATE and UPDATE: the whole object is the root; the store takes the document over */
        uint64_t expect_revision; /* UPDATE, DELETE: must be the newest accepted revision; 0: whatever it is, but it must exist */
};

/* A condition on an object that the transaction does not write: its newest revision is still this one (0: it does not exist). */
struct store_check {
        const struct schema_kind *kind;
        const char *namespace;
        const char *name;
        uint64_t revision;
};

struct store_txn {
        struct store_op *ops;
        size_t n_ops; /* at most LIMIT_STORE_TXN_OPS */
        const struct store_check *checks;
        size_t n_checks;
        struct store_actor actor;
};

/* store_commit() outcomes */
enum {
        STORE_E_CONFLICT = 1, /* a revision or a check did not hold */
        STORE_E_EXISTS,       /* CREATE of an existing key */
        STORE_E_NOT_FOUND,    /* UPDATE or DELETE of an absent key */
        STORE_E_FAILED,       /* the store no longer accepts writes */
        STORE_E_BUSY,         /* too much is queued; try again */
        STORE_E_TOO_LARGE,    /* an object is longer than LIMIT_OBJECT_BYTES, or deeper or richer than what can be read back */
        STORE_E_REFUSED,      /* the guard refuses it: store_refusal() says why */
};

/** Runs on the loop when the transaction is durable and published (@result 0), or lost (< 0): -ENOSPC when the disk is full,
 * nothing of it was written and the store goes on from the published state; else the store has failed.
 *  @objects: the new versions in the order of the ops (for a delete: the last version), borrowed for the call. */
typedef void (*store_done_fn)(int result, const struct store_object *const *objects, size_t n_objects, void *userdata);

/**
 * store_commit() - see above
 * @ret_failed_op: index of the op (or n_ops + index of the check) behind an outcome, may be NULL
 *
 * The operations apply in order; a later one sees what an earlier one of the same transaction wrote. The ops' documents are taken
 * over in every case. @done may be NULL. Return: 0 (then @done runs later, exactly once), an outcome, -E2BIG (more than
 * LIMIT_STORE_TXN_OPS), -ENAMETOOLONG, or what the seal gave (then never).
 */
int store_commit(struct store *store, struct store_txn *txn, store_done_fn done, void *userdata, size_t *ret_failed_op);

/** store_try() - what store_commit() would return now, without doing it; the ops' documents are taken over all the same. */
int store_try(struct store *store, struct store_txn *txn, size_t *ret_failed_op);

/* One object of a transaction: its newest version before, and what it becomes. */
struct store_change {
        const struct store_object *before; /* NULL: it is created */
        const struct store_object *after;  /* NULL: it goes */
};

/*
 * Judges transactions when their conditions hold, and follows what is accepted. It keeps sums over the newest accepted state: what
 * it is told and when is of the one turn in which a transaction is accepted, so that two can never pass on the same sum.
 */
struct store_guard {
        /* Whether objects of @kind in @namespace (NULL: cluster scope) matter; of others nothing is told. */
        bool (*concerns)(const struct schema_kind *kind, const char *namespace, void *userdata);
        /* May all of it be? false: refused, with every reason in @faults. */
        bool (*judge)(const struct store_change *changes, size_t n, struct schema_faults *faults, void *userdata);
        /* The newest accepted state is now with @change. */
        void (*follow)(const struct store_change *change, void *userdata);
        /* What was accepted is taken back: the newest state is the published one again. */
        void (*reset)(void *userdata);
        void *userdata;
};
/** store_set_guard() - one at most; NULL: none any more. Copied. */
void store_set_guard(struct store *store, const struct store_guard *guard);
/** store_refusal() - why the latest STORE_E_REFUSED; until the next commit. */
const struct schema_faults *store_refusal(const struct store *store);
/** store_each_newest() - the newest accepted version of every object of a namespace, in no order; borrowed for the call. */
void store_each_newest(struct store *store, const char *namespace, void (*each)(const struct store_object *object, void *userdata),
                       void *userdata);

/** store_get() - the published version, or NULL; a new reference. */
const struct store_object *store_get(struct store *store, const struct schema_kind *kind, const char *namespace, const char *name);
/** store_get_newest() - the newest accepted version (perhaps not durable yet): the base for read-modify-write. */
const struct store_object *store_get_newest(struct store *store, const struct schema_kind *kind, const char *namespace,
                                            const char *name);

/**
 * store_list() - published objects of @kind in key order
 * @namespace: NULL: all namespaces
 * @after_key: continue behind this key, or NULL
 *
 * @each gets a borrowed object and returns false to stop. Return: the revision of the state that was listed.
 */
uint64_t store_list(struct store *store, const struct schema_kind *kind, const char *namespace, const char *after_key,
                    bool (*each)(const struct store_object *object, void *userdata), void *userdata);
enum { STORE_E_GONE = 1 }; /* the revision is older than what is kept */

/* A list as it was. */
struct store_past {
        const struct schema_kind *kind;
        const char *namespace; /* NULL: all */
        const char *after_key; /* or NULL */
        uint64_t revision;
};
/**
 * store_list_past() - as store_list(), of the state at @past->revision
 * @ret_count: how many objects there were, before and behind the key
 *
 * Return: 0, or STORE_E_GONE when the events since then are no longer kept (or there has been no such revision).
 */
int store_list_past(struct store *store, const struct store_past *past,
                    bool (*each)(const struct store_object *object, void *userdata), void *userdata, size_t *ret_count);
/** store_list_bare() - store_list() for who looks at few of them or at their bytes: an object's root may be NULL. */
uint64_t store_list_bare(struct store *store, const struct schema_kind *kind, const char *namespace, const char *after_key,
                         bool (*each)(const struct store_object *object, void *userdata), void *userdata);
/** store_show() - call @show with @object and its root, which goes again where nobody else needs it. Takes a reference over. */
void store_show(const struct store_object *object, void (*show)(const struct store_object *object, void *userdata), void *userdata);
/** store_revision() - of the newest published write; 1 when there was none yet, the first write gets 2. */
uint64_t store_revision(struct store *store);
/** store_count() - published objects of a kind. */
size_t store_count(struct store *store, const struct schema_kind *kind, const char *namespace);

/* --- watches -------------------------------------------------------------------------------------------------------------------
 */

struct store_event {
        enum store_verb verb;
        const struct store_object *object;   /* for a delete: the last version, with the revision of the delete in @revision */
        const struct store_object *previous; /* NULL for create */
        uint64_t revision;
};

struct store_watch;
/** Called on the loop, once per event, in order. @event NULL: everything up to store_revision() has been delivered (for bookmarks).
 */
typedef void (*store_watch_fn)(const struct store_event *event, void *userdata);
/* The call with NULL comes whenever a watch has caught up: once at the beginning, and after each pause. From then on, events are
 * delivered while they are published: a watch that is not paused has seen all up to store_revision(). */

/**
 * store_watch() - every published event of @kinds (NULL-terminated list; NULL: all kinds) with a revision above @after
 *
 * Events already published are delivered from the next loop iteration on, then new ones as they are published.
 * Return: 0 or STORE_E_GONE.
 */
int store_watch(struct store *store, const struct schema_kind *const *kinds, uint64_t after, store_watch_fn fn, void *userdata,
                struct store_watch **ret_watch);
struct store_watch *store_watch_free(struct store_watch *watch);
/** store_watch_pause() - a slow reader: events wait in the ring; when they fall out of it @fn is not called again and
 *  store_watch_gone() tells so. */
void store_watch_pause(struct store_watch *watch, bool paused);
/** store_watch_on_gone() - have it told, once and in a later turn of the loop, that the ring has overtaken the watch, paused or
 * not. */
void store_watch_on_gone(struct store_watch *watch, void (*on_gone)(void *userdata));
bool store_watch_gone(const struct store_watch *watch);
/** store_oldest_revision() - watches may start at this revision or later. */
uint64_t store_oldest_revision(struct store *store);

/* --- history -------------------------------------------------------------------------------------------------------------------
 */

struct store_history_row {
        uint64_t revision;
        uint64_t time_us;
        enum store_verb verb;
        const char *key, *uid, *user, *client, *request_id, *field_manager, *api_verb;
        const char *delta; /* RFC 6902 operations that lead from this version back to the one before, sensitive values hidden;
                            * NULL for a create and for kinds that are sealed */
};
/*
 * Kinds with history "none" have no rows. Of kinds with "coalesced", an update of volatile fields alone has a row only while it is
 * the newest version of its key; the delta of the row after it leads past it, so that the rows of a key always form one chain. A
 * delete's delta adds the whole object at the root.
 */
/** store_history() - rows of one key (NULL: all), newest first, at most @limit, older than @before (0: from the newest). Blocking
 * read. */
int store_history(struct store *store, const char *key, uint64_t before, unsigned limit,
                  void (*each)(const struct store_history_row *row, void *userdata), void *userdata);

/* --- opening --------------------------------------------------------------------------------------------------------------------
 */

/* store_open_sqlite() outcomes */
enum {
        STORE_E_NEWER = 1, /* written by a newer program: refused */
        STORE_E_CORRUPT,   /* the integrity check failed */
        STORE_E_LOCKED,    /* another process has it open */
};

struct store_options {
        struct loop *loop; /* NULL: memory only; the owner calls store_step() */
        const struct clock *clock;
        /* Seals and opens values of sensitive kinds at rest (Secrets): NULL keeps them plain (tests). Both return a new buffer. */
        int (*seal)(void *userdata, const char *plain, size_t len, char **ret_sealed, size_t *ret_len);
        int (*unseal)(void *userdata, const char *sealed, size_t len, char **ret_plain, size_t *ret_len);
        void *seal_userdata;
        /* Called once, on the loop, when the store fails; the owner logs @words and ends the process. */
        void (*failed)(const char *words, void *userdata);
        void *failed_userdata;
        /* Called on the loop when the disk is full: what was accepted and not durable is taken back (the newest state is the
         * published one again), and their callbacks run behind this. @words NULL: a commit became durable again. Or NULL. */
        void (*full)(const char *words, void *userdata);
        void *full_userdata;
        char **reterr_words;         /* why the store could not be opened; g_free(). Or NULL */
        unsigned history_days;       /* 0: 30 */
        unsigned history_per_object; /* 0: 50 */
};

/** store_open_sqlite() - open or create the database @path (mode 0600) and load the state. WAL, synchronous=FULL. */
int store_open_sqlite(const char *path, const struct store_options *options, struct store **ret_store);
/** store_open_memory() - the same behaviour without durability; commits complete in the next loop iteration. */
int store_open_memory(const struct store_options *options, struct store **ret_store);
/** store_step() - without a loop: complete the queued commits and serve watches. true: there was something to do. */
bool store_step(struct store *store);
/** store_close() - waits for queued commits, then closes; @done callbacks have all run. Watches end with it. Not from within a
 *  callback of the store. */
struct store *store_close(struct store *store);
AUTOPTR(store, store_close);

/** store_key() - "<plural>.<group>/<namespace or ->/<name>"; g_free(). */
char *store_key(const struct schema_kind *kind, const char *namespace, const char *name);

/* For /metrics. */
struct store_stats {
        uint64_t commits, operations, groups, conflicts, refused, watches, events; /* refused: commits, for want of room */
        uint64_t commit_time_us_sum;                                               /* from queueing to durable */
        size_t objects, bytes, queued;
};
void store_stats(struct store *store, struct store_stats *ret_stats);
