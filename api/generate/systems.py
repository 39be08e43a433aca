# SPDX-License-Identifier: Apache-2.0
"""Turns the facts of libosinfo's database into a table of operating systems.

usage: systems.py [--manual FILE] OSINFO_DIR NEWER.yaml OUTPUT.c
"""

import argparse
import pathlib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

import yaml

import emit_c
from names import quote

# PCI ids of virtio, before and since version 1.0.
BLOCK = {"http://pcisig.com/pci/1af4/1001", "http://pcisig.com/pci/1af4/1042"}
NET = {"http://pcisig.com/pci/1af4/1000", "http://pcisig.com/pci/1af4/1041"}
WINDOWS_WITH_ENLIGHTENMENTS = 6.0  # Vista and Server 2008
OLD = {"win9x", "win16", "msdos"}
ARCHITECTURES = {"all", "x86_64"}


class SystemsError(Exception):
    """What cannot be a table; the text names the entry."""


@dataclass
class System:
    ids: list
    name: str
    family: str = ""
    version: str = ""
    devices: set = field(default_factory=set)  # that it brings itself
    parents: list = field(default_factory=list)
    bios: bool = True
    least: dict = field(default_factory=dict)
    inherits: bool = False


def devices(element):
    return {d.get("id") for d in element.findall("devices/device") if d.get("supported") != "false"}


def least(element):
    """Minimum cores, memory and disk of what runs on x86-64; MiB."""
    found = {}
    for resources in element.findall("resources"):
        if resources.get("arch") in ARCHITECTURES:
            for tag, key, unit in (("n-cpus", "cores", 1), ("ram", "memory", 1 << 20), ("storage", "disk", 1 << 20)):
                if value := resources.findtext(f"minimum/{tag}"):
                    found[key] = int(value) // unit
    return found


def fill(system, element):
    """One system may stand in several files."""
    system.ids += [i.text for i in element.findall("short-id") if i.text not in system.ids]
    system.name = system.name or element.findtext("name") or ""
    system.family = system.family or element.findtext("family") or ""
    system.version = system.version or element.findtext("version") or ""
    system.devices |= devices(element)
    system.parents += [p.get("id") for tag in ("derives-from", "clones") for p in element.findall(tag)]
    system.bios &= not any(f.get("type") == "bios" and f.get("supported") == "false" for f in element.findall("firmware"))
    system.inherits |= any(r.get("inherit") == "true" for r in element.findall("resources"))
    system.least |= least(element)


def read(folder):
    """URI -> System."""
    systems = {}
    for path in sorted(pathlib.Path(folder, "os").rglob("*.xml")):
        for element in ElementTree.parse(path).getroot().iter("os"):
            fill(systems.setdefault(element.get("id"), System([], "")), element)
    return systems


def inherited(systems, uri, seen=()):
    system = systems.get(uri)
    if not system or uri in seen:
        return set()
    return system.devices.union(*(inherited(systems, p, (*seen, uri)) for p in system.parents))


def least_of(systems, uri, seen=()):
    system = systems.get(uri)
    if not system or uri in seen or system.least or not system.inherits:
        return system.least if system else {}
    return next((found for p in system.parents if (found := least_of(systems, p, (*seen, uri)))), {})


def number(version):
    try:
        return float(version)
    except ValueError:
        return 0.0


def os_type(system):
    if system.family in OLD or (system.family == "winnt" and number(system.version) < WINDOWS_WITH_ENLIGHTENMENTS):
        return "Legacy"
    return "Windows" if system.family == "winnt" else "Generic"


def rows(folder, newer):
    """Short id -> (name, type, virtio, bios, cores, memory, disk)."""
    systems, table = read(folder), {}
    if not systems:
        raise SystemsError(f"{folder} has no systems; install osinfo-db")
    for uri, system in systems.items():
        known = inherited(systems, uri)
        virtio, wants = bool(known & BLOCK) and bool(known & NET), least_of(systems, uri)
        for name in system.ids:
            table[name] = {"name": system.name, "type": os_type(system), "virtio": virtio, "bios": system.bios,
                           "cores": wants.get("cores", 0), "memory": wants.get("memory", 0), "disk": wants.get("disk", 0)}
    for name, entry in newer.items():
        if name not in table:
            if entry["like"] not in table:
                raise SystemsError(f"{name}: there is no {entry['like']}")
            table[name] = table[entry["like"]] | {k: v for k, v in entry.items() if k != "like"}
    return dict(sorted(table.items()))


def emit(table):
    lines = [emit_c.HEAD, '#include "schema/systems.h"\n\n', "const struct schema_system schema_systems[] = {\n"]
    for name, row in table.items():
        kind = {"Generic": "SCHEMA_SYSTEM_GENERIC", "Windows": "SCHEMA_SYSTEM_WINDOWS", "Legacy": "SCHEMA_SYSTEM_LEGACY"}[row["type"]]
        lines.append(f"        {{{quote(name)}, {quote(row['name'])}, {kind}, {str(row['virtio']).lower()}, {str(row['bios']).lower()}, "
                     f"{row['cores']}, {row['memory']}, {row['disk']}}},\n")
    lines += ["};\n", f"const size_t schema_n_systems = {len(table)};\n"]
    return "".join(lines)


def page(table):
    lines = ["# Operating systems that `osId` knows\n\n", "Generated from osinfo-db and `api/systems/newer.yaml`.\n\n",
             "| osId | system | osType | virtio | BIOS | least cores | least memory MiB | least disk MiB |\n|---|---|---|---|---|---|---|---|\n"]
    for name, row in table.items():
        cells = [f"`{name}`", row["name"], row["type"], "yes" if row["virtio"] else "no", "yes" if row["bios"] else "no",
                 *(row[k] or "" for k in ("cores", "memory", "disk"))]
        lines.append("| " + " | ".join(map(str, cells)) + " |\n")
    return "".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--manual", type=pathlib.Path)
    parser.add_argument("folder")
    parser.add_argument("newer", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    table = rows(options.folder, yaml.safe_load(options.newer.read_text(encoding="utf-8")))
    options.output.write_text(emit(table), encoding="utf-8")
    if options.manual:
        options.manual.parent.mkdir(parents=True, exist_ok=True)
        options.manual.write_text(page(table), encoding="utf-8")


if __name__ == "__main__":
    main()
