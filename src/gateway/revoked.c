/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/revoked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "generated/api_types.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define FILE_BYTES_MAX (256u << 20)

struct revoked {
        struct gateway *gateway;
        struct store_watch *watch;
        char *path;
        GHashTable *known; /* "WHAT ID" -> "UNTIL": what holds now */
        int fd;
        GString *waiting; /* lines that are not handed to the pool yet */
        bool writing, ending;
};

static const struct schema_kind *const watched[] = {&api_token_kind, &api_user_kind, &api_password_kind, &api_node_identity_kind,
                                                    NULL};

/* --- what an object is remembered by
 * ----------------------------------------------------------------------------------------------- */

/* One kind: by what it is remembered, whether it is refused as it stands, and how the store is made to refuse it again. */
struct memory {
        const struct schema_kind *kind;
        const char *what;
        const char *const path[2]; /* of the id in the object */
        bool deletes;              /* made again by deleting; else by spec.disabled */
};

static const struct memory memories[] = {
        {&api_token_kind, "token", {"metadata", "name"}, true},
        {&api_user_kind, "user", {"metadata", "uid"}, false},
        {&api_password_kind, "password", {"spec", "stamp"}, true},
        {&api_node_identity_kind, "node", {"spec", "serial"}, false},
};

static const struct memory *memory_of(const struct schema_kind *kind)
{
        for (size_t i = 0; i < G_N_ELEMENTS(memories); i++)
                if (memories[i].kind == kind)
                        return &memories[i];
        return NULL;
}

static char *key_of(const struct memory *memory, const struct store_object *object)
{
        const char *id = json_find_string(object->root, memory->path[0], memory->path[1], NULL);

        /* What stands in a line must not break it. */
        return id && !strpbrk(id, " \n") ? g_strdup_printf("%s %s", memory->what, id) : NULL;
}

static bool is_disabled(const struct store_object *object)
{
        return json_bool(json_find(object->root, "spec", "disabled", NULL), false);
}

/* Seconds after which it would have ended by itself; 0: never. */
static uint64_t until_of(const struct store_object *object)
{
        const char *expires = json_find_string(object->root, "spec", "expires", NULL);
        uint64_t us = 0;

        return expires && clock_parse_rfc3339(expires, &us) == 0 ? us / 1000000 + 1 : 0;
}

/* --- writing
 * --------------------------------------------------------------------------------------------------------------------- */

struct writing {
        struct revoked *revoked;
        GString *lines;
        int fd;
};

static int write_lines(void *userdata)
{
        struct writing *writing = userdata;
        int r = fd_write_all(writing->fd, writing->lines->str, writing->lines->len);

        return r == 0 && fdatasync(writing->fd) < 0 ? -errno : r;
}

static void hand_over(struct revoked *revoked);

static void on_written(int result, void *userdata)
{
        struct writing *writing = userdata;
        struct revoked *revoked = writing->revoked;

        revoked->writing = false;
        if (result < 0) {
                if (result != -ECANCELED)
                        log_error("cannot note what was revoked: an older backup of the store would bring it back", "path",
                                  revoked->path, "error", g_strerror(-result));
                g_string_prepend_len(revoked->waiting, writing->lines->str, (gssize)writing->lines->len); /* with the next ones */
        } else {
                hand_over(revoked);
        }
        g_string_free(writing->lines, TRUE);
        g_free(writing);
}

static void hand_over(struct revoked *revoked)
{
        struct writing *writing;

        if (revoked->writing || revoked->ending || !revoked->waiting->len)
                return;
        writing = g_new0(struct writing, 1);
        *writing = (struct writing){.revoked = revoked, .lines = revoked->waiting, .fd = revoked->fd};
        revoked->waiting = g_string_new(NULL);
        revoked->writing = true;
        loop_pool_submit(revoked->gateway->pool, write_lines, on_written, writing);
}

static void note(struct revoked *revoked, const char *key, uint64_t until)
{
        char text[24] = "-";

        if (until)
                g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, until);
        if (!g_hash_table_insert(revoked->known, g_strdup(key), g_strdup(text)))
                return;
        g_string_append_printf(revoked->waiting, "%s %s\n", key, text);
        hand_over(revoked);
}

