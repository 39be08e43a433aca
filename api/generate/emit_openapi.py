# SPDX-License-Identifier: Apache-2.0
"""OpenAPI documents: version 2 (one document) and version 3 (an index and one document for each group version)."""

import hashlib
import json

from load import SCALARS

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
META_TYPES = {"ObjectMeta", "ManagedFieldsEntry", "OwnerReference", "Condition", "LabelSelector", "LabelSelectorRequirement"}
PATCHES = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
# kubectl sends what it reads here: our own kinds take no strategic merge patch.
CORE_PATCHES = PATCHES[:2] + ["application/strategic-merge-patch+json"] + PATCHES[2:]
SCALAR_SCHEMAS = {
    "string": {"type": "string"},
    "int": {"type": "integer", "format": "int64"},
    "bool": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "quantity": {"type": "string"},
    "intOrString": {"type": "string", "format": "int-or-string"},
    "any": {},
}
QUERY = {
    "dryRun": ("string", "All: judge the request and change nothing."),
    "fieldManager": ("string", "Name of who makes the change."),
    "fieldValidation": ("string", "What becomes of unknown fields: Ignore, Warn or Strict."),
    "force": ("boolean", "Take over fields that another manager has applied."),
    "labelSelector": ("string", "Only objects whose labels match."),
    "fieldSelector": ("string", "Only objects whose fields match."),
    "limit": ("integer", "At most this many objects; the answer says how to go on."),
    "continue": ("string", "Go on where the answer before ended."),
    "resourceVersion": ("string", "The version that the answer is to be of, or to begin after."),
    "watch": ("boolean", "Stream changes instead of a list."),
    "allowWatchBookmarks": ("boolean", "Send bookmarks in a stream."),
    "timeoutSeconds": ("integer", "End the stream after this time."),
    "propagationPolicy": ("string", "What becomes of dependents: Orphan, Background or Foreground."),
    "gracePeriodSeconds": ("integer", "Seconds until the object goes."),
}
LIST_QUERY = ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch", "allowWatchBookmarks",
              "timeoutSeconds"]


def reverse(group):
    """gabbro.dev -> dev.gabbro; the core group and those of Kubernetes have their own names."""
    if group == "" or group.endswith("k8s.io"):
        return "io.k8s.api." + (group.split(".")[0] or "core")
    return ".".join(reversed(group.split(".")))


def definition_name(declared):
    if declared.name in META_TYPES:
        return f"{META}.{declared.name}"
    return f"{reverse(declared.group)}.{declared.version}.{declared.name}"


def groups(model):
    """(group, version) -> kinds served there, aliases included; internal kinds are not served."""
    result = {}
    for kind in model.kinds:
        if kind.internal:
            continue
        for group_version in [f"{kind.group}/{kind.version}"] + kind.aliases:
            group, version = group_version.split("/")
            result.setdefault((group, version), []).append(kind)
    return result


def prefix(group, version):
    return f"api/{version}" if group == "" else f"apis/{group}/{version}"


