/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/journal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/steps.h"
#include "json/json.h"

#include <dirent.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION         1
#define ENTRY_BYTES_MAX 65536
#define SUFFIX          ".json"

struct entry {
        char *kind, *name, *uid;
        int64_t generation;
        GHashTable *steps; /* step -> GINT enum journal_state */
};

struct journal {
        GMutex mutex;
        char *dir;
        struct steps *steps;
        GHashTable *entries; /* uid -> struct entry */
};

static struct entry *entry_free(struct entry *entry)
{
        if (entry) {
                g_free(entry->kind);
                g_free(entry->name);
                g_free(entry->uid);
                g_clear_pointer(&entry->steps, g_hash_table_unref);
                g_free(entry);
        }
        return NULL;
}
AUTOPTR(entry, entry_free);

static void free_entry(void *entry)
{
        entry_free(entry);
}

static char *entry_path(const struct journal *journal, const char *uid, int64_t generation)
{
        return g_strdup_printf("%s/%s-%" G_GINT64_FORMAT SUFFIX, journal->dir, uid, generation);
}

/* --- files -----------------------------------------------------------------------------------------------------------------------
 */

static int compare_text(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *entry_text(const struct entry *entry)
{
        g_autofree const char **steps = (const char **)g_hash_table_get_keys_as_array(entry->steps, NULL);
        g_autoptr(json_doc) doc = json_doc_new();
        struct json_value *root = json_new(doc, JSON_OBJECT), *list;
        unsigned n = g_hash_table_size(entry->steps);

        qsort(steps, n, sizeof(*steps), compare_text);
        json_set_int(doc, root, "version", VERSION);
        json_set_string(doc, root, "kind", entry->kind);
        json_set_string(doc, root, "name", entry->name);
        json_set_string(doc, root, "uid", entry->uid);
        json_set_int(doc, root, "generation", entry->generation);
        list = json_ensure_object(doc, root, "steps");
        for (unsigned i = 0; i < n; i++) {
                bool done = GPOINTER_TO_INT(g_hash_table_lookup(entry->steps, steps[i])) == JOURNAL_DONE;

                json_set_string(doc, list, steps[i], done ? "done" : "begun");
        }
        return json_to_text(root);
}

static int entry_write(const struct journal *journal, const struct entry *entry)
{
        g_autofree char *path = entry_path(journal, entry->uid, entry->generation);
        g_autofree char *text = entry_text(entry);

        return file_write_atomic(path, text, strlen(text), 0600);
}

static struct entry *entry_parse(const char *text, size_t len)
{
        g_autoptr(entry) entry = g_new0(struct entry, 1);
        g_autoptr(json_doc) doc = NULL;
        const struct json_value *root;
        int64_t version;

        if (json_parse(text, len, &doc, NULL)) {
                return NULL;
        }
        root = json_root(doc);
        if (json_int64(json_get(root, "version"), &version) || version != VERSION ||
            json_int64(json_get(root, "generation"), &entry->generation)) {
                return NULL;
        }
        entry->kind = g_strdup(json_find_string(root, "kind", NULL));
        entry->name = g_strdup(json_find_string(root, "name", NULL));
        entry->uid = g_strdup(json_find_string(root, "uid", NULL));
        entry->steps = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (const struct json_value *step = json_first(json_get(root, "steps")); step; step = json_next(step)) {
                bool done = g_strcmp0(json_string(step, NULL), "done") == 0;

                g_hash_table_insert(entry->steps, g_strdup(json_key(step)), GINT_TO_POINTER(done ? JOURNAL_DONE : JOURNAL_BEGUN));
        }
        return entry->uid && uuid_valid(entry->uid) ? g_steal_pointer(&entry) : NULL;
}

/* The newest generation of an intent counts; older files are what a kill left between writing the new and removing the old. */
static void keep_newest(struct journal *journal, struct entry *entry)
{
        const struct entry *known = g_hash_table_lookup(journal->entries, entry->uid);
        g_autofree char *old = NULL;

        if (known) {
                old = entry_path(journal, entry->uid, MIN(known->generation, entry->generation));
                /* One file too many is read again at the next start. */
                (void)unlink(old);
        }
        if (known && known->generation >= entry->generation) {
                entry_free(entry);
                return;
        }
        g_hash_table_replace(journal->entries, entry->uid, entry);
}

static int load(struct journal *journal)
{
        DIR *folder = opendir(journal->dir);
        const struct dirent *file;

        if (!folder) {
                return -errno;
        }
        while ((file = readdir(folder))) {
                g_autofree char *path = g_build_filename(journal->dir, file->d_name, NULL), *text = NULL, *aside = NULL;
                struct entry *entry;
                size_t len;

                if (strstr(file->d_name, SUFFIX ".") && !g_str_has_suffix(file->d_name, ".bad")) {
                        /* A write that a kill cut short; the file itself is as it was before. */
                        (void)unlink(path);
                }
                if (!g_str_has_suffix(file->d_name, SUFFIX) || file_read(path, ENTRY_BYTES_MAX, &text, &len) < 0) {
                        continue;
                }
                entry = entry_parse(text, len);
                if (entry) {
                        keep_newest(journal, entry);
                } else {
                        aside = g_strconcat(path, ".bad", NULL);
                        /* Left where it is, it is only read again. */
                        (void)rename(path, aside);
                }
        }
        closedir(folder);
        return 0;
}

int journal_open(const char *dir, struct steps *steps, struct journal **ret_journal)
{
        g_autoptr(journal) journal = g_new0(struct journal, 1);
        int r;

        assert(dir && ret_journal);
        g_mutex_init(&journal->mutex);
        journal->dir = g_strdup(dir);
        journal->steps = steps;
        journal->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_entry);
        r = file_ensure_dir(dir, 0700);
        if (!r) {
                r = load(journal);
        }
        if (!r) {
                *ret_journal = g_steal_pointer(&journal);
        }
        return r;
}