static void take_back(struct revoked *revoked, const char *key)
{
        if (!g_hash_table_remove(revoked->known, key))
                return;
        g_string_append_printf(revoked->waiting, "enabled-%s -\n", key);
        hand_over(revoked);
}

/* --- following the store
 * ----------------------------------------------------------------------------------------------------------- */

static void on_deleted(struct revoked *revoked, const char *key, const struct store_object *object)
{
        uint64_t until = until_of(object);

        if (!until || until > clock_real_us(revoked->gateway->clock) / 1000000)
                note(revoked, key, until);
}

static void on_changed(struct revoked *revoked, const struct memory *memory, const char *key, const struct store_event *event)
{
        g_autofree char *before = event->previous ? key_of(memory, event->previous) : NULL;

        if (memory->kind == &api_password_kind) {
                if (before && strcmp(before, key) != 0)
                        note(revoked, before, 0);
        } else if (!memory->deletes) {
                if (is_disabled(event->object))
                        note(revoked, key, 0);
                else
                        take_back(revoked, key);
        }
}

static void on_event(const struct store_event *event, void *userdata)
{
        struct revoked *revoked = userdata;
        const struct memory *memory = event ? memory_of(event->object->kind) : NULL;
        g_autofree char *key = memory ? key_of(memory, event->object) : NULL;

        if (!key)
                return;
        if (event->verb == STORE_DELETE)
                on_deleted(revoked, key, event->object);
        else
                on_changed(revoked, memory, key, event);
}

/* --- the file
 * -------------------------------------------------------------------------------------------------------------------- */

/* A line that a power cut has torn says nothing. */
static void take_line(struct revoked *revoked, const char *line, uint64_t now)
{
        g_auto(GStrv) words = g_strsplit(line, " ", 0);
        g_autofree char *key = NULL;
        bool back;

        if (g_strv_length(words) != 3)
                return;
        back = g_str_has_prefix(words[0], "enabled-");
        key = g_strdup_printf("%s %s", words[0] + (back ? strlen("enabled-") : 0), words[1]);
        if (back)
                g_hash_table_remove(revoked->known, key);
        else if (strcmp(words[2], "-") == 0 || g_ascii_strtoull(words[2], NULL, 10) > now)
                g_hash_table_insert(revoked->known, g_steal_pointer(&key), g_strdup(words[2]));
}

static int read_file(struct revoked *revoked)
{
        uint64_t now = clock_real_us(revoked->gateway->clock) / 1000000;
        g_autofree char *text = NULL;
        size_t len;
        int r = file_read(revoked->path, FILE_BYTES_MAX, &text, &len);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
                *end = 0;
                take_line(revoked, line, now);
        }
        return 0;
}

