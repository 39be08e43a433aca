/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/doctor.h"

#include "base/clock.h"
#include "base/file.h"
#include "controllers/controllers.h"
#include "generated/api_types.h"

#include <glib/gstdio.h>
#include <string.h>
#include <utime.h>

/* What the gateway makes of the findings of hosts, and of the files of its own folder. */

#define NOW   "2026-11-21T12:00:00Z"
#define OLD   "2026-11-21T10:00:00Z"
#define BLOB  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define STRAY "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static uint64_t fixed_now(void *userdata)
{
        uint64_t now;

        g_assert_cmpint(clock_parse_rfc3339(NOW, &now), ==, 0);
        return now;
}

static const struct clock fixed_clock = {.real_us = fixed_now, .monotonic_us = fixed_now};

static int take(struct json_doc *doc, void *userdata)
{
        for (const struct schema_kind *const *kind = controllers_kinds; *kind; kind++) {
                if (strcmp((*kind)->kind, json_find_string(json_root(doc), "kind", NULL)) == 0) {
                        cache_apply_doc(userdata, *kind, doc);
                        return 0;
                }
        }
        g_assert_not_reached();
}

static struct cache *cache_of(const char *yaml)
{
        struct cache *cache = cache_new(controllers_kinds);

        controllers_define_indexes(cache);
        g_assert_cmpint(json_parse_yaml_stream(yaml, strlen(yaml), take, cache, NULL), ==, 0);
        return cache;
}

static struct doctor_answer answer_of(struct gateway *gateway)
{
        struct doctor_answer answer = {.gateway = gateway, .doc = json_doc_new()};

        answer.root = json_new(answer.doc, JSON_OBJECT);
        json_set_root(answer.doc, answer.root);
        answer.findings = json_ensure_array(answer.doc, answer.root, "findings");
        answer.unlooked = json_ensure_array(answer.doc, answer.root, "unlooked");
        return answer;
}

static const char intents[] =
        "{apiVersion: host.gabbro.dev/v1, kind: Volume, metadata: {name: v-1-0, uid: v1, creationTimestamp: " OLD "},"
        " spec: {nodeName: node-a, volumeName: root.qcow2, pool: {name: p, path: /pool}}}\n---\n"
        "{apiVersion: host.gabbro.dev/v1, kind: Volume, metadata: {name: v-2-0, uid: v2, creationTimestamp: " NOW "},"
        " spec: {nodeName: node-a, volumeName: new.qcow2, pool: {name: p, path: /pool}}}\n---\n"
        "{apiVersion: host.gabbro.dev/v1, kind: Port, metadata: {name: p-1-0, uid: p1, creationTimestamp: " OLD "},"
        " spec: {nodeName: node-a, tapName: gbt1}}\n---\n"
        "{apiVersion: host.gabbro.dev/v1, kind: Instance, metadata: {name: i-1-0, uid: i1, creationTimestamp: " OLD "},"
        " spec: {nodeName: node-a, machine: {uid: m1, namespace: default, name: web}}}\n---\n"
        "{apiVersion: gabbro.dev/v1, kind: VirtualMachine, metadata: {name: web, namespace: default, uid: m1},"
        " status: {phase: Running, nodeName: node-a}}\n---\n"
        "{apiVersion: host.gabbro.dev/v1, kind: HostTask, metadata: {name: t-%u, uid: t%u}, spec: {nodeName: node-%s, type: "
        "Inspect},"
        " status: {state: Succeeded, inProgress: 2, cutOff: 3, unlooked: [\"libvirt: it hangs\"], findings:"
        " [{code: %s, severity: Warning, subject: \"%s\", uid: \"%s\", machine: \"%s\", evidence: [seen], fix: do it, safe: yes it "
        "is}]}}\n";

