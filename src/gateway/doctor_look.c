/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "gateway/blobs.h"
#include "gateway/doctor.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOB_REST_US 60000000ull /* a file this old has got its object, if it ever will */
#define YOUNG_US     10000000ull
#define PIECE_BYTES  (1u << 20)

/* --- files, on a pool thread
 * ------------------------------------------------------------------------------------------------------------------------
 */

static void free_blob(void *data)
{
        struct doctor_blob *blob = data;

        g_free(blob->name);
        g_free(blob->path);
        g_free(blob->sha256);
        g_free(blob);
}

/* Of a whole file, in pieces; NULL when it cannot be read. */
static char *digest_file(const char *path)
{
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        g_autofree unsigned char *piece = g_malloc(PIECE_BYTES);
        autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n;

        while (fd >= 0 && (n = read(fd, piece, PIECE_BYTES)) > 0)
                g_checksum_update(sum, piece, n);
        return fd >= 0 && n == 0 ? g_strdup(g_checksum_get_string(sum)) : NULL;
}

static int read_folder(const char *data_dir, const char *folder, bool intake, bool verify, GPtrArray *blobs)
{
        g_autofree char *path = g_build_filename(data_dir, "blobs", folder, NULL);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *name;

        if (!dir)
                return -EIO;
        while ((name = g_dir_read_name(dir))) {
                g_autofree char *child = g_build_filename(path, name, NULL);
                struct stat info;

                if (lstat(child, &info) < 0)
                        continue;
                struct doctor_blob *blob = g_new0(struct doctor_blob, 1);
                *blob = (struct doctor_blob){
                        .name = g_strdup(name),
                        .path = g_steal_pointer(&child),
                        .bytes = (uint64_t)info.st_size,
                        .changed_us = (uint64_t)info.st_mtim.tv_sec * 1000000,
                        .intake = intake,
                };
                if (verify && !intake && S_ISREG(info.st_mode))
                        blob->sha256 = digest_file(blob->path);
                g_ptr_array_add(blobs, blob);
        }
        return 0;
}

void doctor_files_read(struct gateway *gateway, bool verify, struct doctor_files *ret_files)
{
        g_autofree char *audit = g_build_filename(gateway->data_dir, "audit.log", NULL);

        *ret_files = (struct doctor_files){
                .blobs = g_ptr_array_new_with_free_func(free_blob),
                .uploads = g_ptr_array_new_with_free_func(free_blob),
        };
        ret_files->blobs_error = read_folder(gateway->data_dir, "sha256", false, verify, ret_files->blobs);
        if (ret_files->blobs_error == 0)
                ret_files->blobs_error = read_folder(gateway->data_dir, "intake", true, false, ret_files->blobs);
        if (ret_files->blobs_error == 0 && gateway->resumable)
                ret_files->blobs_error = read_folder(gateway->data_dir, "uploads", true, false, ret_files->uploads);
        auth_audit_flush(gateway->audit);
        ret_files->audit_line = auth_audit_verify(audit, &ret_files->audit_lines);
}

void doctor_files_clear(struct doctor_files *files)
{
        if (files->blobs)
                g_ptr_array_unref(files->blobs);
        if (files->uploads)
                g_ptr_array_unref(files->uploads);
        *files = (struct doctor_files){};
}

/* --- findings as JSON
 * --------------------------------------------------------------------------------------------------------------------------------
 */

struct json_value *doctor_add_finding(struct doctor_answer *answer, const char *source, const char *code, const char *severity,
                                      const char *subject)
{
        struct json_value *finding = json_append(answer->findings, json_new(answer->doc, JSON_OBJECT));

        json_set_string(answer->doc, finding, "source", source);
        json_set_string(answer->doc, finding, "code", code);
        json_set_string(answer->doc, finding, "severity", severity);
        json_set_string(answer->doc, finding, "subject", subject);
        json_set_string(answer->doc, finding, "means", reason_text(code));
        json_ensure_array(answer->doc, finding, "evidence");
        return finding;
}

void doctor_add_evidence(struct doctor_answer *answer, struct json_value *finding, const char *format, ...)
{
        g_autofree char *words = NULL;
        va_list args;

        va_start(args, format);
        words = g_strdup_vprintf(format, args);
        va_end(args);
        json_append(json_ensure_array(answer->doc, finding, "evidence"), json_new_string(answer->doc, words));
}

