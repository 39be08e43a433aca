/* SPDX-License-Identifier: Apache-2.0 */
#include "api/change.h"
#include "admission/admission.h"
#include "api/apply.h"
#include "api/managed.h"
#include "api/object.h"
#include "api/strategic.h"
#include "base/limits.h"
#include "generated/reasons.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

void change_conflict(struct call *call)
{
        g_autofree char *resource = target_resource_text(&call->target);

        call_refuse_words(
                call, 409,
                "Operation cannot be fulfilled on %s \"%s\": the object has been modified; please apply your changes to the "
                "latest version and try again",
                resource, call->target.name);
}

/* --- identity
 * ------------------------------------------------------------------------------------------------------------------------ */

static bool check_version(struct call *call, struct json_value *root)
{
        g_autofree char *canonical = target_canonical_version(call->target.kind);
        const char *said = json_string(json_get(root, "apiVersion"), NULL);

        if (!said || strcmp(said, canonical) == 0 || strcmp(said, call->target.api_version) == 0)
                return true;
        call_refuse_words(call, 400, "the API version in the data (%.100s) does not match the expected API version (%s)", said,
                          call->target.api_version);
        return false;
}

static bool check_member(struct call *call, const struct json_value *object, const char *member, const char *expect,
                         const char *what)
{
        const char *said = json_string(json_get(object, member), NULL);

        if (!said || !*said || !expect || strcmp(said, expect) == 0)
                return true;
        call_refuse_words(call, 400, "the %s of the provided object (%.253s) does not match the %s sent on the request (%s)", what,
                          said, what, expect);
        return false;
}

bool change_identify(struct call *call, struct json_doc *doc, const char *name)
{
        struct json_value *root = json_root(doc), *metadata = json_get(root, "metadata");
        g_autofree char *canonical = NULL;

        assert(call->target.kind);
        if (!json_is(root, JSON_OBJECT)) {
                call_refuse_words(call, 400, "the body of the request must be an object, not %s", json_type_name(json_type(root)));
                return false;
        }
        if (metadata && !json_is(metadata, JSON_OBJECT) && !json_is(metadata, JSON_NULL)) {
                call_refuse_words(call, 400, "metadata must be an object");
                return false;
        }
        if (!check_version(call, root) || !check_member(call, root, "kind", call->target.kind->kind, "kind") ||
            !check_member(call, metadata, "name", name, "name") ||
            !check_member(call, metadata, "namespace", call->target.namespace, "namespace"))
                return false;
        canonical = target_canonical_version(call->target.kind);
        json_set_string(doc, root, "apiVersion", canonical);
        json_set_string(doc, root, "kind", call->target.kind->kind);
        json_ensure_object(doc, root, "metadata");
        return true;
}

/* --- preconditions
 * ------------------------------------------------------------------------------------------------------------------- */

static bool check_preconditions(const struct change *change, const struct json_value *metadata)
{
        const char *revision = json_string(json_get(metadata, "resourceVersion"), NULL),
                   *uid = json_string(json_get(metadata, "uid"), NULL), *there = change->base ? change->base->uid : "";
        char current[24] = "";

        if (change->base)
                g_snprintf(current, sizeof(current), "%" PRIu64, change->base->revision);
        if (revision && *revision && strcmp(revision, current) != 0) {
                change_conflict(change->call);
                return false;
        }
        if (uid && *uid && g_strcmp0(uid, there) != 0) {
                call_refuse_words(change->call, 409, "Precondition failed: UID in precondition: %.80s, UID in object meta: %s", uid,
                                  there);
                return false;
        }
        return true;
}

/* --- who owns what
 * ------------------------------------------------------------------------------------------------------------------- */

static const struct json_value *managed_of(const struct store_object *base)
{
        return base ? json_find(base->root, "metadata", "managedFields", NULL) : NULL;
}

/* Hosts report, leases and events are renewed all the time: nobody asks who set what there, and it would cost a lot. */
static bool is_tracked(const struct change *change)
{
        const struct call *call = change->call;

        if (call->identity->kind == AUTH_NODE || call->identity->kind == AUTH_CONTROLLER)
                return false;
        return call->target.kind->history != SCHEMA_HISTORY_NONE || managed_of(change->base);
}

/* What is owned before this change: as the client says, unless it says nothing that can be read; a subresource says nothing. */
static struct managed *managed_before(const struct change *change, const struct json_value *sent, struct schema_faults *faults)
{
        const struct schema_kind *kind = change->call->target.kind;
        struct managed *managed = NULL;
        int r = MANAGED_E_MALFORMED;