/* Without what has ended by itself and what was taken back; then it only grows. */
static int write_anew(struct revoked *revoked)
{
        g_autoptr(GString) text = g_string_new(NULL);
        GHashTableIter iter;
        void *key, *until;
        int r;

        g_hash_table_iter_init(&iter, revoked->known);
        while (g_hash_table_iter_next(&iter, &key, &until))
                g_string_append_printf(text, "%s %s\n", (char *)key, (char *)until);
        r = file_write_atomic(revoked->path, text->str, text->len, 0600);
        if (r < 0)
                return r;
        revoked->fd = open(revoked->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        return revoked->fd < 0 ? -errno : 0;
}

/* --- making them again
 * ------------------------------------------------------------------------------------------------------------- */

struct again {
        struct revoked *revoked; /* NULL: all tokens */
        GPtrArray *objects;
};

static void unref_object(void *object)
{
        store_object_unref(object);
}

static bool is_forgotten(const struct store_object *object, void *userdata)
{
        struct again *again = userdata;
        const struct memory *memory = memory_of(object->kind);
        g_autofree char *key = key_of(memory, object);

        if (key && g_hash_table_contains(again->revoked->known, key) && (memory->deletes || !is_disabled(object)))
                g_ptr_array_add(again->objects, (void *)store_object_ref(object));
        return true;
}

static struct store_op refuse_op(const struct store_object *object)
{
        struct store_op op = {.verb = STORE_DELETE, .kind = object->kind, .name = object->name};

        if (memory_of(object->kind)->deletes)
                return op;
        op.verb = STORE_UPDATE;
        op.doc = json_doc_new();
        json_set_root(op.doc, json_copy(op.doc, object->root));
        json_set_bool(op.doc, json_ensure_object(op.doc, json_root(op.doc), "spec"), "disabled", true);
        return op;
}

struct waiting {
        unsigned pending;
        int result;
};

static void on_done(int result, const struct store_object *const *objects, size_t n_objects, void *userdata)
{
        struct waiting *waiting = userdata;

        waiting->pending--;
        if (result < 0)
                waiting->result = result;
}

/* In transactions of their own, each durable before the next: nobody is served before. */
static int refuse_all(struct gateway *gateway, const GPtrArray *objects)
{
        for (guint at = 0; at < objects->len;) {
                struct store_op ops[LIMIT_STORE_TXN_OPS];
                struct store_txn txn = {.ops = ops,
                                        .actor = {.user = "gabbro:gateway", .client = "gateway/revoked", .verb = "delete"}};
                struct waiting waiting = {.pending = 1};
                int r;

                while (txn.n_ops < LIMIT_STORE_TXN_OPS && at < objects->len)
                        ops[txn.n_ops++] = refuse_op(objects->pdata[at++]);
                r = error_fold(store_commit(gateway->store, &txn, on_done, &waiting, NULL));
                while (r >= 0 && waiting.pending > 0)
                        r = loop_run_once(gateway->loop, UINT64_MAX);
                if (r < 0 || waiting.result < 0)
                        return r < 0 ? r : waiting.result;
        }
        return 0;
}

static int make_again(struct revoked *revoked, size_t *ret_again)
{
        g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(unref_object);
        struct again again = {.revoked = revoked, .objects = objects};

        for (size_t i = 0; i < G_N_ELEMENTS(memories); i++)
                store_list(revoked->gateway->store, memories[i].kind, NULL, NULL, is_forgotten, &again);
        *ret_again = objects->len;
        return refuse_all(revoked->gateway, objects);
}

static bool is_bearer(const struct store_object *token, void *userdata)
{
        struct again *again = userdata;

        if (g_strcmp0(json_find_string(token->root, "spec", "type", NULL), "Join") != 0)
                g_ptr_array_add(again->objects, (void *)store_object_ref(token));
        return true;
}

int revoked_end_all(struct gateway *gateway, size_t *ret_n)
{
        g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(unref_object);
        struct again again = {.objects = objects};

        assert(gateway && ret_n);
        store_list(gateway->store, &api_token_kind, NULL, NULL, is_bearer, &again);
        *ret_n = objects->len;
        return refuse_all(gateway, objects);
}

/* --- life
 * ------------------------------------------------------------------------------------------------------------------------ */

int revoked_init(struct gateway *gateway, size_t *ret_again)
{
        struct revoked *revoked = g_new0(struct revoked, 1);
        int r;

        assert(gateway->store && gateway->pool && ret_again);
        gateway->revoked = revoked;
        revoked->gateway = gateway;
        revoked->fd = -1;
        revoked->path = g_build_filename(gateway->data_dir, "revoked.log", NULL);
        revoked->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        revoked->waiting = g_string_new(NULL);
        r = read_file(revoked);
        if (r == 0)
                r = make_again(revoked, ret_again);
        if (r == 0)
                r = write_anew(revoked);
        if (r == 0)
                r = error_fold(
                        store_watch(gateway->store, watched, store_revision(gateway->store), on_event, revoked, &revoked->watch));
        return r;
}

void revoked_settle(struct revoked *revoked)
{
        if (revoked)
                revoked->ending = true;
}

struct revoked *revoked_free(struct revoked *revoked)
{
        if (!revoked)
                return NULL;
        if (revoked->watch)
                store_watch_free(revoked->watch);
        /* The pool is gone already: the last lines are written here. */
        if (revoked->waiting->len && revoked->fd >= 0 &&
            (fd_write_all(revoked->fd, revoked->waiting->str, revoked->waiting->len) < 0 || fdatasync(revoked->fd) < 0))
                log_error("cannot note what was revoked last", "path", revoked->path);
        fd_close(revoked->fd);
        g_string_free(revoked->waiting, TRUE);
        g_hash_table_unref(revoked->known);
        g_free(revoked->path);
        g_free(revoked);
        return NULL;
}
