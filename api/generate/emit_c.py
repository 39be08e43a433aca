# SPDX-License-Identifier: Apache-2.0
"""Tables and typed views in C."""

import json

from names import macro, member, quote, snake

HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n/* Made from api/ by api/generate/generate.py. */\n"
VALUES = {"string": "SCHEMA_STRING", "int": "SCHEMA_INT", "bool": "SCHEMA_BOOL", "quantity": "SCHEMA_QUANTITY",
          "time": "SCHEMA_TIME", "intOrString": "SCHEMA_INT_OR_STRING", "any": "SCHEMA_ANY"}
SHAPES = {"single": "SCHEMA_SINGLE", "list": "SCHEMA_LIST_ATOMIC", "set": "SCHEMA_LIST_SET", "listmap": "SCHEMA_LIST_MAP",
          "map": "SCHEMA_MAP"}
ELEMENTS = {"int": "int64_t ", "bool": "bool ", "any": "const struct json_value *"}


def struct(name):
    return "struct api_" + snake(name)


def element(field):
    """C type of one value, with the space or star before the name."""
    if field.is_object:
        return struct(field.value) + " "
    return ELEMENTS.get(field.value, "const char *")


def in_order(model):
    """Types with those they use before them."""
    done, result = set(), []

    def visit(declared):
        if declared.name in done:
            return
        done.add(declared.name)
        for field in declared.fields:
            if field.is_object:
                visit(model.types[field.value])
        result.append(declared)

    for name in sorted(model.types):
        visit(model.types[name])
    return result


def emit_member(field):
    name = member(field.name)
    if field.shape == "map":
        return [f"struct api_pair *{name};", f"size_t n_{name};"]
    if field.shape != "single":
        return [f"{element(field)}*{name};", f"size_t n_{name};"]
    if field.is_object:
        return [f"{struct(field.value)} *{name};"]
    lines = [f"{element(field)}{name};"]
    if field.value in ("int", "bool"):
        lines.append(f"bool has_{name};")
    return lines


def viewed(declared):
    """Fields that stand in the typed view."""
    return [field for field in declared.fields if "unviewed" not in field.flags]


def emit_types_h(model):
    out = [HEAD + "#pragma once\n", '#include "schema/schema.h"\n', "struct json_value;\n"]
    for declared in in_order(model):
        if declared.doc:
            out.append(f"/* {declared.doc.replace('*/', '')} */")
        out.append(struct(declared.name) + " {")
        for field in viewed(declared):
            lines = emit_member(field)
            out.append(f"        {lines[0]} /* {field.doc.replace('*/', '').replace('/*', '')} */")
            out.extend("        " + line for line in lines[1:])
        if not viewed(declared):
            out.append("        char empty;")
        out.append("};")
        out.append(f"extern const struct schema_type api_{snake(declared.name)}_type;\n")
    for kind in model.kinds:
        out.append(f"extern const struct schema_kind api_{snake(kind.kind)}_kind;")
    return "\n".join(out) + "\n"


def strings(name, values):
    body = "".join(quote(v) + ", " for v in values)
    return f"static const char *const {name}[] = {{{body}NULL}};"


def emit_field(declared, field, number, out):
    """One initialiser; arrays it needs go to @out first."""
    prefix = f"{snake(declared.name)}_{number}"
    owner, name = struct(declared.name), member(field.name)
    parts = [f".name = {quote(field.name)}", f".doc = {quote(field.doc)}",
             f".value = {VALUES.get(field.value, 'SCHEMA_OBJECT')}", f".shape = {SHAPES[field.shape]}"]
    if field.format:
        parts.append(f".format = SCHEMA_FORMAT_{macro(field.format)}")
    flags = [f"SCHEMA_{macro(flag)}" for flag in sorted(field.flags)]
    if flags:
        parts.append(".flags = " + " | ".join(flags))
    if field.is_object:
        parts.append(f".type = &api_{snake(field.value)}_type")
    if field.enum:
        out.append(strings(f"enum_{prefix}", field.enum))
        parts.append(f".enumeration = enum_{prefix}")
    if field.has_default:
        parts.append(f".default_json = {quote(json.dumps(field.default, ensure_ascii=False))}")
    if field.min is not None:
        parts.append(f".has_min = true, .min = {field.min}")
    if field.max is not None:
        parts.append(f".has_max = true, .max = {field.max}")
    if field.min_items:
        parts.append(f".min_items = {field.min_items}")
    if field.max_items:
        parts.append(f".max_items = {field.max_items}")
    if field.keys:
        out.append(strings(f"keys_{prefix}", field.keys))
        parts.append(f".list_keys = keys_{prefix}")
    if "unviewed" in field.flags:
        return "        {" + ", ".join(parts) + "},"
    parts.append(f".offset = offsetof({owner}, {name})")
    if field.shape != "single":
        parts.append(f".count_offset = offsetof({owner}, n_{name})")
    elif field.value in ("int", "bool"):
        parts.append(f".has_offset = offsetof({owner}, has_{name})")
    return "        {" + ", ".join(parts) + "},"