        if (!change->status_only && json_length(sent))
                r = managed_read(kind, sent, faults, &managed);
        if (r == MANAGED_E_RESET)
                return managed_new();
        if (r == 0)
                return managed;
        return managed_read(kind, managed_of(change->base), NULL, &managed) == 0 ? managed : managed_new();
}

static struct managed_writer writer_of(const struct change *change, char *time)
{
        const struct call *call = change->call;

        clock_format_rfc3339(clock_real_us(call->api->options.clock), false, time);
        return (struct managed_writer){
                .name = call->params.manager, .subresource = change->status_only ? "status" : NULL, .time = time};
}

/* Take metadata.managedFields out of @doc. */
static const struct json_value *take_managed(struct json_doc *doc)
{
        struct json_value *metadata = json_get(json_root(doc), "metadata"), *sent = json_get(metadata, "managedFields");

        if (sent)
                json_remove(metadata, "managedFields");
        return sent;
}

static void put_back(struct json_doc *doc, const struct json_value *managed)
{
        if (managed)
                json_set(doc, json_get(json_root(doc), "metadata"), "managedFields", json_copy(doc, managed));
}

/* After an update has become @doc. @sent: the managedFields that came with it. */
static void track_update(const struct change *change, struct json_doc *doc, const struct json_value *sent,
                         struct schema_faults *faults)
{
        g_autoptr(managed) managed = NULL;
        char time[CLOCK_RFC3339_MAX];
        struct managed_writer writer;

        if (!is_tracked(change)) {
                put_back(doc, managed_of(change->base));
                return;
        }
        managed = managed_before(change, sent, faults);
        writer = writer_of(change, time);
        managed_update(managed, &writer, change->call->target.kind, change->base ? change->base->root : NULL, json_root(doc));
        (void)managed_write(managed, change->call->target.kind, doc);
}

/* --- patches
 * ------------------------------------------------------------------------------------------------------------------------- */

/* The stored object as the caller sees it: JSON patches may test its apiVersion. */
static const struct json_value *seen_base(const struct change *change, struct json_doc *doc)
{
        struct json_value *seen;

        if (!change->call->target.alias)
                return change->base->root;
        seen = json_copy(doc, change->base->root);
        json_set_string(doc, seen, "apiVersion", change->call->target.api_version);
        return seen;
}

static bool apply_json_patch(const struct change *change, struct json_doc *doc)
{
        struct json_value *value = NULL;
        struct json_fault fault = {};
        int r = json_patch(doc, seen_base(change, doc), change->body, &value, &fault);

        if (r == 0) {
                json_set_root(doc, value);
                return true;
        }
        if (r == JSON_E_PATCH_INVALID)
                call_refuse_words(change->call, 400, "the JSON patch is malformed: operation %zu: %s", fault.offset, fault.reason);
        else
                call_refuse_words(change->call, 422,
                                  "the server rejected our request due to an error in our request: operation %zu: %s", fault.offset,
                                  fault.reason);
        return false;
}

static bool apply_strategic_patch(const struct change *change, struct json_doc *doc)
{
        struct json_value *value = NULL;
        const char *why = NULL;

        if (strategic_merge(doc, change->base->root, change->body, &value, &why) != 0) {
                call_refuse_words(change->call, 400, "the strategic merge patch is malformed: %s", why);
                return false;
        }
        json_set_root(doc, value);
        return true;
}

static bool apply(const struct change *change, struct json_doc *doc)
{
        switch (change->type) {
        case BODY_JSON:
        case BODY_YAML:
        case BODY_PROTOBUF:
                json_set_root(doc, json_copy(doc, change->body));
                return true;
        case BODY_MERGE_PATCH:
                if (!json_is(change->body, JSON_OBJECT)) {
                        call_refuse_words(change->call, 400, "a merge patch must be an object");
                        return false;
                }
                json_set_root(doc, json_merge_patch(doc, seen_base(change, doc), change->body));
                return true;
        case BODY_JSON_PATCH:
                return apply_json_patch(change, doc);
        case BODY_STRATEGIC_PATCH:
                return apply_strategic_patch(change, doc);
        case BODY_APPLY:
                break;
        }
        return false;
}

/* --- server-side apply
 * ------------------------------------------------------------------------------------------------------------------ */

