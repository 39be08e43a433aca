/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/doctor.h"
#include "base/error.h"
#include "base/log.h"
#include "base/names.h"
#include "controllers/object.h"
#include "generated/api_types.h"
#include "generated/reasons.h"

#include <string.h>

#define BODY_BYTES  (256u << 10)
#define REPAIRS_MAX 200
#define TASKS_MAX   16 /* of the doctor on one node at a time */

/* One request while the files of this gateway are looked at. */
struct visit {
        struct gateway *gateway;
        struct slot *slot;
        char *run, *user;
        int status;            /* to answer with */
        struct json_doc *body; /* of a repair */
        bool verify;           /* read the files of the library too */
        struct doctor_files files;
        void (*act)(struct visit *visit, struct doctor_answer *answer);
};

static void visit_free(void *userdata)
{
        struct visit *visit = userdata;

        doctor_files_clear(&visit->files);
        json_doc_free(visit->body);
        g_free(visit->run);
        g_free(visit->user);
        g_free(visit);
}

static struct visit *visit_new(struct gateway *gateway, struct http_request *request, const struct auth_identity *identity)
{
        struct visit *visit = g_new0(struct visit, 1);

        visit->gateway = gateway;
        visit->user = g_strdup(identity->user);
        visit->verify = g_strcmp0(http_request_query(request, "verify"), "true") == 0;
        visit->status = 200;
        visit->slot = slot_new(request, visit, visit_free);
        return visit;
}

static void visit_end(struct visit *visit)
{
        slot_finish(visit->slot);
        visit_free(visit);
}

static void visit_refuse(struct visit *visit, int code, const char *reason, const char *words)
{
        if (visit->slot->request)
                api_reply_status(visit->slot->request, code, reason, words, NULL);
        visit_end(visit);
}

static bool may(struct http_request *request, const struct auth_identity *identity)
{
        if (auth_identity_in_group(identity, "gabbro:administrators"))
                return true;
        api_reply_status(request, 403, "Forbidden", "only administrators call the doctor", NULL);
        return false;
}

static void say_unlooked(struct doctor_answer *answer, const char *words)
{
        json_append(answer->unlooked, json_new_string(answer->doc, words));
}

/* --- tasks of a run
 * -------------------------------------------------------------------------------------------------------------------------------
 */

static char *new_run(struct gateway *gateway)
{
        char text[UUID_TEXT_MAX];

        uuid_generate(gateway->random, text);
        return g_strndup(text, 13);
}

static struct json_value *new_task(struct json_doc *doc, const char *node, const char *type, const char *run)
{
        struct json_value *root = json_new(doc, JSON_OBJECT);

        json_set_root(doc, root);
        json_set_string(doc, root, "apiVersion", "host.gabbro.dev/v1");
        json_set_string(doc, root, "kind", "HostTask");
        struct json_value *labels = json_ensure_object(doc, json_ensure_object(doc, root, "metadata"), "labels");
        json_set_string(doc, labels, LABEL_OWNER_KIND, "Doctor");
        json_set_string(doc, labels, LABEL_OWNER_NAME, run);
        json_set_string(doc, labels, LABEL_DOCTOR_RUN, run);
        if (names_is_label_value(node))
                json_set_string(doc, labels, LABEL_NODE, node);
        struct json_value *spec = json_ensure_object(doc, root, "spec");
        json_set_string(doc, spec, "nodeName", node);
        json_set_string(doc, spec, "type", type);
        struct json_value *owner = json_ensure_object(doc, spec, "owner");
        json_set_string(doc, owner, "kind", "Doctor");
        json_set_string(doc, owner, "name", run);
        return root;
}

/* Takes @doc over. A task leaves nothing on its host, so it has no finalizer. */
static int create_task(struct visit *visit, struct json_doc *doc)
{
        char uuid[UUID_TEXT_MAX];
        g_autofree char *name = g_strdup_printf("t-%s-0", uuid_generate(visit->gateway->random, uuid));
        g_autofree char *actor = g_strdup_printf("doctor/%s", visit->user);
        struct objects_target target = {.kind = &api_host_task_kind, .name = name, .actor = actor};

        return objects_create(visit->gateway, &target, doc, NULL, NULL);
}