static const struct {
        const char *node, *code, *subject, *uid, *machine;
        const char *expect;   /* code in the report; NULL: in progress */
        const char *evidence; /* a part of the last line */
        bool repairable;
} cases[] = {
        {"a", "StrayVolume", "/pool/unknown", "", "", "StrayVolume", "seen", true},
        {"a", "StrayVolume", "/pool/root.qcow2", "", "", "ManifestBehind", "the store has volumes/v-1-0", false},
        {"b", "StrayVolume", "/pool/root.qcow2", "", "", "StrayVolume", "seen", true},
        {"a", "StrayVolume", "/pool/new.qcow2", "", "", NULL, NULL, false},
        {"a", "StrayTap", "tap/gbt1", "", "", "ManifestBehind", "the store has ports/p-1-0", false},
        {"a", "StrayTap", "tap/gbt2", "", "", "StrayTap", "seen", true},
        {"a", "StrayDomain", "domain/m1", "", "m1", "ManifestBehind", "the store has instances/i-1-0", false},
        {"b", "StrayDomain", "domain/m1", "i1", "m1", "StrayDomain", "default/web exists, phase Running, on node node-a", true},
        {"a", "StrayDomain", "domain/m9", "i9", "m9", "StrayDomain", "no machine has the UID m9 any more", true},
        {"a", "StraySeed", "/seeds/i1.iso", "i1", "", "ManifestBehind", "the store has instances/i-1-0", false},
        {"a", "RulesMissing", "tap/gbt1", "p1", "", "RulesMissing", "seen", true},
};

/* An agent that fell behind must not remove what it has not heard of. */
static void the_store_knows_better_than_an_agent_that_fell_behind(void)
{
        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *yaml = g_strdup_printf(intents, i, i, cases[i].node, cases[i].code, cases[i].subject, cases[i].uid,
                                                        cases[i].machine);
                g_autofree char *name = g_strdup_printf("t-%u", i);
                g_autoptr(cache) cache = cache_of(yaml);
                struct gateway gateway = {.cache = cache, .clock = &fixed_clock};
                struct doctor_answer answer = answer_of(&gateway);
                g_autoptr(json_doc) doc G_GNUC_UNUSED = answer.doc;
                const struct cache_object *task = cache_get(cache, &api_host_task_kind, NULL, name);
                const struct json_value *finding, *evidence;

                g_test_message("%s %s on node-%s", cases[i].code, cases[i].subject, cases[i].node);
                doctor_add_host(&answer, task);
                finding = json_at(answer.findings, 0);
                g_assert_cmpint(answer.in_progress, ==, cases[i].expect ? 2 : 3);
                g_assert_cmpint(answer.cut_off, ==, 3);
                g_assert_cmpstr(json_string(json_at(answer.unlooked, 0), NULL), ==,
                                g_str_equal(cases[i].node, "a") ? "node node-a: libvirt: it hangs"
                                                                : "node node-b: libvirt: it hangs");
                g_assert_cmpint(doctor_host_finding(&gateway, task, cases[i].code, cases[i].subject), ==, cases[i].repairable);
                g_assert_false(doctor_host_finding(&gateway, task, cases[i].code, "another"));
                g_assert_cmpstr(json_find_string(finding, "code", NULL), ==, cases[i].expect);
                if (!cases[i].expect)
                        continue;
                g_assert_true((json_get(finding, "fix") != NULL) == cases[i].repairable);
                evidence = json_get(finding, "evidence");
                g_assert_nonnull(strstr(json_string(json_at(evidence, json_length(evidence) - 1), ""), cases[i].evidence));
        }
}

/* --- files --- */

static char *put(const char *dir, const char *name, bool old)
{
        char *path = g_build_filename(dir, "blobs", name, NULL);
        struct utimbuf times = {.actime = 1000000000, .modtime = 1000000000};

        g_assert_true(g_file_set_contents(path, name, -1, NULL));
        times.modtime = old ? times.modtime : (time_t)(fixed_now(NULL) / 1000000 - 5);
        g_assert_cmpint(utime(path, &times), ==, 0);
        return path;
}

static const char blobs[] = "{apiVersion: gabbro.dev/v1, kind: ImageBlob, metadata: {name: sha256-" BLOB
                            ", uid: b1}, spec: {digest: " BLOB ", sizeBytes: 71},"
                            " status: {locations: [{gateway: \"%s\"}]}}\n---\n"
                            "{apiVersion: gabbro.dev/v1, kind: ImageBlob, metadata: {name: sha256-cc, uid: b2}, spec: {digest: cc},"
                            " status: {locations: [{gateway: \"%s\"}]}}\n---\n"
                            "{apiVersion: gabbro.dev/v1, kind: ImageBlob, metadata: {name: sha256-dd, uid: b3}, spec: {digest: dd},"
                            " status: {locations: [{gateway: elsewhere}]}}\n";