class Builder:
    """Makes schemas in the words of one version of OpenAPI."""

    def __init__(self, model, version):
        self.model = model
        self.v3 = version == 3
        self.root = "#/components/schemas/" if self.v3 else "#/definitions/"

    def reference(self, name, **others):
        target = {"$ref": self.root + name}
        return {"allOf": [target], **others} if self.v3 and others else {**target, **others}

    def single(self, field):
        if field.value not in SCALARS:
            return self.reference(definition_name(self.model.types[field.value]))
        schema = dict(SCALAR_SCHEMAS[field.value])
        if self.v3 and field.value in ("quantity", "intOrString"):
            schema = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
            if field.value == "quantity":
                schema["anyOf"][0]["type"] = "number"
        if field.format == "byte":
            schema["format"] = "byte"
        if field.enum:
            schema["enum"] = list(field.enum)
        low, high = ("minLength", "maxLength") if field.value == "string" else ("minimum", "maximum")
        if field.min is not None:
            schema[low] = field.min
        if field.max is not None:
            schema[high] = field.max
        return schema

    def field(self, field):
        others = {"description": field.doc}
        if field.has_default:
            others["default"] = field.default
        if self.v3 and "nullable" in field.flags:
            others["nullable"] = True
        if field.shape == "single":
            schema = self.single(field)
            if "$ref" in schema:
                return self.reference(schema["$ref"][len(self.root):], **others)
            return {**schema, **others}
        if field.shape == "map":
            return {"type": "object", "additionalProperties": self.single(field), **others}
        schema = {"type": "array", "items": self.single(field), **others}
        if field.min_items:
            schema["minItems"] = field.min_items
        if field.max_items:
            schema["maxItems"] = field.max_items
        schema["x-kubernetes-list-type"] = field.shape.replace("listmap", "map").replace("list", "atomic")
        if field.keys:
            schema["x-kubernetes-list-map-keys"] = field.keys
        if field.shape == "set" or len(field.keys) == 1:
            schema["x-kubernetes-patch-strategy"] = "merge"
        if len(field.keys) == 1:
            schema["x-kubernetes-patch-merge-key"] = field.keys[0]
        return schema

    def type(self, declared, gvks=()):
        schema = {"type": "object"}
        if declared.doc:
            schema["description"] = declared.doc
        if declared.fields:
            schema["properties"] = {field.name: self.field(field) for field in declared.fields}
        required = [field.name for field in declared.fields if "required" in field.flags]
        if required:
            schema["required"] = required
        if gvks:
            schema["x-kubernetes-group-version-kind"] = [dict(zip(("group", "version", "kind"), gvk)) for gvk in gvks]
        return schema

    def list_type(self, kind, gvks):
        items = self.reference(definition_name(kind.type))
        return {
            "type": "object",
            "description": f"A list of {kind.kind}.",
            "properties": {
                "apiVersion": {"type": "string", "description": "Group and version of the kind."},
                "kind": {"type": "string", "description": "Name of the kind."},
                "metadata": self.reference(f"{META}.ListMeta", description="What is said of the list."),
                "items": {"type": "array", "items": items, "description": "The objects."},
            },
            "required": ["items"],
            "x-kubernetes-group-version-kind": [{"group": g, "version": v, "kind": k + "List"} for g, v, k in gvks],
        }

    def reached(self, kinds):
        """Types that the kinds use, by name of definition."""
        result = {}

        def visit(declared):
            if definition_name(declared) in result:
                return
            result[definition_name(declared)] = declared
            for field in declared.fields:
                if field.is_object:
                    visit(self.model.types[field.value])

        for kind in kinds:
            visit(kind.type)
        return result

    def schemas(self, kinds, gvks_of):
        result = {}
        names = {kind.type.name: kind for kind in kinds}
        for name, declared in self.reached(kinds).items():
            kind = names.get(declared.name)
            result[name] = self.type(declared, gvks_of(kind) if kind else ())
            if kind:
                result[name + "List"] = self.list_type(kind, gvks_of(kind))
        result[f"{META}.ListMeta"] = {
            "type": "object", "description": "What is said of a list.",
            "properties": {
                "resourceVersion": {"type": "string", "description": "Version of the whole list."},
                "continue": {"type": "string", "description": "How to get the rest; empty at the end."},
                "remainingItemCount": {"type": "integer", "format": "int64", "description": "How many are left."},
                "selfLink": {"type": "string", "description": "Kept for old tools; unused."},
            }}
        result[f"{META}.Status"] = status_schema()
        return dict(sorted(result.items()))

    # --- paths

    def parameter(self, name):
        kind, doc = QUERY[name]
        if self.v3:
            return {"name": name, "in": "query", "description": doc, "schema": {"type": kind}}
        return {"name": name, "in": "query", "description": doc, "type": kind}

    def path_parameter(self, name, doc):
        base = {"name": name, "in": "path", "description": doc, "required": True}
        return {**base, "schema": {"type": "string"}} if self.v3 else {**base, "type": "string"}

    def operation(self, kind, gvk, action, query, answer, body=None, consumes=("application/json",)):
        group, version, name = gvk
        operation = {"description": f"{action} of {name}.", "operationId": f"{action}{pascal(group)}{version.capitalize()}{name}"}
        parameters = [self.parameter(q) for q in query]
        content = self.reference(answer)
        if self.v3:
            if body:
                operation["requestBody"] = {"required": True,
                                            "content": {mime: {"schema": self.reference(body)} for mime in consumes}}
            operation["responses"] = {"200": {"description": "OK", "content": {"application/json": {"schema": content}}}}
        else:
            if body:
                parameters.append({"name": "body", "in": "body", "required": True, "schema": self.reference(body)})
                operation["consumes"] = list(consumes)
            operation["produces"] = ["application/json"]
            operation["responses"] = {"200": {"description": "OK", "schema": content}}
        operation["parameters"] = parameters
        operation["x-kubernetes-action"] = ACTIONS.get(action, action)
        operation["x-kubernetes-group-version-kind"] = {"group": group, "kind": name, "version": version}
        return operation

    def item(self, kind, gvk, suffix=""):
        name = definition_name(kind.type)
        write = ["dryRun", "fieldManager", "fieldValidation"]
        patch = self.operation(kind, gvk, "patch" + suffix, write + ["force"], name, f"{META}.Patch",
                               CORE_PATCHES if kind.core else PATCHES)
        result = {"get": self.operation(kind, gvk, "read" + suffix, ["resourceVersion"], name),
                  "put": self.operation(kind, gvk, "replace" + suffix, write, name, name),
                  "patch": patch}
        if not suffix:
            result["delete"] = self.operation(kind, gvk, "delete", ["dryRun", "gracePeriodSeconds", "propagationPolicy"],
                                              f"{META}.Status")
        return result

    def paths_of(self, kind, gvk):
        group, version, _ = gvk
        root = "/" + prefix(group, version)
        name = definition_name(kind.type)
        place = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.scope == "Namespaced" else f"{root}/{kind.plural}"
        outer = [self.path_parameter("namespace", "The project.")] if kind.scope == "Namespaced" else []
        inner = outer + [self.path_parameter("name", "Name of the object.")]
        write = ["dryRun", "fieldManager", "fieldValidation"]
        paths = {place: {"get": self.operation(kind, gvk, "list", LIST_QUERY, name + "List"),
                         "post": self.operation(kind, gvk, "create", write, name, name),
                         "delete": self.operation(kind, gvk, "deletecollection", LIST_QUERY + ["dryRun"], f"{META}.Status")}}
        if outer:
            paths[place]["parameters"] = outer
            paths[f"{root}/{kind.plural}"] = {"get": self.operation(kind, gvk, "listForAll", LIST_QUERY, name + "List")}
        paths[f"{place}/{{name}}"] = {**self.item(kind, gvk), "parameters": inner}
        if kind.has_status:
            paths[f"{place}/{{name}}/status"] = {**self.item(kind, gvk, "Status"), "parameters": inner}
        return paths