void doctor_add_store(struct doctor_answer *answer, const struct doctor_report *report)
{
        for (guint i = 0; i < report->findings->len; i++) {
                const struct doctor_finding *finding = report->findings->pdata[i];
                struct json_value *value = doctor_add_finding(answer, "store", finding->code, finding->severity, finding->subject);
                g_autofree char *revision = g_strdup_printf("%" G_GUINT64_FORMAT, finding->revision);

                json_set_string(answer->doc, value, "object", finding->object);
                json_set_string(answer->doc, value, "resourceVersion", revision);
                for (size_t j = 0; j < finding->n_evidence; j++)
                        doctor_add_evidence(answer, value, "%s", finding->evidence[j]);
                json_set_string(answer->doc, value, "fix", finding->fix);
                json_set_string(answer->doc, value, "safe", finding->safe);
                json_set_string(answer->doc, value, "undo", finding->undo);
        }
}

static const char *digest_of(const struct cache_object *blob)
{
        return json_find_string(cache_root(blob), "spec", "digest", NULL);
}

static bool held_here(const struct cache_object *blob)
{
        const struct json_value *locations = json_find(cache_root(blob), "status", "locations", NULL);

        for (const struct json_value *l = json_first(locations); l; l = json_next(l))
                if (g_strcmp0(json_find_string(l, "gateway", NULL), g_get_host_name()) == 0)
                        return true;
        return false;
}

/* A file that nothing names, or an upload that nobody feeds. */
static bool is_stray(struct gateway *gateway, const struct doctor_blob *file)
{
        uint64_t now = clock_real_us(gateway->clock), rest = file->intake ? DOCTOR_INTAKE_REST_US : BLOB_REST_US;
        g_autofree char *name = g_strconcat("sha256-", file->name, NULL);

        if (file->changed_us + rest > now)
                return false;
        return file->intake || !cache_get(gateway->cache, &api_image_blob_kind, NULL, name);
}

/* A file that is not what its object says: agents that fetch it find out, and refuse it. */
static void compare_blob(struct doctor_answer *answer, const struct cache_object *object, const struct doctor_blob *file)
{
        g_autofree char *subject = g_strconcat("imageblobs/", object->name, NULL);
        struct json_value *finding;
        int64_t bytes = 0;

        (void)json_int64(json_find(cache_root(object), "spec", "sizeBytes", NULL), &bytes);
        if ((uint64_t)bytes == file->bytes && (!file->sha256 || g_str_equal(file->sha256, file->name)))
                return;
        finding = doctor_add_finding(answer, "store", REASON_BLOB_DAMAGED, "Critical", subject);
        if ((uint64_t)bytes != file->bytes)
                doctor_add_evidence(answer, finding, "%s has %" G_GUINT64_FORMAT " bytes, and was stored with %" G_GINT64_FORMAT,
                                    file->path, file->bytes, bytes);
        else
                doctor_add_evidence(answer, finding, "%s has SHA-256 %s", file->path, file->sha256);
}

static void add_blobs(struct doctor_answer *answer, const struct doctor_files *files)
{
        g_autoptr(GPtrArray) objects = cache_list(answer->gateway->cache, &api_image_blob_kind, NULL);
        g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint i = 0; i < files->blobs->len; i++) {
                const struct doctor_blob *file = files->blobs->pdata[i];
                char time[CLOCK_RFC3339_MAX];

                if (!file->intake)
                        g_hash_table_insert(names, file->name, (gpointer)file);
                if (!is_stray(answer->gateway, file))
                        continue;
                struct json_value *finding = doctor_add_finding(answer, "store", REASON_STRAY_BLOB, "Warning", file->path);
                doctor_add_evidence(answer, finding, "%s: %" G_GUINT64_FORMAT " bytes, changed %s", file->path, file->bytes,
                                    clock_format_rfc3339(file->changed_us, false, time));
                doctor_add_evidence(answer, finding,
                                    file->intake ? "an upload that has not grown for an hour" : "no ImageBlob has that digest");
                json_set_string(answer->doc, finding, "fix", "move it to blobs/lost+found of the gateway's folder");
                json_set_string(answer->doc, finding, "safe", "no image names it; nothing is deleted");
                json_set_string(answer->doc, finding, "undo", "on the gateway's host: mv the file back, or upload it again");
        }
        for (guint i = 0; i < objects->len; i++) {
                const struct cache_object *blob = objects->pdata[i];
                const char *digest = digest_of(blob);
                const struct doctor_blob *file = digest ? g_hash_table_lookup(names, digest) : NULL;
                g_autofree char *subject = g_strconcat("imageblobs/", blob->name, NULL);

                if (file)
                        compare_blob(answer, blob, file);
                if (!digest || !held_here(blob) || file)
                        continue;
                struct json_value *finding = doctor_add_finding(answer, "store", REASON_BLOB_MISSING, "Critical", subject);
                doctor_add_evidence(answer, finding, "status.locations names this gateway, and there is no file %s", digest);
        }
}