static void files_of_the_library_are_compared_both_ways(void)
{
        g_autofree char *dir = g_dir_make_tmp("gabbro-doctor-XXXXXX", NULL), *log = g_build_filename(dir, "audit.log", NULL);
        g_autofree char *library = g_build_filename(dir, "blobs", "sha256", NULL),
                        *intake = g_build_filename(dir, "blobs", "intake", NULL);
        g_assert_cmpint(file_ensure_dir(library, 0700), ==, 0);
        g_assert_cmpint(file_ensure_dir(intake, 0700), ==, 0);
        g_autofree char *yaml = g_strdup_printf(blobs, g_get_host_name(), g_get_host_name());
        g_autofree char *known = put(dir, "sha256/" BLOB, true), *young = put(dir, "sha256/" STRAY "0", false);
        g_autofree char *stray = put(dir, "sha256/" STRAY, true), *upload = put(dir, "intake/now", false), *words = NULL;
        g_autofree char *aside = g_build_filename(dir, "blobs", "lost+found", STRAY, NULL);
        g_autoptr(cache) cache = cache_of(yaml);
        struct gateway gateway = {.cache = cache, .clock = &fixed_clock, .data_dir = dir};
        struct doctor_answer answer = answer_of(&gateway);
        g_autoptr(json_doc) doc G_GNUC_UNUSED = answer.doc;
        struct doctor_files files;

        g_assert_cmpint(auth_audit_open(log, &fixed_clock, &gateway.audit), ==, 0);
        doctor_files_read(&gateway, false, &files);
        doctor_add_files(&answer, &files);
        g_assert_cmpuint(json_length(answer.findings), ==, 2);
        g_assert_cmpstr(json_find_string(json_at(answer.findings, 0), "subject", NULL), ==, stray);
        g_assert_cmpstr(json_find_string(json_at(answer.findings, 1), "subject", NULL), ==, "imageblobs/sha256-cc");
        g_assert_cmpint(doctor_repair_blob(&gateway, &files, known, &words), ==, -ENOENT);
        g_assert_cmpint(doctor_repair_blob(&gateway, &files, young, &words), ==, -ENOENT);
        g_assert_cmpint(doctor_repair_blob(&gateway, &files, upload, &words), ==, -ENOENT);
        g_assert_cmpint(doctor_repair_blob(&gateway, &files, stray, &words), ==, 0);
        g_assert_true(g_file_test(aside, G_FILE_TEST_EXISTS) && !g_file_test(stray, G_FILE_TEST_EXISTS));
        doctor_files_clear(&files);
        auth_audit_free(gateway.audit);
        file_remove_tree(dir);
}