struct count {
        const char *node;
        unsigned n;
};

static bool count_task(const struct cache_object *task, void *userdata)
{
        struct count *count = userdata;
        const char *state = json_find_string(cache_root(task), "status", "state", NULL);
        bool ended = g_strcmp0(state, "Succeeded") == 0 || g_strcmp0(state, "Failed") == 0;

        if (!ended && object_label(task, LABEL_DOCTOR_RUN) &&
            g_strcmp0(json_find_string(cache_root(task), "spec", "nodeName", NULL), count->node) == 0)
                count->n++;
        return true;
}

static void inspect_node(struct visit *visit, struct doctor_answer *answer, const struct cache_object *node)
{
        struct count count = {.node = node->name};
        const char *silent =
                doctor_node_silent(visit->gateway->cache, node, clock_real_us(visit->gateway->clock), json_arena(answer->doc));

        if (silent) {
                say_unlooked(answer, silent);
                return;
        }
        cache_each(visit->gateway->cache, &api_host_task_kind, NULL, count_task, &count);
        if (count.n >= TASKS_MAX) {
                g_autofree char *words = g_strdup_printf("node %s: %u looks are under way; try again later", node->name, count.n);
                say_unlooked(answer, words);
                return;
        }
        struct json_doc *doc = json_doc_new();
        new_task(doc, node->name, "Inspect", visit->run);
        if (create_task(visit, doc)) {
                g_autofree char *words = g_strdup_printf("node %s: the store does not accept writes", node->name);
                say_unlooked(answer, words);
                return;
        }
        struct json_value *nodes = json_ensure_array(answer->doc, answer->root, "nodes");
        struct json_value *entry = json_append(nodes, json_new(answer->doc, JSON_OBJECT));
        json_set_string(answer->doc, entry, "name", node->name);
        json_set_string(answer->doc, entry, "state", "Pending");
}

/* --- answers
 * -----------------------------------------------------------------------------------------------------------------------------------
 */

struct gathering {
        struct doctor_answer *answer;
        const char *run;
};

static bool gather_task(const struct cache_object *task, void *userdata)
{
        const struct gathering *gathering = userdata;
        struct doctor_answer *answer = gathering->answer;
        const struct json_value *status = json_get(cache_root(task), "status"), *spec = json_get(cache_root(task), "spec");

        if (g_strcmp0(object_label(task, LABEL_DOCTOR_RUN), gathering->run) != 0)
                return true;
        struct json_value *entry =
                json_append(json_ensure_array(answer->doc, answer->root, "nodes"), json_new(answer->doc, JSON_OBJECT));
        json_set_string(answer->doc, entry, "name", json_find_string(spec, "nodeName", NULL));
        json_set_string(answer->doc, entry, "task", task->name);
        json_set_string(answer->doc, entry, "state", json_find_string(status, "state", NULL) ?: "Pending");
        json_set_string(answer->doc, entry, "step", json_find_string(status, "step", NULL));
        if (json_get(status, "progressPercent"))
                json_set(answer->doc, entry, "progressPercent", json_copy(answer->doc, json_get(status, "progressPercent")));
        doctor_add_host(answer, task);
        for (const struct json_value *r = json_first(json_get(status, "repairs")); r; r = json_next(r)) {
                struct json_value *repair =
                        json_append(json_ensure_array(answer->doc, answer->root, "repairs"), json_copy(answer->doc, r));
                g_autofree char *source = g_strconcat("node/", json_find_string(spec, "nodeName", NULL), NULL);
                json_set_string(answer->doc, repair, "source", source);
        }
        return true;
}

static void answer_visit(struct visit *visit)
{
        struct doctor_answer answer = {.gateway = visit->gateway, .doc = json_doc_new()};
        g_autoptr(json_doc) doc = answer.doc;
        g_autoptr(doctor_report) report = doctor_look(visit->gateway->cache, clock_real_us(visit->gateway->clock));

        answer.root = json_new(doc, JSON_OBJECT);
        json_set_root(doc, answer.root);
        json_ensure_array(doc, answer.root, "nodes");
        answer.findings = json_ensure_array(doc, answer.root, "findings");
        answer.unlooked = json_ensure_array(doc, answer.root, "unlooked");
        visit->act(visit, &answer);
        json_set_string(doc, answer.root, "run", visit->run);
        doctor_add_store(&answer, report);
        doctor_add_files(&answer, &visit->files);
        json_set_int(doc, answer.root, "inProgress", answer.in_progress);
        json_set_int(doc, answer.root, "cutOff", answer.cut_off);
        gateway_reply_json(visit->slot->request, visit->status, answer.root);
}