def emit_type(declared, out):
    name = snake(declared.name)
    lines = [emit_field(declared, field, number, out) for number, field in enumerate(declared.fields)]
    out.append(f"static const struct schema_field fields_{name}[] = {{")
    out.extend(lines)
    out.append("        {.name = NULL},\n};")
    parts = [f".name = {quote(declared.name)}", f".doc = {quote(declared.doc)}", f".size = sizeof({struct(declared.name)})",
             f".fields = fields_{name}"]
    if declared.open:
        parts.append(".flags = SCHEMA_OPEN")
    if declared.discriminator:
        out.append(f"static const struct schema_union_member members_{name}[] = {{")
        for value, field, required in declared.members:
            shown = quote(field) if field else "NULL"
            out.append(f"        {{{quote(value)}, {shown}, {'true' if required else 'false'}}},")
        out.append("        {NULL, NULL, false},\n};")
        parts.append(f".discriminator = {quote(declared.discriminator)}, .union_members = members_{name}")
    out.append(f"const struct schema_type api_{name}_type = {{{', '.join(parts)}}};\n")


def emit_kind(kind, out):
    name = snake(kind.kind)
    out.append(strings(f"short_{name}", kind.short))
    out.append(strings(f"categories_{name}", kind.categories))
    out.append(strings(f"aliases_{name}", kind.aliases))
    out.append(f"static const struct schema_column columns_{name}[] = {{")
    for column in kind.columns:
        out.append(f"        {{{quote(column.name)}, {quote(column.type)}, {quote(column.format)}, {quote(column.doc)}, "
                   f"{quote(column.path)}, {1 if column.wide else 0}}},")
    out.append("        {NULL, NULL, NULL, NULL, NULL, 0},\n};")
    truth = [f".{flag} = true" for flag in ("hidden", "internal", "projected", "core", "sealed", "has_status") if getattr(kind, flag)]
    if kind.scope == "Namespaced":
        truth.append(".namespaced = true")
    parts = [f".group = {quote(kind.group)}", f".version = {quote(kind.version)}", f".kind = {quote(kind.kind)}",
             f".plural = {quote(kind.plural)}", f".singular = {quote(kind.singular)}", f".short_names = short_{name}",
             f".categories = categories_{name}", f".aliases = aliases_{name}", f".history = SCHEMA_HISTORY_{kind.history.upper()}",
             f".type = &api_{name}_type", f".columns = columns_{name}"] + truth
    if kind.rules:
        parts.append(f".rules = rules_{name}")
    if kind.prepare:
        parts.append(f".prepare = prepare_{name}")
    out.append(f"const struct schema_kind api_{name}_kind = {{{', '.join(parts)}}};\n")


def emit_rules_h(model):
    out = [HEAD + "#pragma once\n", '#include "schema/schema.h"\n',
           "/* The functions that kinds name with rules: and prepare:; they stand in src/schema/rules/. */\n"]
    for kind in model.kinds:
        name = snake(kind.kind)
        if kind.rules:
            out.append(f"/** rules_{name}() - cross-field rules of {kind.kind}, see struct schema_kind. */")
            out.append(f"void rules_{name}(const struct json_value *object, const struct json_value *old, "
                       "struct schema_faults *faults);")
        if kind.prepare:
            out.append(f"/** prepare_{name}() - brings a {kind.kind} into its stored form, see struct schema_kind. */")
            out.append(f"void prepare_{name}(struct json_doc *doc, struct json_value *object);")
    return "\n".join(out) + "\n"