void doctor_add_files(struct doctor_answer *answer, const struct doctor_files *files)
{
        if (files->blobs_error < 0) {
                g_autofree char *words = g_strdup_printf("image library: %s", g_strerror(-files->blobs_error));
                json_append(answer->unlooked, json_new_string(answer->doc, words));
        } else {
                add_blobs(answer, files);
                doctor_add_uploads(answer, files);
        }
        if (files->audit_line < 0) {
                g_autofree char *words = g_strdup_printf("audit log: %s", g_strerror(-files->audit_line));
                json_append(answer->unlooked, json_new_string(answer->doc, words));
        } else if (files->audit_line > 0) {
                g_autofree char *subject = g_strdup_printf("audit.log/%d", files->audit_line);
                struct json_value *finding = doctor_add_finding(answer, "store", REASON_AUDIT_CHAIN_BROKEN, "Critical", subject);
                doctor_add_evidence(answer, finding,
                                    "line %d of audit.log is missing, or is not what was written after the line before it",
                                    files->audit_line);
        }
}

int doctor_move_aside(struct gateway *gateway, const struct doctor_blob *file, char **ret_words)
{
        g_autofree char *folder = g_build_filename(gateway->data_dir, "blobs", "lost+found", NULL);
        g_autofree char *target = g_build_filename(folder, file->name, NULL);
        int r = file_ensure_dir(folder, 0700);

        if (r < 0)
                return r;
        if (renameat2(AT_FDCWD, file->path, AT_FDCWD, target, RENAME_NOREPLACE) < 0)
                return -errno;
        *ret_words = g_strdup_printf("moved to %s", target);
        return 0;
}

int doctor_repair_blob(struct gateway *gateway, const struct doctor_files *files, const char *subject, char **ret_words)
{
        for (guint i = 0; i < files->blobs->len; i++) {
                const struct doctor_blob *file = files->blobs->pdata[i];

                if (g_str_equal(file->path, subject) && is_stray(gateway, file))
                        return doctor_move_aside(gateway, file, ret_words);
        }
        return -ENOENT;
}

/* --- what hosts found
 * --------------------------------------------------------------------------------------------------------------------------------
 */

static const char *task_node(const struct cache_object *task)
{
        return json_find_string(cache_root(task), "spec", "nodeName", NULL) ?: "?";
}

/* What a stray thing would belong to, had the agent only heard of it. */
struct named {
        const char *node, *subject, *tail, *uid;
        const struct cache_object *intent;
};

static bool is_bound(const struct cache_object *object, const char *node)
{
        return g_strcmp0(json_find_string(cache_root(object), "spec", "nodeName", NULL), node) == 0;
}

static bool match_volume(const struct cache_object *object, void *userdata)
{
        struct named *named = userdata;
        const struct api_volume *view = object->view;

        if (!is_bound(object, named->node) || !view->spec->pool || !view->spec->pool->path)
                return true;
        g_autofree char *path = g_build_filename(view->spec->pool->path, view->spec->volume_name, NULL);
        if (g_str_equal(path, named->subject))
                named->intent = object;
        return !named->intent;
}

static bool match_port(const struct cache_object *object, void *userdata)
{
        struct named *named = userdata;
        const struct api_port *view = object->view;

        if (is_bound(object, named->node) && g_strcmp0(view->spec->tap_name, named->tail) == 0)
                named->intent = object;
        return !named->intent;
}

static bool match_domain(const struct cache_object *object, void *userdata)
{
        struct named *named = userdata;
        const struct api_instance *view = object->view;
        const char *uuid = json_find_string(view->spec->hardware, "uuid", NULL) ?: view->spec->machine->uid;

        if (is_bound(object, named->node) && g_ascii_strcasecmp(uuid ?: "", named->tail) == 0)
                named->intent = object;
        return !named->intent;
}

