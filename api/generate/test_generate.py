# SPDX-License-Identifier: Apache-2.0
"""Tests of the generator: golden files, refused schemas, both forms of OpenAPI.

GABBRO_GOLDEN=1 writes the golden files anew.
"""

import os
import pathlib
import re
import struct
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import check  # noqa: E402
import emit_c  # noqa: E402
import emit_manual  # noqa: E402
import emit_openapi  # noqa: E402
import generate  # noqa: E402
import gnostic  # noqa: E402
import load  # noqa: E402
import names  # noqa: E402
import pools  # noqa: E402

API = HERE.parent
GOLDEN = HERE / "golden"


@pytest.fixture(scope="module")
def lamp():
    return generate.build(sorted(GOLDEN.glob("*.yaml")))


@pytest.fixture(scope="module")
def product():
    return generate.build(sorted(API.glob("*.yaml")))


def pretty(document):
    return emit_openapi.json.dumps(document, indent=1, ensure_ascii=False) + "\n"


GOLDENS = {
    "api_types.h.golden": emit_c.emit_types_h,
    "api_rules.h.golden": emit_c.emit_rules_h,
    "api_tables.c.golden": emit_c.emit_tables_c,
    "reasons.h.golden": emit_c.emit_reasons_h,
    "reasons.c.golden": emit_c.emit_reasons_c,
    "openapi_v2.json.golden": lambda model: pretty(emit_openapi.v2(model)),
    "openapi_v3.json.golden": lambda model: pretty(emit_openapi.v3(model)),
    "lamp.md.golden": lambda model: emit_manual.pages(model)["lamp.md"],
    "reasons.md.golden": lambda model: emit_manual.pages(model)["reasons.md"],
}