/* The configuration that is applied, as far as it counts; false after answering. */
static bool take_configuration(const struct change *change, struct json_doc *doc)
{
        const struct schema_kind *kind = change->call->target.kind;
        const struct json_value *managed, *status;
        struct json_value *root;

        json_set_root(doc, json_copy(doc, change->body));
        if (!change_identify(change->call, doc, change->call->target.name) ||
            !check_preconditions(change, json_get(json_root(doc), "metadata")))
                return false;
        root = json_root(doc);
        managed = json_find(root, "metadata", "managedFields", NULL);
        if (json_length(managed)) {
                call_refuse_words(change->call, 400, "metadata.managedFields must be nil");
                return false;
        }
        take_managed(doc);
        apply_clean(kind, doc, root);
        if (kind->prepare)
                kind->prepare(doc, root);
        status = json_get(root, "status");
        if (!change->status_only) {
                if (kind->has_status)
                        json_remove(root, "status");
                return true;
        }
        json_set_root(doc, json_new(doc, JSON_OBJECT));
        if (status)
                json_set(doc, json_root(doc), "status", json_copy(doc, status));
        return true;
}

/* kubectl can go back to merging by itself: what it applied last stays written down where it looks for it. */
static void renew_last_applied(const struct change *change, struct json_doc *doc)
{
        struct json_value *annotations = json_find(json_root(doc), "metadata", "annotations", NULL);
        g_autoptr(json_doc) said = NULL;
        g_autofree char *json = NULL, *text = NULL;

        if (change->status_only || strcmp(change->call->params.manager, MANAGED_KUBECTL) != 0 ||
            !json_find_string(change->base ? change->base->root : NULL, "metadata", "annotations", MANAGED_LAST_APPLIED, NULL) ||
            !json_get(annotations, MANAGED_LAST_APPLIED))
                return;
        said = json_doc_new();
        json_set_root(said, json_copy(said, change->body));
        json_remove(json_find(json_root(said), "metadata", "annotations", NULL), MANAGED_LAST_APPLIED);
        json_remove(json_get(json_root(said), "metadata"), "resourceVersion");
        json = json_to_text(json_root(said));
        text = g_strconcat(json, "\n", NULL);
        if (strlen(text) < LIMIT_LABELS_BYTES / 2)
                json_set_string(doc, annotations, MANAGED_LAST_APPLIED, text);
        else
                json_remove(annotations, MANAGED_LAST_APPLIED);
}

static void refuse_conflicts(struct call *call, const char *words, const struct schema_faults *faults)
{
        call_refuse(call, &(struct refusal){.code = 409, .message = words, .faults = faults});
}

/* The merged document, and in @managed who owns what then; NULL after answering. */
static struct json_doc *merge_applied(const struct change *change, struct managed *managed)
{
        struct call *call = change->call;
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) applied = json_doc_new(), doc = json_doc_new();
        g_autofree char *words = NULL;
        struct json_value *merged = NULL;
        char time[CLOCK_RFC3339_MAX];
        struct managed_writer writer = writer_of(change, time);
        struct managed_application application = {.writer = &writer,
                                                  .kind = call->target.kind,
                                                  .live = change->base ? change->base->root : NULL,
                                                  .force = call->params.force};
        int r;

        if (!take_configuration(change, applied))
                return NULL;
        application.applied = json_root_const(applied);
        r = managed_apply(managed, &application, doc, &merged, faults, &words);
        if (r == 0) {
                json_set_root(doc, merged);
                renew_last_applied(change, doc);
                return g_steal_pointer(&doc);
        }
        if (r == MANAGED_E_CONFLICT)
                refuse_conflicts(call, words, faults);
        else
                call_refuse_faults(call, call->target.name, faults);
        return NULL;
}

static bool apply_parameters_hold(struct call *call)
{
        g_autoptr(schema_faults) faults = schema_faults_new();

        if (call->params.field_manager)
                return true;
        schema_faults_add(faults, "fieldManager", REASON_FIELD_VALUE_REQUIRED, "Required value: is required for apply patch");
        call_refuse(call, &(struct refusal){.code = 422,
                                            .message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is "
                                                       "required for apply patch",
                                            .faults = faults});
        return false;
}

/* --- the whole
 * ----------------------------------------------------------------------------------------------------------------------- */

static bool refuse_faults(struct call *call, const struct schema_faults *faults)
{
        if (!schema_faults_count(faults))
                return false;
        call_refuse_faults(call, call->target.name, faults);
        return true;
}

/* Members that stand twice in what was sent. */
static void tell_duplicates(struct call *call, struct schema_faults *faults)
{
        for (guint i = 0; call->duplicates && i < call->duplicates->len; i++) {
                const char *path = call->duplicates->pdata[i];

                if (call->params.validation == PARAMS_VALIDATION_STRICT)
                        schema_faults_add(faults, path, REASON_FIELD_VALUE_DUPLICATE, "Duplicate value: duplicate field");
                else if (call->params.validation != PARAMS_VALIDATION_IGNORE)
                        call_warn(call, "duplicate field \"%s\"", path);
        }
}