ACTIONS = {"read": "get", "readStatus": "get", "replace": "put", "replaceStatus": "put", "patchStatus": "patch", "create": "post",
           "listForAll": "list"}


def pascal(group):
    return "".join(part.capitalize() for part in (group or "core").replace("-", ".").split("."))


def status_schema():
    cause = {"type": "object", "description": "One reason of a refusal.", "properties": {
        "field": {"type": "string", "description": "Path of the field."},
        "message": {"type": "string", "description": "A sentence for people."},
        "reason": {"type": "string", "description": "A stable code."}}}
    details = {"type": "object", "description": "What the answer speaks of.", "properties": {
        "name": {"type": "string", "description": "Name of the object."},
        "group": {"type": "string", "description": "Group of the kind."},
        "kind": {"type": "string", "description": "The kind."},
        "uid": {"type": "string", "description": "UID of the object."},
        "retryAfterSeconds": {"type": "integer", "format": "int64", "description": "When to try again."},
        "causes": {"type": "array", "items": cause, "description": "Every reason."}}}
    return {"type": "object", "description": "The outcome of a request that answers no object.", "properties": {
        "apiVersion": {"type": "string", "description": "Group and version of the kind."},
        "kind": {"type": "string", "description": "Name of the kind."},
        "status": {"type": "string", "description": "Success or Failure."},
        "code": {"type": "integer", "format": "int64", "description": "Status of HTTP."},
        "reason": {"type": "string", "description": "A stable code."},
        "message": {"type": "string", "description": "A sentence for people."},
        "details": details},
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Status"}]}


PATCH_SCHEMA = {"description": "A patch in the form that its type of content says."}


def v2(model):
    builder = Builder(model, 2)
    served = [kind for kind in model.kinds if not kind.internal]

    def gvks_of(kind):
        aliases = [tuple(alias.split("/")) + (kind.kind,) for alias in kind.aliases]
        return [(kind.group, kind.version, kind.kind)] + aliases

    definitions = builder.schemas(served, gvks_of)
    definitions[f"{META}.Patch"] = PATCH_SCHEMA
    paths = {}
    for (group, version), kinds in groups(model).items():
        for kind in kinds:
            paths.update(builder.paths_of(kind, (group, version, kind.kind)))
    return {"swagger": "2.0", "info": {"title": "Gabbro", "version": "v1"}, "paths": dict(sorted(paths.items())),
            "definitions": dict(sorted(definitions.items()))}


def v3(model):
    """Path of the document ("apis/gabbro.dev/v1") -> the document."""
    result = {}
    for (group, version), kinds in sorted(groups(model).items()):
        builder = Builder(model, 3)
        schemas = builder.schemas(kinds, lambda kind, g=group, v=version: [(g, v, kind.kind)])
        schemas[f"{META}.Patch"] = PATCH_SCHEMA
        paths = {}
        for kind in kinds:
            paths.update(builder.paths_of(kind, (group, version, kind.kind)))
        result[prefix(group, version)] = {
            "openapi": "3.0.0", "info": {"title": "Gabbro", "version": "v1"}, "paths": dict(sorted(paths.items())),
            "components": {"schemas": dict(sorted(schemas.items()))}}
    return result


def compact(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def v3_index(documents):
    """The list of documents; the hash lets clients keep them."""
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={hashlib.sha256(compact(doc)).hexdigest()[:32].upper()}"}
                      for path, doc in documents.items()}}
