/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_private.h"

#include "base/error.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

/* Accepting a transaction: conditions against the newest accepted state, revisions, versions. Nothing is changed before all holds.
 */

static void row_clear(struct row *row)
{
        version_unref(row->object);
        version_unref(row->previous);
        g_free(row->sealed);
        g_free(row->delta);
}

struct commit *commit_free(struct commit *commit)
{
        if (!commit)
                return NULL;
        for (size_t i = 0; i < commit->n_rows; i++)
                row_clear(&commit->rows[i]);
        g_free(commit->actor_text);
        g_free(commit);
        return NULL;
}
AUTOPTR(commit, commit_free);

static const char *commit_copy_text(char **at, const char *text)
{
        size_t size = text ? strlen(text) + 1 : 0;
        char *copy = *at;

        if (!text)
                return NULL;
        memcpy(copy, text, size);
        *at += size;
        return copy;
}

static void commit_copy_actor(struct commit *commit, const struct store_actor *actor)
{
        const char *const texts[] = {actor->user, actor->client, actor->request_id, actor->field_manager, actor->verb};
        size_t size = 1;
        char *at;

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                size += texts[i] ? strlen(texts[i]) + 1 : 0;
        commit->actor_text = at = g_malloc(size);
        commit->actor = (struct store_actor){
                .user = commit_copy_text(&at, actor->user),
                .client = commit_copy_text(&at, actor->client),
                .request_id = commit_copy_text(&at, actor->request_id),
                .field_manager = commit_copy_text(&at, actor->field_manager),
                .verb = commit_copy_text(&at, actor->verb),
        };
}

/* The newest version of @key as this transaction sees it: its own earlier operations count. */
static struct version *commit_find_newest(struct store *store, const struct commit *commit, const char *key)
{
        for (size_t i = commit->n_rows; i > 0; i--) {
                const struct row *row = &commit->rows[i - 1];

                if (strcmp(row->object->public.key, key) == 0)
                        return row->verb == STORE_DELETE ? NULL : row->object;
        }
        return store_find_newest(store, key);
}

static int commit_check(struct store *store, const struct store_check *check)
{
        char key[STORE_KEY_MAX];
        const struct version *version;
        int r;

        r = store_key_write(key, check->kind, check->namespace, check->name);
        if (r < 0)
                return r;
        version = store_find_newest(store, key);
        return (version ? version->public.revision : 0) == check->revision ? 0 : STORE_E_CONFLICT;
}

static int commit_condition(const struct store_op *op, const struct version *newest)
{
        if (op->verb == STORE_CREATE)
                return newest ? STORE_E_EXISTS : 0;
        if (!newest)
                return STORE_E_NOT_FOUND;
        return op->expect_revision && op->expect_revision != newest->public.revision ? STORE_E_CONFLICT : 0;
}

/*
 * The version that @op makes. The document is written and parsed again: what is kept is exactly what can be read back after a
 * restart, in an arena without the caller's leavings.
 */
static int commit_make_version(struct store *store, const struct store_op *op, const char *key, const struct row *row,
                               struct version **ret_version)
{
        struct json_value *root = json_root(op->doc);
        g_autoptr(json_doc) doc = NULL;
        char revision[24];

        assert(json_is(root, JSON_OBJECT));
        (void)snprintf(revision, sizeof(revision), "%" G_GUINT64_FORMAT, row->revision);
        json_set_string(op->doc, json_ensure_object(op->doc, root, "metadata"), "resourceVersion", revision);
        g_string_truncate(store->scratch, 0);
        json_write(root, store->scratch);
        if (store->scratch->len > LIMIT_OBJECT_BYTES)
                return STORE_E_TOO_LARGE;
        if (json_parse(store->scratch->str, store->scratch->len, &doc, NULL) != 0)
                return STORE_E_TOO_LARGE;
        *ret_version = version_new(&(struct version_init){
                .kind = op->kind,
                .key = key,
                .uid = json_find_string(json_root_const(doc), "metadata", "uid", NULL),
                .revision = row->revision,
                .created_revision = row->previous ? row->previous->public.created_revision : row->revision,
                .bytes = store->scratch->str,
                .len = store->scratch->len,
                .doc = doc,
        });
        doc = NULL;
        return 0;
}

