# SPDX-License-Identifier: Apache-2.0
"""Reads api/*.yaml into the model below. Knows the notation of api/README.md, judges nothing but the notation."""

import json
import pathlib
import re
from dataclasses import dataclass, field

import yaml

import pools


class SchemaError(Exception):
    """A schema that is refused; the text names file and field."""


SCALARS = {"string", "int", "bool", "quantity", "time", "intOrString", "any"}
FORMATS = ["label", "subdomain", "labelValue", "ip", "cidr", "mac", "uuid", "url", "sha256", "percent", "path", "byte"]
FLAGS = ["required", "immutable", "sensitive", "nullable", "volatile", "notEmpty", "unviewed"]
COLUMN_TYPES = {"string", "integer", "number", "boolean", "date"}
HISTORY = {"none", "coalesced", "full"}


@dataclass
class Field:
    name: str
    doc: str = ""
    value: str = "string"  # a scalar, or a type's name
    shape: str = "single"  # single, list (atomic), set, listmap, map
    flags: set = field(default_factory=set)
    format: str = ""
    enum: list = field(default_factory=list)
    has_default: bool = False
    default: object = None
    min: object = None
    max: object = None
    min_items: int = 0
    max_items: int = 0
    keys: list = field(default_factory=list)

    @property
    def is_object(self):
        return self.value not in SCALARS


@dataclass
class Type:
    name: str
    doc: str = ""
    open: bool = False
    discriminator: str = ""
    members: list = field(default_factory=list)  # (value, field or "", required)
    fields: list = field(default_factory=list)
    where: str = ""
    group: str = "gabbro.dev"  # the group whose documents hold it
    version: str = "v1"


@dataclass
class Column:
    name: str
    type: str
    path: str
    doc: str
    wide: bool = False
    format: str = ""


@dataclass
class Kind:
    kind: str
    group: str
    version: str
    plural: str
    scope: str
    doc: str
    where: str
    singular: str = ""
    short: list = field(default_factory=list)
    categories: list = field(default_factory=list)
    aliases: list = field(default_factory=list)
    history: str = "full"
    hidden: bool = False
    internal: bool = False
    projected: bool = False
    sealed: bool = False
    core: bool = False
    rules: bool = False
    prepare: bool = False
    has_status: bool = False
    columns: list = field(default_factory=list)
    type: Type = None  # the object itself


@dataclass
class Reason:
    code: str
    text: str
    doc: str


@dataclass
class Model:
    kinds: list = field(default_factory=list)
    types: dict = field(default_factory=dict)  # every type by name, those of kinds included
    reasons: list = field(default_factory=list)
    matrix: pools.Matrix = field(default_factory=pools.Matrix)


class UniqueLoader(yaml.SafeLoader):
    """Refuses a key that stands twice; plain YAML would keep the last in silence. Every scalar is text but true and false."""


def _mapping(loader, node, deep=False):
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise SchemaError(f"{key.start_mark.name}:{key.start_mark.line + 1}: {key.value} is declared twice")
        seen.add(key.value)
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


UniqueLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
for _tag in ("int", "float", "timestamp", "null"):
    UniqueLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", lambda loader, node: loader.construct_scalar(node))


UniqueLoader.add_constructor("tag:yaml.org,2002:bool",
                             lambda loader, node: {"true": True, "false": False}.get(node.value, node.value))


def read_yaml(path):
    with open(path, encoding="utf-8") as stream:
        loader = UniqueLoader(stream)
        loader.name = str(path)
        try:
            return loader.get_single_data() or {}
        except yaml.YAMLError as error:
            raise SchemaError(f"{path}: {error}") from None
        finally:
            loader.dispose()


def split_modifiers(text, where):
    """'required max(3) default("a b")' -> [(name, argument or None)]; parentheses inside JSON strings are text."""
    result, i = [], 0
    while i < len(text):
        if text[i].isspace():
            i += 1
            continue
        match = re.compile(r"[A-Za-z]+").match(text, i)
        if not match:
            raise SchemaError(f"{where}: cannot read '{text[i:]}'")
        name, i, argument = match.group(), match.end(), None
        if i < len(text) and text[i] == "(":
            argument, i = _argument(text, i, where)
        result.append((name, argument))
    return result


