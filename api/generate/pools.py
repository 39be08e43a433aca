# SPDX-License-Identifier: Apache-2.0
"""The capability matrix of storage: api/pool_operations.yaml says what can be asked, each api/pool_<type>.yaml answers it all."""

import re
from dataclasses import dataclass, field

from names import macro, quote

NOT_YET = "PoolTypeNotYet"
SUBJECTS = ["pool", "disk", "machine"]


class PoolError(Exception):
    """A matrix that is refused; the text names file and line."""


@dataclass
class Fact:
    name: str
    words: str
    doc: str


@dataclass
class Operation:
    name: str
    subjects: list
    doc: str


@dataclass
class Rule:
    code: str  # "" when supported
    when: list
    unless: list
    note: str


@dataclass
class Pool:
    type: str
    where: str
    doc: str = ""
    since: str = ""
    lock: str = ""
    available: bool = False
    facts: list = field(default_factory=list)
    rules: dict = field(default_factory=dict)  # operation -> [Rule]


@dataclass
class Matrix:
    facts: list = field(default_factory=list)
    operations: list = field(default_factory=list)
    pools: list = field(default_factory=list)


# --- reading


def parse_operations(data, where, matrix):
    for name, line in data.get("facts", {}).items():
        words, dashes, doc = str(line).partition(" -- ")
        if not dashes or not doc.strip():
            raise PoolError(f"{where}: fact {name} is 'words -- documentation'")
        matrix.facts.append(Fact(name, words.strip(), doc.strip()))
    for name, line in data.get("operations", {}).items():
        subjects, dashes, doc = str(line).partition(" -- ")
        if not dashes or not doc.strip() or not subjects.split() or set(subjects.split()) - set(SUBJECTS):
            raise PoolError(f"{where}: operation {name} is 'pool|disk|machine ... -- documentation'")
        matrix.operations.append(Operation(name, subjects.split(), doc.strip()))


def parse_rule(line, where):
    """'yes', 'later' or 'no CODE', then 'when FACT ...', 'unless FACT ...', '-- note'."""
    head, _, note = str(line).partition(" -- ")
    match = re.fullmatch(r"(yes|later|no ([A-Za-z0-9]+))(?: when ([A-Za-z ]+?))?(?: unless ([A-Za-z ]+))?", head.strip())
    if not match:
        raise PoolError(f"{where}: cannot read '{line}'")
    code = {"yes": "", "later": NOT_YET}.get(match.group(1), match.group(2))
    return Rule(code, (match.group(3) or "").split(), (match.group(4) or "").split(), note.strip())


def parse_pool(data, where, matrix):
    unknown = set(data) - {"pool", "doc", "since", "lock", "available", "facts", "operations"}
    if unknown:
        raise PoolError(f"{where}: unknown property {sorted(unknown)[0]}")
    pool = Pool(type=data["pool"], where=where, doc=data.get("doc", ""), since=data.get("since", ""), lock=data.get("lock", ""),
                available=data.get("available", False) is True, facts=list(data.get("facts", [])))
    for name, lines in data.get("operations", {}).items():
        lines = lines if isinstance(lines, list) else [lines]
        pool.rules[name] = [parse_rule(line, f"{where}: {name}") for line in lines]
    matrix.pools.append(pool)


# --- judging


def _check_rules(pool, name, rules, facts, codes):
    where = f"{pool.where}: {name}"
    for rule in rules:
        if rule.code and rule.code not in codes:
            raise PoolError(f"{where}: there is no reason {rule.code}")
        unknown = set(rule.when + rule.unless) - facts
        if unknown:
            raise PoolError(f"{where}: there is no fact {sorted(unknown)[0]}")
        if not pool.available and not rule.code:
            raise PoolError(f"{where}: a type that is not available answers 'later'")
        if pool.available and rule.code == NOT_YET:
            raise PoolError(f"{where}: the type is available; name what is missing")
    if rules[-1].when or rules[-1].unless:
        raise PoolError(f"{where}: the last rule holds always")
    if any(not (rule.when or rule.unless) for rule in rules[:-1]):
        raise PoolError(f"{where}: a rule behind one that holds always is never reached")


def check(matrix, reasons):
    facts = {fact.name for fact in matrix.facts}
    names = {operation.name for operation in matrix.operations}
    codes = {reason.code for reason in reasons}
    types = [pool.type for pool in matrix.pools]
    if len(matrix.facts) > 31:
        raise PoolError("pool_operations.yaml: more facts than bits")
    for pool in matrix.pools:
        if types.count(pool.type) > 1:
            raise PoolError(f"{pool.where}: type {pool.type} stands twice")
        if not (pool.doc and pool.since and pool.lock):
            raise PoolError(f"{pool.where}: doc, since and lock are compulsory")
        for name in names - set(pool.rules):
            raise PoolError(f"{pool.where}: {name} is not answered")
        for name, rules in pool.rules.items():
            if name not in names:
                raise PoolError(f"{pool.where}: there is no operation {name}")
            _check_rules(pool, name, rules, facts, codes)
    matrix.pools.sort(key=lambda p: (not p.available, p.type))


# --- C


