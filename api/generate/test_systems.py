# SPDX-License-Identifier: Apache-2.0
"""The table of operating systems from a small database."""
import pytest

import systems

BASE = """<libosinfo><os id="a"><short-id>one1</short-id><short-id>onefirst</short-id><name>One 1</name><family>linux</family>
<devices><device id="http://pcisig.com/pci/1af4/1001"/><device id="http://pcisig.com/pci/1af4/1041"/></devices>
<resources arch="i686"><minimum><ram>1048576</ram></minimum></resources>
<resources arch="x86_64"><minimum><n-cpus>2</n-cpus><ram>536870912</ram><storage>1073741824</storage></minimum></resources></os></libosinfo>"""
CHILD = """<libosinfo><os id="b"><short-id>one2</short-id><name>One 2</name><family>linux</family><derives-from id="a"/>
<resources arch="all" inherit="true"/></os></libosinfo>"""
WINDOWS = """<libosinfo><os id="w"><short-id>w{v}</short-id><name>W {v}</name><family>{family}</family><version>{v}</version>
<firmware type="bios" arch="x86_64" supported="{bios}"/>
<devices><device id="http://pcisig.com/pci/1af4/1001"/><device id="http://pcisig.com/pci/1af4/1000" supported="false"/></devices></os></libosinfo>"""
LOOP = '<libosinfo><os id="l"><short-id>loop</short-id><name>L</name><derives-from id="l"/><clones id="gone"/></os></libosinfo>'


@pytest.fixture
def table(tmp_path):
    def make(newer=None, **files):
        (tmp_path / "os").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "os" / f"{name}.xml").write_text(text)
        return systems.rows(tmp_path, newer or {})
    return make


def test_what_a_system_derives_from_counts_and_every_name_is_a_row(table):
    rows = table(base=BASE, child=CHILD)
    assert list(rows) == ["one1", "one2", "onefirst"]
    assert rows["one1"] == {"name": "One 1", "type": "Generic", "virtio": True, "bios": True, "cores": 2, "memory": 512, "disk": 1024}
    assert rows["one2"] == rows["one1"] | {"name": "One 2"}


@pytest.mark.parametrize(("version", "family", "bios", "kind"), [("11.0", "winnt", "false", "Windows"), ("6.0", "winnt", "true", "Windows"),
                                                                ("5.1", "winnt", "true", "Legacy"), ("6.22", "msdos", "true", "Legacy")])
def test_windows_is_known_by_its_family_and_version(table, version, family, bios, kind):
    row = table(w=WINDOWS.format(v=version, family=family, bios=bios))[f"w{version}"]
    assert (row["type"], row["bios"], row["virtio"]) == (kind, bios == "true", False), "virtio for disks alone is not enough"


def test_a_newer_system_is_like_an_older_one_until_the_database_has_it(table):
    newer = {"one2": {"name": "Other", "like": "one1"}, "one3": {"name": "One 3", "like": "one2", "memory": 7}}
    rows = table(newer, base=BASE, child=CHILD)
    assert rows["one2"]["name"] == "One 2" and rows["one3"] == rows["one2"] | {"name": "One 3", "memory": 7}


def test_what_cannot_be_a_table_is_refused(table, tmp_path):
    with pytest.raises(systems.SystemsError, match="no systems"):
        systems.rows(tmp_path / "nothing", {})
    with pytest.raises(systems.SystemsError, match="there is no two"):
        table({"one3": {"name": "x", "like": "two"}}, base=BASE)
    assert table(loop=LOOP)["loop"]["virtio"] is False