static int visit_work(void *userdata)
{
        struct visit *visit = userdata;

        doctor_files_read(visit->gateway, visit->verify, &visit->files);
        return 0;
}

static void visit_done(int result, void *userdata)
{
        struct visit *visit = userdata;

        if (visit->slot->request && result == 0)
                answer_visit(visit);
        else if (visit->slot->request)
                api_reply_status(visit->slot->request, 503, "ServiceUnavailable", "the gateway is stopping", NULL);
        visit_end(visit);
}

static void visit_begin(struct visit *visit, void (*act)(struct visit *visit, struct doctor_answer *answer))
{
        visit->act = act;
        loop_pool_submit(visit->gateway->pool, visit_work, visit_done, visit);
}

/* --- a new run
 * ---------------------------------------------------------------------------------------------------------------------------------
 */

static void act_begin(struct visit *visit, struct doctor_answer *answer)
{
        const char *only = json_find_string(json_root(visit->body), "node", NULL);
        g_autoptr(GPtrArray) nodes = cache_list(visit->gateway->cache, &api_node_kind, NULL);

        for (guint i = 0; i < nodes->len; i++) {
                const struct cache_object *node = nodes->pdata[i];

                if (!only || g_str_equal(only, node->name))
                        inspect_node(visit, answer, node);
        }
}

static void on_begin_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct visit *visit = slot_take(userdata);
        const char *node;

        visit->body = gateway_body_json(request, len > 0 ? body : "{}", len > 0 ? len : 2);
        if (!visit->body) {
                visit_end(visit);
                return;
        }
        node = json_find_string(json_root(visit->body), "node", NULL);
        if (node && !cache_get(visit->gateway->cache, &api_node_kind, NULL, node)) {
                visit_refuse(visit, 404, "NotFound", "there is no node of this name");
                return;
        }
        visit->run = new_run(visit->gateway);
        visit->status = 201;
        visit_begin(visit, act_begin);
}

static void handle_begin(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        if (!may(request, identity))
                return;
        visit_new(userdata, request, identity);
        http_request_body_whole(request, BODY_BYTES, on_begin_body, NULL);
}

/* --- how far it is
 * -----------------------------------------------------------------------------------------------------------------------------
 */

static void act_tell(struct visit *visit, struct doctor_answer *answer)
{
        struct gathering gathering = {.answer = answer, .run = visit->run};

        cache_each(visit->gateway->cache, &api_host_task_kind, NULL, gather_task, &gathering);
}

static void handle_tell(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        struct visit *visit;

        if (!may(request, identity))
                return;
        if (!names_is_label(rest)) {
                api_reply_status(request, 404, "NotFound", "no such path", NULL);
                return;
        }
        visit = visit_new(userdata, request, identity);
        visit->run = g_strdup(rest);
        slot_take(visit->slot);
        visit_begin(visit, act_tell);
}

/* --- repairs
 * -----------------------------------------------------------------------------------------------------------------------------------
 */

static void say_repair(struct doctor_answer *answer, const struct json_value *ref, const char *state, const char *words)
{
        struct json_value *repair =
                json_append(json_ensure_array(answer->doc, answer->root, "repairs"), json_new(answer->doc, JSON_OBJECT));

        json_set_string(answer->doc, repair, "source", json_find_string(ref, "source", NULL));
        json_set_string(answer->doc, repair, "code", json_find_string(ref, "code", NULL));
        json_set_string(answer->doc, repair, "subject", json_find_string(ref, "subject", NULL));
        json_set_string(answer->doc, repair, "state", state);
        json_set_string(answer->doc, repair, "message", words);
}