def emit_h(matrix, head):
    out = [head, "#pragma once\n", "/* Facts on which answers of the capability matrix hang. */", "enum capability_fact {"]
    out += [f"        CAPABILITY_{macro(fact.name)} = 1 << {bit}, /* {fact.words} */" for bit, fact in enumerate(matrix.facts)]
    out += ["        CAPABILITY_NO_FACT = 0,", "};\n", "/* What can be asked of storage. */", "enum capability_operation {"]
    out += [f"        CAPABILITY_{macro(operation.name)}," for operation in matrix.operations]
    out += ["        CAPABILITY_OPERATIONS,", "};\n"]
    return "\n".join(out)


def _mask(names):
    return " | ".join(f"CAPABILITY_{macro(name)}" for name in names) or "0"


def _text(text):
    return quote(text) if text else "NULL"


def emit_c(matrix, head):
    out = [head, '#include "schema/capability.h"\n', '#include "generated/reasons.h"\n', "#include <stddef.h>\n"]
    for number, pool in enumerate(matrix.pools):
        for operation in matrix.operations:
            rules = [f"        {{{_mask(rule.when)}, {_mask(rule.unless)}, "
                     f"{'REASON_' + macro(rule.code) if rule.code else 'NULL'}, {_text(rule.note)}}}," for rule in pool.rules[operation.name]]
            out += [f"static const struct capability_rule rules_{number}_{operation.name}[] = {{"] + rules + ["};"]
        out += [f"static const struct capability_rule *const rules_{number}[] = {{"]
        out += [f"        rules_{number}_{operation.name}," for operation in matrix.operations] + ["        NULL,\n};"]
        out += [f"static const char *const facts_{number}[] = {{"] + [f"        {quote(fact)}," for fact in pool.facts] + ["        NULL,\n};\n"]
    out.append("const struct capability_pool capability_pools[] = {")
    for number, pool in enumerate(matrix.pools):
        out.append(f"        {{{quote(pool.type)}, {quote(pool.doc)}, {quote(pool.since)}, {quote(pool.lock)}, "
                   f"{'true' if pool.available else 'false'}, facts_{number}, rules_{number}}},")
    out.append("        {NULL, NULL, NULL, NULL, false, NULL, NULL},\n};\n")
    out.append("const struct capability_words capability_operations[] = {")
    for operation in matrix.operations:
        subjects = " | ".join(f"CAPABILITY_OF_{subject.upper()}" for subject in operation.subjects)
        out.append(f"        {{{quote(operation.name)}, {quote(operation.doc)}, {subjects}}},")
    out.append("        {NULL, NULL, 0},\n};\n")
    out.append("const struct capability_words capability_facts[] = {")
    out += [f"        {{{quote(fact.name)}, {quote(fact.words)}, CAPABILITY_{macro(fact.name)}}}," for fact in matrix.facts]
    out.append("        {NULL, NULL, 0},\n};")
    return "\n".join(out) + "\n"


# --- manual


def _cell(rules, facts):
    words = []
    for rule in rules:
        text = "yes" if not rule.code else "not yet" if rule.code == NOT_YET else f"no [{rule.code}](reasons.md)"
        if rule.when:
            text += " when " + " and ".join(facts[name] for name in rule.when)
        if rule.unless:
            text += " unless " + " and ".join(facts[name] for name in rule.unless)
        words.append(text)
    return "; else ".join(words)


def page(matrix):
    """capabilities.md"""
    facts = {fact.name: fact.words for fact in matrix.facts}
    out = ["# What storage can, by type of the pool", "",
           "Made from `api/pool_*.yaml` by the build. The API refuses by this table, `status.capabilities` of pools, disks and machines",
           "tells what it says of each of them, and `gabbro explain capability vd/root resize` says why.", "",
           "## Types", "", "| Type | State | What keeps two hosts from writing to one disk |", "|---|---|---|"]
    out += [f"| [{pool.type}](#{pool.type.lower()}) | {'offered' if pool.available else 'not yet'} | {pool.lock} |" for pool in matrix.pools]
    out += ["", "## Operations", "", "| Operation | Asked of | Meaning |", "|---|---|---|"]
    out += [f"| `{operation.name}` | {', '.join(operation.subjects)} | {operation.doc} |" for operation in matrix.operations]
    out += ["", "## Facts", "", "| Fact | It holds when | |", "|---|---|---|"]
    out += [f"| `{fact.name}` | {fact.words} | {fact.doc} |" for fact in matrix.facts]
    out += ["", "## Matrix", "", "| Operation | " + " | ".join(pool.type for pool in matrix.pools) + " |",
            "|---|" + "---|" * len(matrix.pools)]
    for operation in matrix.operations:
        out.append(f"| `{operation.name}` | " + " | ".join(_cell(pool.rules[operation.name], facts) for pool in matrix.pools) + " |")
    for pool in matrix.pools:
        out += ["", f"### {pool.type}", "", pool.doc, ""] + [f"- {fact}" for fact in pool.facts]
        notes = [f"- `{operation.name}`: {rule.note}" for operation in matrix.operations for rule in pool.rules[operation.name] if rule.note]
        out += ([""] + notes) if notes else []
    return "\n".join(out) + "\n"
