# SPDX-License-Identifier: Apache-2.0
"""Judges a model: what is consistent becomes tables, what is not is refused with the place."""

import re

import names
from load import HISTORY, SCALARS, SchemaError

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MAX_DEPTH = 16


def check(model):
    for declared in model.types.values():
        _check_type(model, declared)
    for declared in model.types.values():
        _check_depth(model, declared, [])
    _check_struct_names(model)
    for kind in model.kinds:
        _check_kind(model, kind)
    _check_unique_kinds(model)
    _check_reasons(model)


def _check_type(model, declared):
    for field in declared.fields:
        _check_field(model, f"{declared.where}: {field.name}", field)
    members = [names.member(field.name) for field in declared.fields]
    for name in members:
        if members.count(name) > 1:
            raise SchemaError(f"{declared.where}: two fields give the member {name}")
    for field in declared.fields:
        if names.member(field.name).startswith(("has_", "n_")) and names.member(field.name).split("_", 1)[1] in members:
            raise SchemaError(f"{declared.where}: {field.name} collides with a generated member")
    _check_union(declared)


def _check_field(model, where, field):
    if not re.fullmatch(r"[a-zA-Z][A-Za-z0-9]*", field.name):
        raise SchemaError(f"{where}: a field's name is letters and digits")
    if field.is_object and field.value not in model.types:
        raise SchemaError(f"{where}: unknown type {field.value}")
    if field.shape == "map" and field.value not in ("string", "quantity"):
        raise SchemaError(f"{where}: only map(string) and map(quantity) are known")
    if field.shape == "set" and field.value not in ("string", "int", "intOrString", "quantity"):
        raise SchemaError(f"{where}: a set holds scalars")
    if field.shape == "listmap":
        _check_keys(model, where, field)
    if field.enum and (field.value != "string" or len(set(field.enum)) != len(field.enum)):
        raise SchemaError(f"{where}: an enumeration is of different strings")
    if field.format and field.value != "string":
        raise SchemaError(f"{where}: a format is of a string")
    if (field.min is not None or field.max is not None) and field.value not in ("string", "int"):
        raise SchemaError(f"{where}: bounds are of numbers and strings")
    if None not in (field.min, field.max) and field.min > field.max:
        raise SchemaError(f"{where}: min is above max")
    if (field.min_items or field.max_items) and field.shape == "single":
        raise SchemaError(f"{where}: items() is of lists and maps")
    if field.max_items and field.min_items > field.max_items:
        raise SchemaError(f"{where}: items: the least is above the most")
    if {"required", "nullable"} <= field.flags:
        raise SchemaError(f"{where}: required and nullable contradict each other")
    if field.has_default:
        check_value(model, where, field, field.default)
        if "required" in field.flags:
            raise SchemaError(f"{where}: a default makes required meaningless")


def _check_keys(model, where, field):
    if not field.is_object:
        raise SchemaError(f"{where}: a list by keys holds objects")
    known = {f.name: f for f in model.types[field.value].fields}
    for key in field.keys:
        if key not in known or known[key].is_object or known[key].shape != "single":
            raise SchemaError(f"{where}: {field.value} has no scalar field {key} to be a key")


def _check_union(declared):
    known = {f.name: f for f in declared.fields}
    if not declared.discriminator:
        if declared.members:
            raise SchemaError(f"{declared.where}: $members without $union")
        return
    if declared.discriminator not in known or not known[declared.discriminator].enum:
        raise SchemaError(f"{declared.where}: the union's field {declared.discriminator} is not an enumeration")
    for value, member, _ in declared.members:
        if value not in known[declared.discriminator].enum:
            raise SchemaError(f"{declared.where}: union value {value} is not in the enumeration")
        if member and member not in known:
            raise SchemaError(f"{declared.where}: union member {member} is not a field")
    missing = set(known[declared.discriminator].enum) - {value for value, _, _ in declared.members}
    if missing:
        raise SchemaError(f"{declared.where}: union value {sorted(missing)[0]} has no line in $members")


def check_value(model, where, field, value):
    """A default (or a part of one) against its field."""
    if field.shape == "map":
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise SchemaError(f"{where}: default is not a map of strings")
    elif field.shape != "single":
        if not isinstance(value, list):
            raise SchemaError(f"{where}: default is not a list")
        for element in value:
            _check_single(model, where, field, element)
    else:
        _check_single(model, where, field, value)