struct journal *journal_free(struct journal *journal)
{
        if (journal) {
                g_hash_table_unref(journal->entries);
                g_free(journal->dir);
                g_mutex_clear(&journal->mutex);
                g_free(journal);
        }
        return NULL;
}

/* --- steps -----------------------------------------------------------------------------------------------------------------------
 */

static struct entry *entry_for(struct journal *journal, const struct journal_key *key, int64_t *ret_old_generation)
{
        struct entry *entry = g_hash_table_lookup(journal->entries, key->uid);

        if (!entry) {
                entry = g_new0(struct entry, 1);
                entry->kind = g_strdup(key->kind);
                entry->name = g_strdup(key->name);
                entry->uid = g_strdup(key->uid);
                entry->generation = key->generation;
                entry->steps = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                g_hash_table_replace(journal->entries, entry->uid, entry);
        }
        *ret_old_generation = entry->generation;
        entry->generation = MAX(entry->generation, key->generation);
        return entry;
}

/* On disk as it is to be, or as it was. */
static int write_step(struct journal *journal, const struct journal_key *key, const char *step, enum journal_state state)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&journal->mutex);
        struct entry *entry;
        int64_t old;
        int r;

        assert(key && uuid_valid(key->uid) && step);
        entry = entry_for(journal, key, &old);
        if (state == JOURNAL_NONE) {
                g_hash_table_remove(entry->steps, step);
        } else {
                g_hash_table_insert(entry->steps, g_strdup(step), GINT_TO_POINTER(state));
        }
        r = entry_write(journal, entry);
        if (!r && old != entry->generation) {
                g_autofree char *path = entry_path(journal, entry->uid, old);

                /* Removed by the next start otherwise. */
                (void)unlink(path);
        }
        return r;
}

static int set_step(struct journal *journal, const struct journal_key *key, const char *step, enum journal_state state)
{
        static const char *const before[] = {"undo.before", "begin.before", "done.before"};
        static const char *const after[] = {"undo.after", "begin.after", "done.after"};
        int r = steps_pass(journal->steps, key->kind, step, before[state]);

        if (!r) {
                r = write_step(journal, key, step, state);
        }
        return r ? r : steps_pass(journal->steps, key->kind, step, after[state]);
}

int journal_begin(struct journal *journal, const struct journal_key *key, const char *step)
{
        return set_step(journal, key, step, JOURNAL_BEGUN);
}

int journal_done(struct journal *journal, const struct journal_key *key, const char *step)
{
        return set_step(journal, key, step, JOURNAL_DONE);
}

int journal_undo(struct journal *journal, const struct journal_key *key, const char *step)
{
        return set_step(journal, key, step, JOURNAL_NONE);
}

enum journal_state journal_step(struct journal *journal, const char *uid, const char *step)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&journal->mutex);
        const struct entry *entry;

        assert(uid && step);
        entry = g_hash_table_lookup(journal->entries, uid);
        return entry ? GPOINTER_TO_INT(g_hash_table_lookup(entry->steps, step)) : JOURNAL_NONE;
}

int journal_drop(struct journal *journal, const char *uid, int64_t generation)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&journal->mutex);
        const struct entry *entry;
        g_autofree char *path = NULL;

        assert(uid);
        entry = g_hash_table_lookup(journal->entries, uid);
        if (!entry || entry->generation > generation) {
                return 0;
        }
        path = entry_path(journal, uid, entry->generation);
        (void)steps_pass(journal->steps, entry->kind, "journal", "drop.before");
        if (unlink(path) < 0 && errno != ENOENT) {
                return -errno;
        }
        (void)steps_pass(journal->steps, entry->kind, "journal", "drop.after");
        g_hash_table_remove(journal->entries, uid);
        return 0;
}

unsigned journal_length(struct journal *journal)
{
        g_autoptr(GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new(&journal->mutex);

        return g_hash_table_size(journal->entries);
}