def _argument(text, start, where):
    depth, quoted, i = 0, False, start
    while i < len(text):
        c = text[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
            if depth == 0:
                return text[start + 1:i], i + 1
        i += 1
    raise SchemaError(f"{where}: a parenthesis is not closed")


def _number(argument, where, name):
    if argument is None or not re.fullmatch(r"-?[0-9]+", argument.strip()):
        raise SchemaError(f"{where}: {name} wants a whole number")
    return int(argument)


def _names(argument, separator, where, name):
    names = [part.strip() for part in (argument or "").split(separator)]
    if not all(names):
        raise SchemaError(f"{where}: {name} wants names")
    return names


def parse_field(name, line, where):
    """One line of a field map."""
    where = f"{where}: {name}"
    if not isinstance(line, str):
        raise SchemaError(f"{where}: a field is one line of text")
    head, dashes, doc = line.partition(" -- ")
    if not dashes or not doc.strip():
        raise SchemaError(f"{where}: documentation is missing (TYPE -- words)")
    result = Field(name=name, doc=doc.strip())
    match = re.match(r"\s*(list|map)\(\s*([A-Za-z0-9]+)\s*\)|\s*([A-Za-z0-9]+)", head)
    if not match:
        raise SchemaError(f"{where}: no type")
    result.value = match.group(2) or match.group(3)
    if match.group(1) == "list":
        result.shape = "list"
    elif match.group(1) == "map":
        result.shape = "map"
    elif result.value in ("list", "map"):
        raise SchemaError(f"{where}: {result.value} wants the type of its elements")
    for modifier, argument in split_modifiers(head[match.end():], where):
        _apply_modifier(result, modifier, argument, where)
    return result


def _apply_modifier(result, modifier, argument, where):
    if modifier in FLAGS and argument is None:
        if modifier in result.flags:
            raise SchemaError(f"{where}: {modifier} stands twice")
        result.flags.add(modifier)
    elif modifier == "default":
        try:
            result.default = json.loads(argument or "")
        except ValueError:
            raise SchemaError(f"{where}: default({argument}) is not JSON") from None
        result.has_default = True
    elif modifier == "enum":
        result.enum = ["" if v == '""' else v for v in _names(argument, "|", where, modifier)]
    elif modifier == "min":
        result.min = _number(argument, where, modifier)
    elif modifier == "max":
        result.max = _number(argument, where, modifier)
    elif modifier == "items":
        low, _, high = (argument or "").partition(",")
        result.min_items = _number(low or "0", where, modifier)
        result.max_items = _number(high or "0", where, modifier)
    elif modifier == "format":
        if argument not in FORMATS:
            raise SchemaError(f"{where}: unknown format {argument}")
        result.format = argument
    elif modifier == "set" and argument is None and result.shape == "list":
        result.shape = "set"
    elif modifier == "map" and argument and result.shape == "list":
        result.shape = "listmap"
        result.keys = _names(argument, ",", where, modifier)
    else:
        raise SchemaError(f"{where}: unknown modifier {modifier}")


def parse_type(name, members, where):
    where = f"{where}: {name}"
    if not isinstance(members, dict):
        raise SchemaError(f"{where}: a type is a map of fields")
    result = Type(name=name, where=where)
    for key, value in members.items():
        if key == "$doc":
            result.doc = str(value)
        elif key == "$open":
            result.open = value is True
        elif key == "$union":
            result.discriminator = str(value)
        elif key == "$members":
            result.members = [_union_member(k, v, where) for k, v in value.items()]
        elif key.startswith("$"):
            raise SchemaError(f"{where}: unknown property {key}")
        else:
            result.fields.append(parse_field(key, value, where))
    return result


def _union_member(value, line, where):
    words = [] if line is None else str(line).split()
    if len(words) > 2 or (len(words) == 2 and words[1] != "required"):
        raise SchemaError(f"{where}: member {value} wants 'FIELD [required]' or nothing")
    return value, words[0] if words and words[0] != "none" else "", len(words) == 2


def parse_column(line, where):
    match = re.fullmatch(r"(.+?) ([a-z]+) (\.[^\s()]*|[a-z]+\((?:\.[^\s()]*)?\))( wide)? -- (\S.*)", str(line))
    if not match or match.group(2) not in COLUMN_TYPES:
        raise SchemaError(f"{where}: column '{line}' wants NAME TYPE PATH [wide] -- words")
    return Column(name=match.group(1), type=match.group(2), path=match.group(3), wide=bool(match.group(4)), doc=match.group(5))


KIND_KEYS = {"kind", "group", "version", "plural", "short", "scope", "categories", "aliases", "history", "hidden", "internal", "projected",
             "sealed", "core", "rules", "prepare", "doc", "columns", "types", "spec", "status", "fields"}


def parse_kind(data, where, model):
    unknown = set(data) - KIND_KEYS
    if unknown:
        raise SchemaError(f"{where}: unknown property {sorted(unknown)[0]}")
    for key in ("kind", "version", "plural", "scope", "doc"):
        if not data.get(key):
            raise SchemaError(f"{where}: {key} is missing")
    for key in ("hidden", "internal", "projected", "sealed", "core", "rules", "prepare"):
        if not isinstance(data.get(key, False), bool):
            raise SchemaError(f"{where}: {key} is true or false")
    name = data["kind"]
    kind = Kind(kind=name, group=data.get("group", ""), version=data["version"], plural=data["plural"], scope=data["scope"],
                doc=data["doc"], where=where, singular=name.lower(), short=list(data.get("short", [])),
                categories=list(data.get("categories", [])), aliases=list(data.get("aliases", [])),
                history=data.get("history", "full"), hidden=data.get("hidden", False), internal=data.get("internal", False),
                projected=data.get("projected", False),
                sealed=data.get("sealed", False), core=data.get("core", False), rules=data.get("rules", False),
                prepare=data.get("prepare", False),
                has_status="status" in data)
    kind.columns = [parse_column(line, where) for line in data.get("columns", [])]
    if not any(column.path == ".metadata.name" for column in kind.columns):
        kind.columns.insert(0, Column("Name", "string", ".metadata.name", "Name of the object, unique in its namespace.",
                                      format="name"))
    for type_name, members in data.get("types", {}).items():
        add_type(model, parse_type(type_name, members, where), kind)
    kind.type = _object_type(kind, data, where, model)
    add_type(model, kind.type, kind)
    model.kinds.append(kind)


def _object_type(kind, data, where, model):
    result = Type(name=kind.kind, doc=kind.doc, where=f"{where}: {kind.kind}")
    result.fields = [
        Field("apiVersion", "Group and version of the kind."),
        Field("kind", "Name of the kind."),
        Field("metadata", "Name, labels and what the server keeps of every object.", value="ObjectMeta"),
    ]
    for part, doc in (("spec", "What is wanted."), ("status", "What is observed; written by the system.")):
        if part not in data:
            continue
        part_type = parse_type(kind.kind + part.capitalize(), data[part] or {}, where)
        part_type.doc = part_type.doc or doc
        add_type(model, part_type, kind)
        needed = part == "spec" and any("required" in f.flags for f in part_type.fields)
        filled = part == "spec" and not needed and any(f.has_default for f in part_type.fields)
        result.fields.append(Field(part, doc, value=part_type.name, flags={"required"} if needed else set(),
                                   has_default=filled, default={} if filled else None))
    for name, line in data.get("fields", {}).items():
        result.fields.append(parse_field(name, line, where))
    return result


def add_type(model, new, kind=None):
    if kind:
        new.group, new.version = kind.group, kind.version
    if new.name in model.types:
        raise SchemaError(f"{new.where}: type {new.name} is declared twice (see {model.types[new.name].where})")
    model.types[new.name] = new


def parse_reasons(data, where, model):
    for code, line in data.get("reasons", {}).items():
        text, dashes, doc = str(line).partition(" -- ")
        if not dashes or not doc.strip() or not text.strip():
            raise SchemaError(f"{where}: {code}: a reason is 'text for people -- documentation'")
        model.reasons.append(Reason(code, text.strip(), doc.strip()))


def load(files):
    """The model of all files, kinds in the order of discovery: own group, core, the rest; by kind inside."""
    model = Model()
    for path in sorted(pathlib.Path(f) for f in files):
        data = read_yaml(path)
        if not isinstance(data, dict):
            raise SchemaError(f"{path.name}: a schema is a map")
        if "kind" in data:
            parse_kind(data, path.name, model)
        elif "pool" in data:
            pools.parse_pool(data, path.name, model.matrix)
        elif "operations" in data:
            pools.parse_operations(data, path.name, model.matrix)
        elif "reasons" in data:
            parse_reasons(data, path.name, model)
        else:
            for name, members in data.get("types", {}).items():
                add_type(model, parse_type(name, members, path.name))
    model.kinds.sort(key=lambda k: (k.group != "gabbro.dev", k.group, k.kind))
    return model