def _check_single(model, where, field, value):
    if field.value == "any":
        return
    if field.is_object:
        if not isinstance(value, dict):
            raise SchemaError(f"{where}: default is not an object")
        known = {f.name: f for f in model.types[field.value].fields}
        for key, part in value.items():
            if key not in known:
                raise SchemaError(f"{where}: default has an unknown field {key}")
            check_value(model, f"{where}.{key}", known[key], part)
        return
    kinds = {"int": (int,), "bool": (bool,), "quantity": (str, int), "intOrString": (str, int)}.get(field.value, (str,))
    if not isinstance(value, kinds) or (isinstance(value, bool) and field.value != "bool"):
        raise SchemaError(f"{where}: default is not a {field.value}")
    if field.enum and value not in field.enum:
        raise SchemaError(f"{where}: default {value} is not in the enumeration")
    size = len(value) if isinstance(value, str) else value
    if (field.min is not None and size < field.min) or (field.max is not None and size > field.max):
        raise SchemaError(f"{where}: default {value} is out of bounds")


def _check_depth(model, declared, path):
    if declared.name in path:
        raise SchemaError(f"{declared.where}: the type holds itself ({' -> '.join(path + [declared.name])})")
    if len(path) > MAX_DEPTH:
        raise SchemaError(f"{declared.where}: nested deeper than {MAX_DEPTH}")
    for field in declared.fields:
        if field.is_object:
            _check_depth(model, model.types[field.value], path + [declared.name])


def _check_struct_names(model):
    seen = {}
    for name, declared in model.types.items():
        if name in SCALARS or name in ("list", "map"):
            raise SchemaError(f"{declared.where}: {name} is the name of a scalar")
        struct = names.snake(name)
        if struct in seen:
            raise SchemaError(f"{declared.where}: struct api_{struct} is {seen[struct]} already")
        seen[struct] = name


def _check_kind(model, kind):
    where = kind.where
    if kind.scope not in ("Namespaced", "Cluster"):
        raise SchemaError(f"{where}: scope is Namespaced or Cluster")
    if kind.history not in HISTORY:
        raise SchemaError(f"{where}: history is one of {', '.join(sorted(HISTORY))}")
    if not LABEL.fullmatch(kind.plural):
        raise SchemaError(f"{where}: plural {kind.plural} is not a lower-case word")
    for alias in kind.aliases:
        if not re.fullmatch(r"[a-z0-9.-]+/v[0-9a-z]+", alias):
            raise SchemaError(f"{where}: alias {alias} is not group/version")
    titles = [column.name for column in kind.columns]
    for column in kind.columns:
        if titles.count(column.name) > 1:
            raise SchemaError(f"{where}: column {column.name} stands twice")
        check_path(model, kind, column)


FUNCTIONS = {"keys", "age", "nodestatus", "noderoles", "object", "usage", "users", "groups", "serviceaccounts"}


def split_path(path):
    """'.a.b[C].d' -> ['a', 'b', '[C]', 'd']"""
    parts = re.findall(r"\.([^.\[\]]+)|(\[[^\]]+\])", path)
    if "".join("." + a if a else b for a, b in parts) != path:
        return None
    return [a or b for a, b in parts]


def check_path(model, kind, column):
    where = f"{kind.where}: column {column.name}"
    match = re.fullmatch(r"([a-z]+)\((.*)\)", column.path)
    if match and match.group(1) not in FUNCTIONS:
        raise SchemaError(f"{where}: unknown function {match.group(1)}")
    path = match.group(2) if match else column.path
    if not path:
        return
    parts = split_path(path)
    if not parts:
        raise SchemaError(f"{where}: cannot read the path {path}")
    _follow(model, where, kind.type, parts)


def _follow(model, where, declared, parts):
    field = None
    for part in parts:
        if part.startswith("["):
            if field is None or field.shape == "single":
                raise SchemaError(f"{where}: {part} selects from a list or map only")
            declared = model.types.get(field.value) if field.shape != "map" else None
            continue
        if declared is None:
            if field is not None and field.value == "any":
                return
            raise SchemaError(f"{where}: {part} is below a scalar")
        field = next((f for f in declared.fields if f.name == part), None)
        if field is None:
            raise SchemaError(f"{where}: {declared.name} has no field {part}")
        declared = model.types.get(field.value)


def _check_unique_kinds(model):
    seen = {}
    for kind in model.kinds:
        for group_version in [f"{kind.group}/{kind.version}"] + kind.aliases:
            for word in {kind.kind, kind.plural} | (set(kind.short) if group_version not in kind.aliases else set()):
                if (group_version.split("/")[0], word) in seen:
                    raise SchemaError(f"{kind.where}: {word} is taken by {seen[group_version.split('/')[0], word]}")
            for word in {kind.kind, kind.plural} | (set(kind.short) if group_version not in kind.aliases else set()):
                seen[group_version.split("/")[0], word] = kind.where


def _check_reasons(model):
    seen = {}
    for reason in model.reasons:
        if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?", reason.code):
            raise SchemaError(f"reason {reason.code}: a code is one word")
        name = names.macro(reason.code)
        if name in seen:
            raise SchemaError(f"reason {reason.code}: REASON_{name} is {seen[name]} already")
        seen[name] = reason.code