static int commit_seal(struct store *store, struct row *row)
{
        const struct store_object *object = &row->object->public;
        int r;

        if (!object->kind->sealed || !store->options.seal || row->verb == STORE_DELETE)
                return 0;
        r = store->options.seal(store->options.seal_userdata, object->bytes, object->len, &row->sealed, &row->sealed_len);
        return error_fold(r);
}

/* Which rows history keeps; trees that the delta will need are made now, on the loop thread. */
static void commit_classify(struct row *row)
{
        enum schema_history history = row->object->public.kind->history;
        struct version *previous = row->previous;

        row->keep = history == SCHEMA_HISTORY_NONE ? ROW_WINDOW : ROW_HISTORY;
        if (!previous || history == SCHEMA_HISTORY_NONE)
                return;
        (void)version_root(previous);
        (void)version_root(previous->base);
        if (history != SCHEMA_HISTORY_COALESCED || row->verb != STORE_UPDATE)
                return;
        if (!schema_changes_only_volatile(row->object->public.kind, version_root(previous), version_root(row->object)))
                return;
        row->keep = ROW_VOLATILE;
        row->object->base = version_ref(previous->base ? previous->base : previous);
}

static int commit_add_op(struct store *store, struct commit *commit, const struct store_op *op)
{
        struct row *row = &commit->rows[commit->n_rows];
        uint64_t now_us = clock_real_us(store->options.clock);
        char key[STORE_KEY_MAX];
        struct version *newest;
        int r;

        assert(op->kind && op->name && (op->verb == STORE_DELETE || op->doc));
        r = store_key_write(key, op->kind, op->namespace, op->name);
        if (r < 0)
                return r;
        newest = commit_find_newest(store, commit, key);
        r = commit_condition(op, newest);
        if (r)
                return r;
        *row = (struct row){
                .verb = op->verb,
                .revision = store->accepted_revision + 1 + commit->n_rows,
                .time_us = MAX((commit->n_rows ? row[-1].time_us : store->accepted_time_us) + 1, now_us),
                .previous = version_ref(newest),
                .sensitive = store_kind_state(store, op->kind)->sensitive,
        };
        if (op->verb == STORE_DELETE)
                row->object = version_ref(newest);
        else
                r = commit_make_version(store, op, key, row, &row->object);
        if (r == 0)
                r = commit_seal(store, row);
        if (r) {
                row_clear(row);
                return r;
        }
        commit_classify(row);
        commit->bytes += row->object->public.len;
        commit->n_rows++;
        return 0;
}

static int commit_build(struct store *store, const struct store_txn *txn, struct commit **ret_commit, size_t *ret_failed)
{
        g_autoptr(commit) commit = g_malloc0(sizeof(*commit) + txn->n_ops * sizeof(*commit->rows));
        int r;

        for (*ret_failed = txn->n_ops; *ret_failed < txn->n_ops + txn->n_checks; ++*ret_failed) {
                r = commit_check(store, &txn->checks[*ret_failed - txn->n_ops]);
                if (r)
                        return r;
        }
        for (*ret_failed = 0; *ret_failed < txn->n_ops; ++*ret_failed) {
                r = commit_add_op(store, commit, &txn->ops[*ret_failed]);
                if (r)
                        return r;
        }
        commit_copy_actor(commit, &txn->actor);
        commit->queued_us = clock_monotonic_us(store->options.clock);
        *ret_commit = g_steal_pointer(&commit);
        return 0;
}

/* --- the guard
 * ----------------------------------------------------------------------------------------------------------------------- */

static bool row_concerns(const struct store *store, const struct row *row)
{
        const struct store_object *object = &row->object->public;

        return store->guard.concerns && store->guard.concerns(object->kind, object->namespace, store->guard.userdata);
}

static struct store_change row_change(struct store *store, const struct row *row)
{
        return (struct store_change){
                .before = row->previous ? warm_public(store->warm, row->previous) : NULL,
                .after = row->verb == STORE_DELETE ? NULL : version_public(row->object),
        };
}