static struct json_doc *without_finalizer(const struct cache_object *object)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_copy(doc, cache_root(object)), *list = json_find(root, "metadata", "finalizers", NULL);

        json_set_root(doc, root);
        for (size_t i = json_length(list); i > 0; i--)
                if (g_strcmp0(json_string(json_at(list, i - 1), NULL), FINALIZER_AGENT) == 0)
                        json_remove_at(list, i - 1);
        return doc;
}

static struct json_doc *with_deletion(struct gateway *gateway, const struct cache_object *object)
{
        struct json_doc *doc = json_doc_new();
        struct json_value *root = json_copy(doc, cache_root(object));
        char now[CLOCK_RFC3339_MAX];

        json_set_root(doc, root);
        json_set_string(doc, json_ensure_object(doc, root, "metadata"), "deletionTimestamp",
                        clock_format_rfc3339(clock_real_us(gateway->clock), false, now));
        return doc;
}

/* The write holds only for the version that was looked at just now. */
static int repair_object(struct visit *visit, const struct doctor_finding *finding)
{
        const struct cache_object *object = cache_get(visit->gateway->cache, finding->kind, finding->namespace, finding->name);
        g_autofree char *actor = g_strdup_printf("doctor/%s", visit->user);
        struct store_op op = {.kind = finding->kind, .namespace = finding->namespace, .name = finding->name};
        struct store_txn txn = {.ops = &op, .n_ops = 1, .actor = {.user = actor, .client = actor, .verb = "delete"}};
        bool last;

        if (!object || object->revision != finding->revision)
                return STORE_E_CONFLICT;
        op.expect_revision = finding->revision;
        if (finding->action == DOCTOR_FIX_DELETE) {
                last = object_meta(object)->n_finalizers == 0;
                op.doc = last ? NULL : with_deletion(visit->gateway, object);
        } else {
                last = object_deleting(object) && object_meta(object)->n_finalizers == 1;
                op.doc = last ? NULL : without_finalizer(object);
        }
        op.verb = last ? STORE_DELETE : STORE_UPDATE;
        return store_commit(visit->gateway->store, &txn, NULL, NULL, NULL);
}

static void repair_store(struct visit *visit, struct doctor_answer *answer, const struct doctor_report *report,
                         const struct json_value *ref)
{
        const char *code = json_find_string(ref, "code", NULL), *subject = json_find_string(ref, "subject", NULL);
        const struct doctor_finding *finding = code && subject ? doctor_find(report, code, subject) : NULL;
        g_autofree char *words = NULL;
        int r;

        bool is_blob = g_strcmp0(code, REASON_STRAY_BLOB) == 0, is_upload = g_strcmp0(code, REASON_STRAY_UPLOAD) == 0;

        if (subject && (is_blob || is_upload)) {
                r = (is_blob ? doctor_repair_blob : doctor_repair_upload)(visit->gateway, &visit->files, subject, &words);
                say_repair(answer, ref, r == 0 ? "Done" : r == -ENOENT ? "NotFound" : "Failed", r == 0 ? words : g_strerror(-r));
        } else if (!finding) {
                say_repair(answer, ref, "NotFound", NULL);
        } else if (finding->action == DOCTOR_FIX_NONE) {
                say_repair(answer, ref, "Refused", "a person must decide");
        } else {
                r = repair_object(visit, finding);
                log_info("the doctor repairs the store", "code", code, "subject", subject, "user", visit->user);
                say_repair(answer, ref,
                           r == 0                  ? "Done"
                           : r == STORE_E_CONFLICT ? "NotFound"
                                                   : "Failed",
                           r == STORE_E_CONFLICT ? "it has changed meanwhile" : NULL);
        }
}

struct repair {
        struct visit *visit;
        struct doctor_answer *answer;
        const char *new_run;
};