static void check(struct call *call, struct json_doc *doc, const struct json_value *old, bool status_only,
                  struct schema_faults *faults)
{
        const struct admission admission = {
                .store = call->api->options.store, .kind = call->target.kind, .namespace = call->target.namespace, .old = old};
        g_autoptr(schema_faults) warnings = schema_faults_new();

        tell_duplicates(call, faults);
        if (!status_only)
                admission_default(&admission, doc);
        object_check(&(struct object_check){.kind = call->target.kind,
                                            .old = old,
                                            .status_only = status_only,
                                            .validation = call->params.validation,
                                            .warnings = warnings},
                     doc, faults);
        if (!status_only)
                admission_check(&admission, json_root(doc), faults);
        if (!status_only && !schema_faults_count(faults))
                admission_warn(&admission, json_root(doc), warnings);
        for (size_t i = 0; i < schema_faults_kept(warnings); i++)
                call_warn(call, "%s", schema_faults_at(warnings, i)->message);
}

static struct json_doc *make_applied(const struct change *change)
{
        struct call *call = change->call;
        const struct schema_kind *kind = call->target.kind;
        const struct object_source source = {.clock = call->api->options.clock, .random = call->api->options.random};
        const struct json_value *old = change->base ? change->base->root : NULL;
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(managed) managed = NULL;
        g_autoptr(json_doc) doc = NULL;

        if (!apply_parameters_hold(call))
                return NULL;
        managed = managed_before(change, NULL, NULL);
        doc = merge_applied(change, managed);
        if (!doc)
                return NULL;
        take_managed(doc);
        if (old) {
                object_protect(kind, doc, old, change->status_only);
                take_managed(doc);
        } else {
                json_set_string(doc, json_get(json_root(doc), "metadata"), "name", call->target.name);
                object_begin(kind, &source, doc, call->target.namespace);
        }
        check(call, doc, old, change->status_only, faults);
        if (!managed_write(managed, kind, doc))
                schema_faults_add(faults, "metadata.managedFields", REASON_FIELD_VALUE_TOO_LONG,
                                  "Too long: what is applied names too many fields, may not be more than %u bytes",
                                  LIMIT_MANAGED_FIELDS_BYTES);
        if (refuse_faults(call, faults))
                return NULL;
        if (old)
                object_grow_generation(doc, old);
        return g_steal_pointer(&doc);
}

struct json_doc *change_make(const struct change *change)
{
        struct call *call = change->call;
        const struct json_value *old, *sent;
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) doc = NULL;

        assert(change->base || change->type == BODY_APPLY);
        if (change->type == BODY_APPLY)
                return make_applied(change);
        old = change->base->root;
        doc = json_doc_new();
        if (!apply(change, doc) || !change_identify(call, doc, call->target.name) ||
            !check_preconditions(change, json_get(json_root(doc), "metadata")))
                return NULL;
        sent = take_managed(doc);
        object_protect(call->target.kind, doc, old, change->status_only);
        take_managed(doc);
        check(call, doc, old, change->status_only, faults);
        track_update(change, doc, sent, faults);
        if (refuse_faults(call, faults))
                return NULL;
        object_grow_generation(doc, old);
        return g_steal_pointer(&doc);
}

struct json_doc *change_begin(struct call *call, const struct json_value *sent)
{
        const struct object_source source = {.clock = call->api->options.clock, .random = call->api->options.random};
        const struct change change = {.call = call};
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) doc = json_doc_new();
        const struct json_value *managed;
        const char *revision;

        json_set_root(doc, json_copy(doc, sent));
        if (!change_identify(call, doc, NULL))
                return NULL;
        revision = json_find_string(json_root(doc), "metadata", "resourceVersion", NULL);
        if (revision && *revision && strcmp(revision, "0") != 0) {
                call_refuse_words(call, 400, "resourceVersion should not be set on objects to be created");
                return NULL;
        }
        managed = take_managed(doc);
        object_begin(call->target.kind, &source, doc, call->target.namespace);
        g_free(call->target.name);
        call->target.name = g_strdup(json_find_string(json_root(doc), "metadata", "name", NULL));
        call->attributes.name = call->target.name;
        check(call, doc, NULL, false, faults);
        track_update(&change, doc, managed, faults);
        return refuse_faults(call, faults) ? NULL : g_steal_pointer(&doc);
}
