# SPDX-License-Identifier: Apache-2.0
"""The reference manual in Markdown: a page for each kind, one of all reasons, an index."""

import json

import pools
from load import SCALARS

TYPE_WORDS = {"string": "text", "int": "whole number", "bool": "true or false", "quantity": "quantity", "time": "time",
              "intOrString": "text or whole number", "any": "anything"}
FORMAT_WORDS = {"label": "RFC 1123 label", "subdomain": "RFC 1123 subdomain", "labelValue": "label value", "ip": "IP address",
                "cidr": "address range", "mac": "MAC address", "uuid": "UUID", "url": "http or https URL", "sha256": "SHA-256",
                "percent": "1% to 100%", "path": "absolute path", "byte": "base64"}


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def anchor(name):
    return name.lower()


def type_words(field):
    words = TYPE_WORDS.get(field.value) or f"[{field.value}](#{anchor(field.value)})"
    if field.shape == "map":
        return f"map of {words}"
    if field.shape == "listmap":
        return f"list of {words} by {', '.join(field.keys)}"
    return {"single": words, "list": f"list of {words}", "set": f"set of {words}"}[field.shape]


def bounds(low, high, unit):
    if low and high:
        return f"{low} to {high}{unit}"
    return f"at least {low}{unit}" if low else f"at most {high}{unit}"


def rule_words(field):
    words = [flag for flag in ("required", "immutable", "nullable") if flag in field.flags]
    if "sensitive" in field.flags:
        words.append("sensitive: never in history, events or logs")
    if "notEmpty" in field.flags:
        words.append("not empty")
    if field.enum:
        words.append("one of " + ", ".join(f"`{v}`" if v else "the empty text" for v in field.enum))
    if field.min is not None or field.max is not None:
        words.append(bounds(str(field.min) if field.min is not None else "", str(field.max) if field.max is not None else "",
                            " characters" if field.value == "string" else ""))
    if field.min_items or field.max_items:
        words.append(bounds(field.min_items, field.max_items, " elements"))
    if field.format:
        words.append(FORMAT_WORDS[field.format])
    if field.has_default and field.default != {}:
        words.append(f"default `{json.dumps(field.default, ensure_ascii=False)}`")
    return "; ".join(words)


def fields_table(declared):
    out = ["| Field | Type | Rules | Meaning |", "|---|---|---|---|"]
    for field in declared.fields:
        out.append(f"| `{field.name}` | {type_words(field)} | {cell(rule_words(field))} | {cell(field.doc)} |")
    return out


def type_section(declared, level):
    out = [f"{'#' * level} {declared.name}", ""]
    if declared.doc:
        out += [declared.doc, ""]
    if declared.discriminator:
        members = [f"`{value}`: " + (f"`{member}`" + (" (required)" if required else "") if member else "nothing more")
                   for value, member, required in declared.members]
        out += [f"`{declared.discriminator}` says which member may be there: " + "; ".join(members) + ".", ""]
    return out + fields_table(declared) + [""]


def used_types(model, declared, seen):
    for field in declared.fields:
        if field.value in SCALARS or field.value in seen:
            continue
        seen[field.value] = model.types[field.value]
        used_types(model, model.types[field.value], seen)
    return seen


def kind_page(model, kind):
    group = f"{kind.group}/{kind.version}" if kind.group else kind.version
    out = [f"# {kind.kind}", "", kind.doc, "", "| | |", "|---|---|", f"| apiVersion | `{group}` |"]
    if kind.aliases:
        out.append("| served too as | " + ", ".join(f"`{alias}`" for alias in kind.aliases) + " |")
    out.append(f"| plural | `{kind.plural}` |")
    if kind.short:
        out.append("| short names | " + ", ".join(f"`{name}`" for name in kind.short) + " |")
    out.append(f"| scope | {'a project (namespace)' if kind.scope == 'Namespaced' else 'the whole cloud'} |")
    if kind.categories:
        out.append("| categories | " + ", ".join(f"`{name}`" for name in kind.categories) + " |")
    history = {"none": "not kept", "coalesced": "kept, changes of status put together", "full": "every change is kept"}
    out += [f"| history | {history[kind.history]} |", ""]
    if kind.hidden:
        out += ["The system's own kind: it is in no category, and ordinary roles do not reach it.", ""]
    out += ["## Columns", "", "| Column | Shown | From | Meaning |", "|---|---|---|---|"]
    for column in kind.columns:
        out.append(f"| {column.name.upper()} | {'with -o wide' if column.wide else 'always'} | `{column.path}` | {cell(column.doc)} |")
    out += ["", "## Fields", ""] + fields_table(kind.type) + [""]
    for declared in used_types(model, kind.type, {}).values():
        out += type_section(declared, 3)
    return "\n".join(out)


def reasons_page(model):
    out = ["# Reasons", "", "Codes in conditions, events, refusals and errors. A code is stable; its text may be translated.", "",
           "| Code | Text | Meaning |", "|---|---|---|"]
    for reason in sorted(model.reasons, key=lambda r: r.code):
        out.append(f"| `{reason.code}` | {cell(reason.text)} | {cell(reason.doc)} |")
    return "\n".join(out) + "\n"


def index_page(model):
    out = ["# Reference", "", "Made from `api/` by the build.", "", "| Kind | apiVersion | Short names | What it is |", "|---|---|---|---|"]
    for kind in model.kinds:
        if kind.internal:
            continue
        group = f"{kind.group}/{kind.version}" if kind.group else kind.version
        out.append(f"| [{kind.kind}]({kind.singular}.md) | `{group}` | {', '.join(kind.short)} | {cell(kind.doc)} |")
    return "\n".join(out + ["", "[Reasons](reasons.md)", "", "[What storage can](capabilities.md)", "", "[Operations: when each is allowed](operations.md)", "",
                            "[Run policies: what each makes of what happens](run-policies.md)", ""])


def pages(model):
    """File name -> text."""
    result = {"index.md": index_page(model), "reasons.md": reasons_page(model),
              "capabilities.md": pools.page(model.matrix)}
    for kind in model.kinds:
        if not kind.internal:
            result[f"{kind.singular}.md"] = kind_page(model, kind)
    return result
