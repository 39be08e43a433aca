/* SPDX-License-Identifier: Apache-2.0 */
#include "api/change.h"
#include "api/object.h"
#include "api/strategic.h"

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
                   *uid = json_string(json_get(metadata, "uid"), NULL);
        char current[24];

        g_snprintf(current, sizeof(current), "%" PRIu64, change->base->revision);
        if (revision && *revision && strcmp(revision, current) != 0) {
                change_conflict(change->call);
                return false;
        }
        if (uid && *uid && g_strcmp0(uid, change->base->uid) != 0) {
                call_refuse_words(change->call, 409, "Precondition failed: UID in precondition: %.80s, UID in object meta: %s", uid,
                                  change->base->uid);
                return false;
        }
        return true;
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
        }
        return false;
}

/* --- the whole
 * ----------------------------------------------------------------------------------------------------------------------- */

struct json_doc *change_make(const struct change *change)
{
        struct call *call = change->call;
        const struct json_value *old = change->base->root;
        g_autoptr(schema_faults) faults = schema_faults_new();
        g_autoptr(json_doc) doc = json_doc_new();

        if (!apply(change, doc) || !change_identify(call, doc, call->target.name) ||
            !check_preconditions(change, json_get(json_root(doc), "metadata")))
                return NULL;
        object_protect(call->target.kind, doc, old, change->status_only);
        object_check(call->target.kind, doc, old, change->status_only, call->params.validation, faults);
        if (schema_faults_count(faults)) {
                call_refuse_faults(call, call->target.name, faults);
                return NULL;
        }
        object_grow_generation(doc, old);
        return g_steal_pointer(&doc);
}