@pytest.mark.parametrize("name", GOLDENS)
def test_output_is_as_before(lamp, name):
    text = GOLDENS[name](lamp)
    path = GOLDEN / name
    if os.environ.get("GABBRO_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} differs; GABBRO_GOLDEN=1 takes the new text"


# --- refused schemas

BASE = """
kind: Lamp
group: example.com
version: v1
plural: lamps
scope: Cluster
doc: A light.
columns:
  - State string .status.state -- Whether it shines.
types:
  Bulb:
    type: string required enum(Led|Gas) -- Kind of the bulb.
spec:
  watts: int -- Power.
status:
  state: string -- Whether it shines.
"""
SHARED = "types:\n  ObjectMeta:\n    name: string -- Its name.\n"

# (what is replaced, by what, words of the refusal)
REFUSED = [
    ("watts: int -- Power.", "watts: int", "documentation is missing"),
    ("watts: int -- Power.", "watts: int -- ", "documentation is missing"),
    ("watts: int -- Power.", "watts: [int]", "a field is one line of text"),
    ("watts: int -- Power.", "watts: number -- Power.", "unknown type number"),
    ("watts: int -- Power.", "watts: list(Lamps) -- Power.", "unknown type Lamps"),
    ("watts: int -- Power.", "watts: list -- Power.", "wants the type of its elements"),
    ("watts: int -- Power.", "watts: map(int) -- Power.", "only map(string) and map(quantity) are known"),
    ("watts: int -- Power.", "watts: int -- Power.\n  watts: int -- Power.", "watts is declared twice"),
    ("watts: int -- Power.", "hostIP: int -- A.\n  host_ip: int -- B.", "letters and digits"),
    ("watts: int -- Power.", "hostIP: int -- A.\n  hostIp: int -- B.", "two fields give the member host_ip"),
    ("watts: int -- Power.", "watts: int -- A.\n  hasWatts: bool -- B.", "collides with a generated member"),
    ("watts: int -- Power.", "watts: int sometimes -- Power.", "unknown modifier sometimes"),
    ("watts: int -- Power.", "watts: int required required -- Power.", "required stands twice"),
    ("watts: int -- Power.", "watts: int min(a) -- Power.", "min wants a whole number"),
    ("watts: int -- Power.", "watts: int min(5) max(4) -- Power.", "min is above max"),
    ("watts: int -- Power.", "watts: bool min(5) -- Power.", "bounds are of numbers and strings"),
    ("watts: int -- Power.", "watts: int items(1,2) -- Power.", "items() is of lists and maps"),
    ("watts: int -- Power.", "watts: list(int) items(3,2) -- Power.", "the least is above the most"),
    ("watts: int -- Power.", "watts: int set -- Power.", "unknown modifier set"),
    ("watts: int -- Power.", "watts: list(Bulb) set -- Power.", "a set holds scalars"),
    ("watts: int -- Power.", "watts: list(Bulb) map(name) -- Power.", "Bulb has no scalar field name to be a key"),
    ("watts: int -- Power.", "watts: list(int) map(name) -- Power.", "a list by keys holds objects"),
    ("watts: int -- Power.", "watts: string format(colour) -- Power.", "unknown format colour"),
    ("watts: int -- Power.", "watts: int format(ip) -- Power.", "a format is of a string"),
    ("watts: int -- Power.", "watts: int enum(1|2) -- Power.", "an enumeration is of different strings"),
    ("watts: int -- Power.", "watts: string enum(A|A) -- Power.", "an enumeration is of different strings"),
    ("watts: int -- Power.", "watts: string enum(A||B) -- Power.", "enum wants names"),
    ("watts: int -- Power.", 'watts: string enum(A|B) default("C") -- Power.', "default C is not in the enumeration"),
    ("watts: int -- Power.", 'watts: int default("7") -- Power.', "default is not a int"),
    ("watts: int -- Power.", "watts: int default(true) -- Power.", "default is not a int"),
    ("watts: int -- Power.", "watts: int max(5) default(7) -- Power.", "default 7 is out of bounds"),
    ("watts: int -- Power.", "watts: int default(7 -- Power.", "a parenthesis is not closed"),
    ("watts: int -- Power.", "watts: int default(seven) -- Power.", "is not JSON"),
    ("watts: int -- Power.", "watts: int required default(7) -- Power.", "a default makes required meaningless"),
    ("watts: int -- Power.", 'watts: Bulb default({"colour":1}) -- Power.', "default has an unknown field colour"),
    ("watts: int -- Power.", 'watts: Bulb default({"type":"Oil"}) -- Power.', "default Oil is not in the enumeration"),
    ("watts: int -- Power.", "watts: int required nullable -- Power.", "contradict each other"),
    ("watts: int -- Power.", "watts: LampSpec -- Power.", "the type holds itself"),
    ("watts: int -- Power.", "watts: a: b -- Power.", "mapping values are not allowed"),
    ("    type: string", "    $colour: red\n    type: string", "unknown property $colour"),
    ("    type: string", "    $members: {Led: none}\n    type: string", "$members without $union"),
    ("    type: string", "    $union: colour\n    $members: {Led: none}\n    type: string", "is not an enumeration"),
    ("    type: string", "    $union: type\n    $members: {Led: none}\n    type: string", "union value Gas has no line in $members"),
    ("    type: string", "    $union: type\n    $members: {Led: led, Gas: none}\n    type: string", "union member led is not a field"),
    ("    type: string", "    $union: type\n    $members: {Led: type often, Gas: none}\n    type: string", "wants 'FIELD [required]'"),
    ("  Bulb:", "  ObjectMeta:\n    a: int -- A.\n  Bulb:", "type ObjectMeta is declared twice"),
    ("  Bulb:", "  LAMP:\n    a: int -- A.\n  Bulb:", "is LAMP already"),
    ("scope: Cluster", "scope: World", "scope is Namespaced or Cluster"),
    ("scope: Cluster", "scope: Cluster\nhistory: long", "history is one of"),
    ("scope: Cluster", "scope: Cluster\ncolour: red", "unknown property colour"),
    ("scope: Cluster", "scope: Cluster\nhidden: 'no'", "hidden is true or false"),
    ("scope: Cluster", "scope: Cluster\naliases: [other]", "alias other is not group/version"),
    ("plural: lamps", "plural: Lamps", "is not a lower-case word"),
    ("doc: A light.\n", "", "doc is missing"),
    ("- State string .status.state -- Whether it shines.", "- State string .status.state", "wants NAME TYPE PATH"),
    ("- State string .status.state -- Whether it shines.", "- State colour .status.state -- Whether.", "wants NAME TYPE PATH"),
    ("- State string .status.state -- Whether it shines.", "- State string .status.colour -- Whether.", "LampStatus has no field colour"),
    ("- State string .status.state -- Whether it shines.", "- State string .status.state.x -- Whether.", "is below a scalar"),
    ("- State string .status.state -- Whether it shines.", "- State string .status[x] -- Whether.", "selects from a list or map only"),
    ("- State string .status.state -- Whether it shines.", "- State string colour(.status) -- Whether.", "unknown function colour"),
    ("- State string .status.state -- Whether it shines.",
     "- State string .status.state -- A.\n  - State string .spec.watts -- B.", "column State stands twice"),
]


def build_text(folder, text, shared=SHARED):
    (folder / "lamp.yaml").write_text(text)
    (folder / "shared.yaml").write_text(shared)
    return generate.build([folder / "lamp.yaml", folder / "shared.yaml"])


def test_the_base_of_the_refused_schemas_is_accepted(tmp_path):
    assert len(build_text(tmp_path, BASE).kinds) == 1


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_a_wrong_schema_is_refused_with_its_place(tmp_path, number):
    old, new, words = REFUSED[number]
    assert old in BASE
    with pytest.raises(load.SchemaError) as refusal:
        build_text(tmp_path, BASE.replace(old, new, 1))
    assert words in str(refusal.value)
    assert "lamp.yaml" in str(refusal.value)


def test_a_short_name_that_is_taken_is_refused(tmp_path):
    (tmp_path / "other.yaml").write_text(BASE.replace("kind: Lamp", "kind: Torch").replace("plural: lamps", "plural: torches")
                                         .replace("  Bulb:", "  Wick:").replace("scope: Cluster", "scope: Cluster\nshort: [lamps]"))
    (tmp_path / "lamp.yaml").write_text(BASE)
    (tmp_path / "shared.yaml").write_text(SHARED)
    with pytest.raises(load.SchemaError, match="lamps is taken by"):
        generate.build(sorted(tmp_path.glob("*.yaml")))


@pytest.mark.parametrize("line,words", [
    ("  A: text", "text for people"),
    ("  A-b: a -- b", "a code is one word"),
    ("  IPLost: a -- b\n  IpLost: a -- b", "is IPLost already"),
])
def test_a_wrong_reason_is_refused(tmp_path, line, words):
    (tmp_path / "reasons.yaml").write_text(f"reasons:\n{line}\n")
    with pytest.raises(load.SchemaError, match=words):
        generate.build([tmp_path / "reasons.yaml"])


def test_the_command_says_what_is_wrong_and_writes_nothing(tmp_path):
    (tmp_path / "lamp.yaml").write_text(BASE.replace("-- Power.", ""))
    result = subprocess.run([sys.executable, "-B", str(HERE / "generate.py"), str(tmp_path / "out"), str(tmp_path / "lamp.yaml")],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "api: lamp.yaml: LampSpec: watts: documentation is missing (TYPE -- words)\n"
    assert not (tmp_path / "out").exists()


# --- parts

@pytest.mark.parametrize("name,expected", [
    ("guestOSInfo", "guest_os_info"), ("virtualMachineIPAddressName", "virtual_machine_ip_address_name"), ("uid", "uid"),
    ("imageUploadURLs", "image_upload_urls"), ("sourceUID", "source_uid"), ("VirtualMachineIPAddressLease",
                                                                            "virtual_machine_ip_address_lease"),
    ("NoKvm", "no_kvm"), ("machineID", "machine_id"), ("md5", "md5"), ("registryURL", "registry_url"),
])
def test_names_are_split_at_their_words(name, expected):
    assert names.snake(name) == expected


def test_words_of_c_get_an_underscore():
    assert names.member("default") == "default_"
    assert names.member("namespace") == "namespace"


def test_literals_survive_digits_quotes_and_trigraphs():
    assert names.quote('a"b\\c?') == '"a\\"b\\\\c?"'
    assert emit_c.literal(b"\x001?\"") == '        "\\0001\\077\\042"'


def test_modifiers_keep_parentheses_in_quotes():
    assert load.split_modifiers('required default("a) b(") max(3)', "x") == [("required", None), ("default", '"a) b("'), ("max", "3")]


# --- OpenAPI

def decode(data):
    """[(field number, wire type, value)] of a protobuf message."""
    out, i = [], 0

    def take():
        nonlocal i
        shift = number = 0
        while True:
            byte = data[i]
            i += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while i < len(data):
        tag = take()
        if tag & 7 == 0:
            out.append((tag >> 3, 0, take()))
        elif tag & 7 == 1:
            out.append((tag >> 3, 1, struct.unpack("<d", data[i:i + 8])[0]))
            i += 8
        else:
            assert tag & 7 == 2
            size = take()
            assert i + size <= len(data)
            out.append((tag >> 3, 2, data[i:i + size]))
            i += size
    return out


def member(message, number):
    return next(value for n, _, value in decode(message) if n == number)


def test_the_protobuf_form_holds_every_path_and_definition(product):
    v2 = emit_openapi.v2(product)
    data = gnostic.document(v2)
    assert member(data, 1) == b"2.0"
    paths = [member(entry, 1).decode() for n, _, entry in decode(member(data, 8)) if n == 2]
    definitions = [member(entry, 1).decode() for n, _, entry in decode(member(data, 9)) if n == 1]
    assert paths == list(v2["paths"]) and definitions == list(v2["definitions"])


def test_every_kind_can_be_patched_as_a_dry_run_also_by_its_alias(product):
    paths = emit_openapi.v2(product)["paths"]
    able = set()
    for item in paths.values():
        patch = item.get("patch")
        if patch and any(p["name"] == "dryRun" and p["in"] == "query" for p in patch["parameters"]):
            gvk = patch["x-kubernetes-group-version-kind"]
            able.add((gvk["group"], gvk["version"], gvk["kind"]))
    wanted = {(group, version, kind.kind) for (group, version), kinds in emit_openapi.groups(product).items() for kind in kinds}
    assert wanted <= able
    assert ("virtualization.deckhouse.io", "v1alpha2", "VirtualMachine") in able


def test_every_kind_has_a_definition_that_names_it(product):
    named = set()
    for definition in emit_openapi.v2(product)["definitions"].values():
        for gvk in definition.get("x-kubernetes-group-version-kind", []):
            named.add((gvk["group"], gvk["version"], gvk["kind"]))
    for (group, version), kinds in emit_openapi.groups(product).items():
        for kind in kinds:
            assert (group, version, kind.kind) in named


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_no_reference_leads_nowhere(product):
    v2 = emit_openapi.v2(product)
    assert set(references(v2)) <= {"#/definitions/" + name for name in v2["definitions"]}
    for document in emit_openapi.v3(product).values():
        assert set(references(document)) <= {"#/components/schemas/" + name for name in document["components"]["schemas"]}


def test_operations_have_different_names(product):
    for document in [emit_openapi.v2(product)] + list(emit_openapi.v3(product).values()):
        ids = [op["operationId"] for item in document["paths"].values() for op in item.values() if isinstance(op, dict)]
        assert len(ids) == len(set(ids))


def test_internal_kinds_are_in_no_document(product):
    text = emit_openapi.compact(emit_openapi.v2(product)) + b"".join(map(emit_openapi.compact, emit_openapi.v3(product).values()))
    for kind in product.kinds:
        if kind.internal:
            assert kind.plural.encode() + b"/" not in text
            assert f"{kind.singular}.md" not in emit_manual.pages(product)


def test_the_encoder_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="no protobuf form for pattern"):
        gnostic.schema({"type": "string", "pattern": "x"})


# --- the product's schemas

def test_reasons_in_the_sources_are_registered(product):
    known = {"REASON_" + names.macro(reason.code) for reason in product.reasons}
    used = {}
    for path in (API.parent / "src").rglob("*.[ch]"):
        for word in re.findall(r"\bREASON_[A-Z0-9_]+\b", path.read_text(encoding="utf-8")):
            used.setdefault(word, path.name)
    assert {word: used[word] for word in set(used) - known} == {}


def test_every_rule_function_that_a_kind_names_exists(product):
    text = "".join(path.read_text(encoding="utf-8") for path in (API.parent / "src/schema/rules").glob("*.c"))
    for kind in product.kinds:
        for word, wanted in (("rules", kind.rules), ("prepare", kind.prepare)):
            assert (f"void {word}_{names.snake(kind.kind)}(" in text) == wanted, f"{kind.where}: {word}"


def test_every_schema_file_is_built(product):
    listed = set(re.findall(r"'([a-z_0-9]+\.yaml)'", (API / "meson.build").read_text(encoding="utf-8")))
    assert listed == {path.name for path in API.glob("*.yaml")}


def test_every_page_of_the_manual_has_its_links(product):
    pages = emit_manual.pages(product)
    for name, text in pages.items():
        anchors = {re.sub(r"^#+ ", "", line).lower() for line in text.splitlines() if line.startswith("#")}
        for link in re.findall(r"\]\(([^)]+)\)", text):
            made = set(pages) | {"operations.md", "run-policies.md"}  # by src/controllers/operation
            assert link[1:] in anchors if link.startswith("#") else link in made, f"{name}: {link}"


def test_check_follows_paths_through_any(product):
    assert check.split_path(".a.b[C/d.e].f") == ["a", "b", "[C/d.e]", "f"]
    assert check.split_path(".a..b") is None


# --- the capability matrix

OPERATIONS = """
facts:
  Reflink: it shares blocks -- Tried.
operations:
  create: pool -- Make a disk.
  clone: pool disk -- Copy a disk.
"""
POOL = """
pool: Shelf
available: true
since: "0.1"
lock: none
doc: A shelf.
facts:
  - It is made of wood.
operations:
  create: yes
  clone:
    - no NoBlocks unless Reflink -- Wood.
    - yes
"""
REASONS = "reasons:\n  NoBlocks: No blocks. -- Take others.\n  PoolTypeNotYet: Not yet. -- Wait.\n"


def build_matrix(folder, pool=POOL, operations=OPERATIONS):
    for name, text in (("pool_operations", operations), ("pool_shelf", pool), ("reasons", REASONS)):
        (folder / f"{name}.yaml").write_text(text)
    return generate.build(sorted(folder.glob("*.yaml"))).matrix


def test_a_matrix_is_read(tmp_path):
    matrix = build_matrix(tmp_path)
    assert [rule.code for rule in matrix.pools[0].rules["clone"]] == ["NoBlocks", ""]
    assert "no [NoBlocks](reasons.md) unless it shares blocks; else yes" in pools.page(matrix)
    assert "- `clone`: Wood." in pools.page(matrix)


@pytest.mark.parametrize("old,new,words", [
    ("  create: yes\n", "", "create is not answered"),
    ("create: yes", "create: yes\n  fly: yes", "no operation fly"),
    ("create: yes", "create: perhaps", "cannot read 'perhaps'"),
    ("create: yes", "create: no Wheels", "no reason Wheels"),
    ("create: yes", "create: later", "name what is missing"),
    ("create: yes", "create: yes when Wet", "no fact Wet"),
    ("create: yes", "create: yes when Reflink", "the last rule holds always"),
    ("    - yes", "    - yes\n    - yes", "never reached"),
    ("available: true", "available: false", "answers 'later'"),
    ("lock: none\n", "", "compulsory"),
])
def test_a_wrong_matrix_is_refused(tmp_path, old, new, words):
    assert old in POOL
    with pytest.raises(pools.PoolError, match=words):
        build_matrix(tmp_path, POOL.replace(old, new, 1))


def test_the_pages_of_the_product_have_the_matrix(product):
    page = emit_manual.pages(product)["capabilities.md"]
    assert "[MachineSnapshotNotOnRbd](reasons.md)" in page
    assert all(f"### {name}" in page for name in ("Directory", "LVM", "LVMThin", "NFS", "ISCSI", "GlusterFS", "RBD", "DRBD"))