/* One Repair task for the node of each Inspect task of the run. */
static bool repair_host(const struct cache_object *task, void *userdata)
{
        struct repair *repair = userdata;
        const char *node = json_find_string(cache_root(task), "spec", "nodeName", NULL) ?: "";
        const struct json_value *refs = json_get(json_root(repair->visit->body), "findings");
        g_autofree char *source = g_strconcat("node/", node, NULL);
        struct json_doc *doc;
        struct json_value *list;

        if (g_strcmp0(object_label(task, LABEL_DOCTOR_RUN), repair->visit->run) != 0 ||
            g_strcmp0(json_find_string(cache_root(task), "spec", "type", NULL), "Inspect") != 0)
                return true;
        doc = json_doc_new();
        list = json_ensure_array(doc, json_ensure_object(doc, new_task(doc, node, "Repair", repair->new_run), "spec"), "findings");
        for (const struct json_value *ref = json_first(refs); ref; ref = json_next(ref)) {
                const char *code = json_find_string(ref, "code", NULL), *subject = json_find_string(ref, "subject", NULL);

                if (g_strcmp0(json_find_string(ref, "source", NULL), source) != 0 || !code || !subject)
                        continue;
                if (!doctor_host_finding(repair->visit->gateway, task, code, subject)) {
                        say_repair(repair->answer, ref, "Refused", "this run did not find it, or the store knows better");
                        continue;
                }
                struct json_value *entry = json_append(list, json_new(doc, JSON_OBJECT));
                json_set_string(doc, entry, "code", code);
                json_set_string(doc, entry, "subject", subject);
        }
        if (json_length(list) == 0) {
                json_doc_free(doc);
                return true;
        }
        if (create_task(repair->visit, doc)) {
                say_unlooked(repair->answer, "the store does not accept writes");
                return true;
        }
        struct json_value *entry = json_append(json_ensure_array(repair->answer->doc, repair->answer->root, "nodes"),
                                               json_new(repair->answer->doc, JSON_OBJECT));
        json_set_string(repair->answer->doc, entry, "name", node);
        json_set_string(repair->answer->doc, entry, "state", "Pending");
        return true;
}

static void act_repair(struct visit *visit, struct doctor_answer *answer)
{
        const struct json_value *refs = json_get(json_root(visit->body), "findings");
        g_autoptr(doctor_report) report = doctor_look(visit->gateway->cache, clock_real_us(visit->gateway->clock));
        g_autofree char *next = new_run(visit->gateway);
        struct repair repair = {.visit = visit, .answer = answer, .new_run = next};

        cache_each(visit->gateway->cache, &api_host_task_kind, NULL, repair_host, &repair);
        for (const struct json_value *ref = json_first(refs); ref; ref = json_next(ref))
                if (g_strcmp0(json_find_string(ref, "source", NULL), "store") == 0)
                        repair_store(visit, answer, report, ref);
        g_free(visit->run);
        visit->run = g_steal_pointer(&next);
}

static void on_repair_body(struct http_request *request, const char *body, size_t len, void *userdata)
{
        struct visit *visit = slot_take(userdata);
        const struct json_value *refs;

        visit->body = gateway_body_json(request, body, len);
        if (!visit->body) {
                visit_end(visit);
                return;
        }
        refs = json_get(json_root(visit->body), "findings");
        if (!json_is(refs, JSON_ARRAY) || json_length(refs) == 0 || json_length(refs) > REPAIRS_MAX) {
                visit_refuse(visit, 422, "Invalid", "findings must name 1 to 200 findings of the run");
                return;
        }
        visit->status = 201;
        visit_begin(visit, act_repair);
}

static void handle_repair(struct http_request *request, const struct auth_identity *identity, const char *rest, void *userdata)
{
        g_auto(GStrv) parts = g_strsplit(rest, "/", 3);
        struct visit *visit;

        if (!may(request, identity))
                return;
        if (!parts[0] || !names_is_label(parts[0]) || !parts[1] || !g_str_equal(parts[1], "repair") || parts[2]) {
                api_reply_status(request, 404, "NotFound", "no such path", NULL);
                return;
        }
        visit = visit_new(userdata, request, identity);
        visit->run = g_strdup(parts[0]);
        http_request_body_whole(request, BODY_BYTES, on_repair_body, NULL);
}

void doctor_init(struct gateway *gateway)
{
        const struct api_route routes[] = {
                {.method = "POST", .prefix = "/admin/v1/doctor", .handle = handle_begin, .userdata = gateway},
                {.method = "GET", .prefix = "/admin/v1/doctor/", .handle = handle_tell, .userdata = gateway},
                {.method = "POST", .prefix = "/admin/v1/doctor/", .handle = handle_repair, .userdata = gateway},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(routes); i++)
                api_add_route(gateway->api, &routes[i]);
}