/* The intent on this node that the store has for a thing which the agent calls a stray one, or NULL. */
static const struct cache_object *store_knows(struct gateway *gateway, const char *node, const struct json_value *finding)
{
        static const struct {
                const char *code;
                const struct schema_kind *kind;
                bool (*match)(const struct cache_object *object, void *userdata);
        } table[] = {
                {REASON_STRAY_DOMAIN, &api_instance_kind, match_domain},
                {REASON_STRAY_VOLUME, &api_volume_kind, match_volume},
                {REASON_STRAY_TAP, &api_port_kind, match_port},
        };
        const char *code = json_find_string(finding, "code", NULL) ?: "", *uid = json_find_string(finding, "uid", NULL);
        const char *subject = json_find_string(finding, "subject", NULL) ?: "", *slash = strchr(subject, '/');
        struct named named = {.node = node, .subject = subject, .tail = slash ? slash + 1 : subject, .uid = uid};

        if (!g_str_has_prefix(code, "Stray"))
                return NULL;
        named.intent = uid && *uid ? cache_by_uid(gateway->cache, uid) : NULL;
        if (named.intent && !is_bound(named.intent, node))
                named.intent = NULL;
        for (size_t i = 0; !named.intent && i < G_N_ELEMENTS(table); i++)
                if (g_str_equal(table[i].code, code))
                        cache_each(gateway->cache, table[i].kind, NULL, table[i].match, &named);
        return named.intent;
}

static bool is_young(struct gateway *gateway, const struct cache_object *object)
{
        const char *created = json_find_string(cache_root(object), "metadata", "creationTimestamp", NULL);
        uint64_t created_us = 0;

        return created && clock_parse_rfc3339(created, &created_us) == 0 && created_us + YOUNG_US > clock_real_us(gateway->clock);
}

static void add_machine(struct doctor_answer *answer, struct json_value *finding, const char *uid)
{
        const struct cache_object *machine = uid && *uid ? cache_by_uid(answer->gateway->cache, uid) : NULL;

        if (machine)
                doctor_add_evidence(answer, finding, "the machine %s/%s exists, phase %s, on node %s", machine->namespace,
                                    machine->name, json_find_string(cache_root(machine), "status", "phase", NULL) ?: "?",
                                    json_find_string(cache_root(machine), "status", "nodeName", NULL) ?: "none");
        else if (uid && *uid)
                doctor_add_evidence(answer, finding, "no machine has the UID %s any more", uid);
}

static void add_one(struct doctor_answer *answer, const char *node, const struct json_value *found)
{
        const struct cache_object *intent = store_knows(answer->gateway, node, found);
        g_autofree char *source = g_strconcat("node/", node, NULL);
        const char *code = json_find_string(found, "code", NULL) ?: "Unknown";

        if (intent && is_young(answer->gateway, intent)) {
                answer->in_progress++;
                return;
        }
        struct json_value *finding = doctor_add_finding(answer, source, intent ? REASON_MANIFEST_BEHIND : code,
                                                        json_find_string(found, "severity", NULL) ?: "Warning",
                                                        json_find_string(found, "subject", NULL) ?: "?");
        json_set(answer->doc, finding, "evidence",
                 json_copy(answer->doc, json_get(found, "evidence") ?: json_new(answer->doc, JSON_ARRAY)));
        json_set_string(answer->doc, finding, "object", json_find_string(found, "object", NULL));
        add_machine(answer, finding, json_find_string(found, "machine", NULL));
        if (intent) {
                doctor_add_evidence(answer, finding,
                                    "the agent reports %s, and the store has %s/%s for it on this node: restart the agent", code,
                                    intent->kind->plural, intent->name);
                return;
        }
        json_set_string(answer->doc, finding, "fix", json_find_string(found, "fix", NULL));
        json_set_string(answer->doc, finding, "safe", json_find_string(found, "safe", NULL));
        json_set_string(answer->doc, finding, "undo", json_find_string(found, "undo", NULL));
}

void doctor_add_host(struct doctor_answer *answer, const struct cache_object *task)
{
        const struct json_value *status = json_get(cache_root(task), "status");
        int64_t number = 0;

        for (const struct json_value *f = json_first(json_get(status, "findings")); f; f = json_next(f))
                add_one(answer, task_node(task), f);
        for (const struct json_value *u = json_first(json_get(status, "unlooked")); u; u = json_next(u)) {
                g_autofree char *words = g_strdup_printf("node %s: %s", task_node(task), json_string(u, ""));
                json_append(answer->unlooked, json_new_string(answer->doc, words));
        }
        if (json_int64(json_get(status, "inProgress"), &number) == 0)
                answer->in_progress += number;
        if (json_int64(json_get(status, "cutOff"), &number) == 0)
                answer->cut_off += number;
}

bool doctor_host_finding(struct gateway *gateway, const struct cache_object *task, const char *code, const char *subject)
{
        const struct json_value *findings = json_find(cache_root(task), "status", "findings", NULL);

        for (const struct json_value *f = json_first(findings); f; f = json_next(f))
                if (g_strcmp0(json_find_string(f, "code", NULL), code) == 0 &&
                    g_strcmp0(json_find_string(f, "subject", NULL), subject) == 0)
                        return json_get(f, "fix") && !store_knows(gateway, task_node(task), f);
        return false;
}