/* A57, B31: the size is always compared, the content when it is asked for. */
static void a_damaged_file_of_the_library_is_a_finding(void)
{
        static const struct {
                bool verify;
                int64_t bytes;
                const char *evidence; /* NULL: nothing is found */
        } looks[] = {{false, 71, NULL}, {false, 70, "has 71 bytes, and was stored with 70"}, {true, 71, "has SHA-256 "}};

        for (size_t i = 0; i < G_N_ELEMENTS(looks); i++) {
                g_autofree char *dir = g_dir_make_tmp("gabbro-doctor-XXXXXX", NULL);
                g_autofree char *library = g_build_filename(dir, "blobs", "sha256", NULL),
                                *intake = g_build_filename(dir, "blobs", "intake", NULL),
                                *log = g_build_filename(dir, "audit.log", NULL);
                g_autofree char *yaml = g_strdup_printf("{apiVersion: gabbro.dev/v1, kind: ImageBlob, metadata: {name: sha256-" BLOB
                                                        ", uid: b1}, spec: {digest: " BLOB ", sizeBytes: %" G_GINT64_FORMAT "}}\n",
                                                        looks[i].bytes);
                g_autoptr(cache) cache = cache_of(yaml);
                struct gateway gateway = {.cache = cache, .clock = &fixed_clock, .data_dir = dir};
                struct doctor_answer answer = answer_of(&gateway);
                g_autoptr(json_doc) doc G_GNUC_UNUSED = answer.doc;
                struct doctor_files files;

                g_assert_cmpint(file_ensure_dir(library, 0700) | file_ensure_dir(intake, 0700), ==, 0);
                g_free(put(dir, "sha256/" BLOB, true));
                g_assert_cmpint(auth_audit_open(log, &fixed_clock, &gateway.audit), ==, 0);
                doctor_files_read(&gateway, looks[i].verify, &files);
                doctor_add_files(&answer, &files);
                g_assert_cmpuint(json_length(answer.findings), ==, looks[i].evidence ? 1 : 0);
                if (looks[i].evidence) {
                        const struct json_value *finding = json_at(answer.findings, 0);

                        g_assert_cmpstr(json_find_string(finding, "code", NULL), ==, "BlobDamaged");
                        g_assert_nonnull(strstr(json_string(json_at(json_get(finding, "evidence"), 0), ""), looks[i].evidence));
                }
                doctor_files_clear(&files);
                auth_audit_free(gateway.audit);
                file_remove_tree(dir);
        }
}

static void a_changed_line_of_the_audit_log_is_a_finding(void)
{
        g_autofree char *dir = g_dir_make_tmp("gabbro-doctor-XXXXXX", NULL), *log = g_build_filename(dir, "audit.log", NULL),
                        *text = NULL;
        g_autofree char *library = g_build_filename(dir, "blobs", "sha256", NULL);
        g_autoptr(cache) cache = cache_new(controllers_kinds);
        struct gateway gateway = {.cache = cache, .clock = &fixed_clock, .data_dir = dir};
        struct doctor_answer answer = answer_of(&gateway);
        g_autoptr(json_doc) doc G_GNUC_UNUSED = answer.doc;
        g_autoptr(auth_identity) admin = auth_identity_new(AUTH_USER, "somebody", NULL);
        struct auth_attributes what = {.verb = "post", .path = "/admin/v1/doctor"};
        struct auth_audit_entry entry = {
                .identity = admin, .attributes = &what, .peer = "127.0.0.1:1", .allowed = true, .status = 201};
        struct doctor_files files;
        size_t len;

        g_assert_cmpint(file_ensure_dir(library, 0700), ==, 0);
        g_assert_cmpint(auth_audit_open(log, &fixed_clock, &gateway.audit), ==, 0);
        for (unsigned i = 0; i < 3; i++)
                auth_audit_record(gateway.audit, &entry);
        gateway.audit = auth_audit_free(gateway.audit);
        g_assert_true(g_file_get_contents(log, &text, &len, NULL));
        *strstr(text, "somebody") = 'S';
        g_assert_true(g_file_set_contents(log, text, (gssize)len, NULL));
        g_assert_cmpint(auth_audit_open(log, &fixed_clock, &gateway.audit), ==, 0);
        doctor_files_read(&gateway, false, &files);
        doctor_add_files(&answer, &files);
        g_assert_cmpstr(json_find_string(json_at(answer.findings, 0), "subject", NULL), ==, "audit.log/1");
        /* There is no folder for uploads: that part is told as not looked at. */
        g_assert_cmpuint(json_length(answer.unlooked), ==, 1);
        doctor_files_clear(&files);
        auth_audit_free(gateway.audit);
        file_remove_tree(dir);
}

int main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/doctor_look/the_store_knows_better_than_an_agent_that_fell_behind",
                        the_store_knows_better_than_an_agent_that_fell_behind);
        g_test_add_func("/doctor_look/files_of_the_library_are_compared_both_ways", files_of_the_library_are_compared_both_ways);
        g_test_add_func("/doctor/a_damaged_file_of_the_library_is_a_finding", a_damaged_file_of_the_library_is_a_finding);
        g_test_add_func("/doctor_look/a_changed_line_of_the_audit_log_is_a_finding", a_changed_line_of_the_audit_log_is_a_finding);
        return g_test_run();
}