def emit_tables_c(model):
    out = [HEAD, '#include "generated/api_rules.h"', '#include "generated/api_types.h"\n', "#include <stddef.h>\n"]
    for declared in in_order(model):
        emit_type(declared, out)
    for kind in model.kinds:
        emit_kind(kind, out)
    out.append("const struct schema_kind *const schema_kinds[] = {")
    out.extend(f"        &api_{snake(kind.kind)}_kind," for kind in model.kinds)
    out.append("        NULL,\n};")
    return "\n".join(out) + "\n"


def emit_reasons_h(model):
    out = [HEAD + "#pragma once\n", "#include <stddef.h>\n"]
    for reason in model.reasons:
        out.append(f"#define REASON_{macro(reason.code)} {quote(reason.code)} /* {reason.text} */")
    out.append("""
/* The registry of reason codes: what the API, the portal and the CLI print, and the key of translations. */
struct reason {
        const char *code; /* "NoSuitableNode" */
        const char *text; /* a short sentence for people */
        const char *doc;  /* when it is given and what helps */
};

/* Every reason, in the order of their codes; ends with a NULL code. */
extern const struct reason reasons[];
extern const size_t n_reasons;

/** reason_find() - the registry's entry of @code, or NULL. */
const struct reason *reason_find(const char *code);

/** reason_text() - the sentence of @code, or NULL when the registry does not know it. */
const char *reason_text(const char *code);""")
    return "\n".join(out) + "\n"


def emit_reasons_c(model):
    out = [HEAD, '#include "generated/reasons.h"\n', "#include <string.h>\n", "const struct reason reasons[] = {"]
    for reason in sorted(model.reasons, key=lambda r: r.code):
        out.append(f"        {{{quote(reason.code)}, {quote(reason.text)}, {quote(reason.doc)}}},")
    out.append("        {NULL, NULL, NULL},\n};")
    out.append(f"const size_t n_reasons = {len(model.reasons)};\n")
    out.append("""const struct reason *reason_find(const char *code)
{
        size_t low = 0, high = n_reasons;

        while (code && low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(code, reasons[middle].code);

                if (order == 0)
                        return &reasons[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

const char *reason_text(const char *code)
{
        const struct reason *reason = reason_find(code);

        return reason ? reason->text : NULL;
}""")
    return "\n".join(out) + "\n"


def literal(data):
    """Bytes as string literals of bearable length; octal, for it cannot swallow the digit that follows."""
    out = []
    for start in range(0, len(data), 96):
        line = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in data[start:start + 96])
        out.append(f'        "{line}"')
    return "\n".join(out) or '        ""'


def emit_blobs_c(blobs, v3):
    """@blobs: name -> bytes; @v3: path of the document -> bytes."""
    out = [HEAD, '#include "schema/schema.h"\n', "#include <string.h>\n"]
    for number, data in enumerate(v3.values()):
        out.append(f"static const char blob_v3_{number}[] =\n{literal(data)};\n")
    for name, data in blobs.items():
        out.append(f"static const char blob_{name}[] =\n{literal(data)};\n")
    out.append("static const struct {\n        const char *path;\n        const char *data;\n        size_t len;\n} documents[] = {")
    for number, path in enumerate(v3):
        out.append(f"        {{{quote(path)}, blob_v3_{number}, sizeof(blob_v3_{number}) - 1}},")
    out.append("};\n")
    out.append("#define BLOB(name) ((struct schema_blob){(const unsigned char *)(name), sizeof(name) - 1})\n")
    for name in blobs:
        out.append(f"struct schema_blob schema_{name}(void)\n{{\n        return BLOB(blob_{name});\n}}\n")
    out.append("""struct schema_blob schema_openapi_v3(const char *group_version)
{
        for (size_t i = 0; i < sizeof(documents) / sizeof(*documents); i++)
                if (strcmp(documents[i].path, group_version) == 0)
                        return (struct schema_blob){(const unsigned char *)documents[i].data, documents[i].len};
        return (struct schema_blob){NULL, 0};
}""")
    return "\n".join(out) + "\n"