static int commit_judge(struct store *store, const struct commit *commit)
{
        struct store_change changes[LIMIT_STORE_TXN_OPS];
        size_t n = 0;

        for (size_t i = 0; i < commit->n_rows; i++)
                if (row_concerns(store, &commit->rows[i]))
                        changes[n++] = row_change(store, &commit->rows[i]);
        if (n == 0)
                return 0;
        schema_faults_free(store->refusal);
        store->refusal = schema_faults_new();
        return store->guard.judge(changes, n, store->refusal, store->guard.userdata) ? 0 : STORE_E_REFUSED;
}

static void commit_follow(struct store *store, const struct row *row)
{
        struct store_change change;

        if (!row_concerns(store, row))
                return;
        change = row_change(store, row);
        store->guard.follow(&change, store->guard.userdata);
}

void store_set_guard(struct store *store, const struct store_guard *guard)
{
        assert(store && (!guard || (guard->concerns && guard->judge && guard->follow && guard->reset)));
        store->guard = guard ? *guard : (struct store_guard){};
}

const struct schema_faults *store_refusal(const struct store *store)
{
        assert(store && store->refusal);
        return store->refusal;
}

/* --- accepting
 * ----------------------------------------------------------------------------------------------------------------------- */

static void commit_accept(struct store *store, struct commit *commit)
{
        for (size_t i = 0; i < commit->n_rows; i++) {
                struct row *row = &commit->rows[i];

                g_hash_table_replace(store->overlay, (void *)row->object->public.key, row);
                commit_follow(store, row);
                store->accepted_revision = row->revision;
                store->accepted_time_us = row->time_us;
        }
        store->queued_ops += commit->n_rows;
        store->queued_bytes += commit->bytes;
        store->stats.commits++;
        store->stats.operations += commit->n_rows;
        *store->queue_tail = commit;
        store->queue_tail = &commit->next;
        if (!store->writer)
                store_arm_work(store);
        else if (!store->publishing)
                store_release(store);
}

static int commit_admit(const struct store *store, const struct store_txn *txn)
{
        if (store->failed || store->closing)
                return STORE_E_FAILED;
        if (txn->n_ops > LIMIT_STORE_TXN_OPS)
                return -E2BIG;
        if (store->queued_ops + txn->n_ops > LIMIT_STORE_QUEUE_OPS || store->queued_bytes > LIMIT_STORE_QUEUE_BYTES)
                return STORE_E_BUSY;
        return 0;
}

/* All that is done before anything changes. */
static int commit_prepare_to_accept(struct store *store, struct store_txn *txn, struct commit **ret_commit, size_t *ret_failed_op)
{
        g_autoptr(commit) commit = NULL;
        size_t failed = 0;
        int r;

        assert(store && txn && (txn->ops || txn->n_ops == 0) && (txn->checks || txn->n_checks == 0));
        r = commit_admit(store, txn);
        if (r == 0)
                r = commit_build(store, txn, &commit, &failed);
        if (r == 0)
                r = commit_judge(store, commit);
        for (size_t i = 0; i < txn->n_ops; i++)
                txn->ops[i].doc = json_doc_free(txn->ops[i].doc);
        if (r && ret_failed_op)
                *ret_failed_op = failed;
        if (r == 0)
                *ret_commit = g_steal_pointer(&commit);
        return r;
}

int store_try(struct store *store, struct store_txn *txn, size_t *ret_failed_op)
{
        g_autoptr(commit) commit = NULL;

        return commit_prepare_to_accept(store, txn, &commit, ret_failed_op);
}

int store_commit(struct store *store, struct store_txn *txn, store_done_fn done, void *userdata, size_t *ret_failed_op)
{
        struct commit *commit = NULL;
        int r = commit_prepare_to_accept(store, txn, &commit, ret_failed_op);

        if (r == STORE_E_CONFLICT || r == STORE_E_EXISTS || r == STORE_E_NOT_FOUND)
                store->stats.conflicts++;
        if (r)
                return r;
        commit->done = done;
        commit->userdata = userdata;
        commit_accept(store, commit);
        return 0;
}
