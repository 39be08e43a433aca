# SPDX-License-Identifier: Apache-2.0
"""Files that lie about what they are: each made here, each sent by raw HTTP and by the CLI (attacks 1, 2, 3, 4, 5 and 9)."""
import hashlib
import struct
import subprocess

import pytest
from reliability import attack

MIB = 1 << 20


def qcow2(backing=b"", size=16 * MIB, incompatible=0, autoclear=0, l1=1, tables=1, snapshots=0, cluster_bits=16, extension=b"", version=3):
    """A sound header, but for what is asked: refcount table, refcount block, L1 at clusters 1 to 3."""
    cluster = 1 << 16
    at = 104 + len(extension) + 8
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, at if backing else 0, len(backing), cluster_bits, size, 0, l1, 3 * cluster,
                       cluster, tables, snapshots, cluster if snapshots else 0)
    head += struct.pack(">QQQII", incompatible, 0, autoclear, 4, 104) + extension + bytes(8) + backing
    table = struct.pack(">Q", 2 * cluster).ljust(cluster, b"\0")
    block = struct.pack(">HHHH", 1, 1, 1, 1).ljust(cluster, b"\0")
    return head.ljust(cluster, b"\0") + table + block + bytes(cluster)


def extension(kind, content):
    return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)


def vmdk(kind, *extents):
    lines = ["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", f'createType="{kind}"', *extents]
    return ("\n".join(lines) + "\n").encode()


def sparse_vmdk(kind, *extents):
    """With its descriptor inside."""
    text = vmdk(kind, *extents)
    return (struct.pack("<4sIIQQQQ", b"KDMV", 3, 0x30001, 2048, 128, 1, 20) + bytes(512))[:512] + text.ljust(20 * 512, b"\0") + bytes(4096)


def iso(*names, blocks=40, root=20, size=40 * 2048):
    """A disc with a root directory of these entries: (name, Rock Ridge link or None)."""
    def both(number, width):
        return number.to_bytes(width, "little") + number.to_bytes(width, "big")

    def record(name, link):
        rest = b""
        if link is not None:
            target = b"\x00" + bytes([len(link)]) + link
            rest = b"SL" + bytes([5 + len(target), 1, 0]) + target
        padding = b"" if len(name) % 2 else b"\0"
        body = b"\0" + both(30, 4) + both(100, 4) + bytes(7) + b"\0\0\0" + both(1, 2) + bytes([len(name)]) + name + padding + rest
        return bytes([len(body) + 1]) + body

    primary = bytearray(2048)
    primary[0:7] = b"\1CD001\1"
    primary[80:88] = both(blocks, 4)
    primary[128:132] = both(2048, 2)
    primary[156:158] = bytes([34, 0])
    primary[158:174] = both(root, 4) + both(2048, 4)
    end = bytearray(2048)
    end[0:7] = b"\xffCD001\1"
    disc = bytearray(size)
    disc[16 * 2048:18 * 2048] = primary + end
    entries = b"".join(record(n, link) for n, link in names)
    disc[root * 2048:root * 2048 + len(entries)] = entries
    return bytes(disc)


def vhd(kind, tail=True):
    footer = (b"conectix" + bytes(52) + struct.pack(">I", kind)).ljust(512, b"\0")
    return bytes(4096) + footer if tail else footer + bytes(4096)


BACKINGS = [b"/etc/shadow", b"../../../../etc/shadow", b'json:{"driver":"file","filename":"/etc/shadow"}', b"nbd://127.0.0.1:10809/x",
            b"http://169.254.169.254/", b"file:/etc/shadow", b"ssh://root@localhost/etc/shadow", b"fat:rw:/etc"]
REFUSED = {
    1: [(f"backing file {name[:12]}", lambda name=name: qcow2(backing=name), "ImageHasBackingFile", "qemu-img convert") for name in BACKINGS],
    2: [("data file", lambda: qcow2(incompatible=4, extension=extension(0x44415441, b"/etc/shadow")), "ImageHasDataFile", "qemu-img convert"),
        ("data file without its bit", lambda: qcow2(extension=extension(0x44415441, b"/etc/shadow")), "ImageHasDataFile", ""),
        ("raw external data", lambda: qcow2(autoclear=2), "ImageHasDataFile", ""),
        ("unknown bits", lambda: qcow2(incompatible=1 << 40), "ImageFormatRefused", "0x10000000000")],
    3: [("flat descriptor", lambda: vmdk("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0'), "ImageFormatUnknown", "monolithicFlat"),
        ("split descriptor", lambda: vmdk("twoGbMaxExtentFlat", 'RW 2048 FLAT "../x" 0'), "ImageFormatUnknown", "-f vmdk"),
        ("device descriptor", lambda: vmdk("fullDevice", 'RW 2048 FLAT "/dev/sda" 0'), "ImageFormatUnknown", "fullDevice"),
        ("sparse with a descriptor", lambda: sparse_vmdk("streamOptimized", 'RW 2048 SPARSE "x"'), "ImageFormatUnknown", "streamOptimized"),
        ("sparse with a flat descriptor", lambda: sparse_vmdk("monolithicFlat", 'RW 2048 FLAT "/etc/shadow" 0'), "ImageFormatUnknown", "-f vmdk")],
    4: [("VHD at its end", lambda: vhd(2), "ImageFormatUnknown", "VHD images (fixed)"),
        ("VHD with a parent", lambda: vhd(4, tail=False), "ImageFormatUnknown", "parent"),
        ("VDI", lambda: bytes(64) + b"\x7f\x10\xda\xbe" + bytes(8) + struct.pack("<I", 1) + bytes(4096), "ImageFormatUnknown", "VDI images (dynamic)"),
        ("VHDX", lambda: b"vhdxfile" + bytes(4096), "ImageFormatUnknown", "VHDX"),
        ("QED", lambda: b"QED\0" + bytes(12) + b"\1" + bytes(4096), "ImageFormatUnknown", "backing file"),
        ("QCOW 1", lambda: qcow2(version=1), "ImageFormatUnknown", "-f qcow "),
        ("Parallels", lambda: b"WithoutFreeSpace" + bytes(4096), "ImageFormatUnknown", "-f parallels"),
        ("DMG", lambda: bytes(4096) + b"koly".ljust(512, b"\0"), "ImageFormatUnknown", "-f dmg"),
        ("LUKS", lambda: b"LUKS\xba\xbe\0\2" + bytes(4096), "ImageEncrypted", "version 2"),
        ("qcow2 and ISO at once, with a backing file", lambda: qcow2(backing=b"/etc/shadow")[:32768] + iso()[32768:], "ImageHasBackingFile", "")],
    5: [("8 EiB in a megabyte", lambda: qcow2(size=(1 << 63) - 1) + bytes(MIB), "ImageTooLarge", ""),
        ("L1 of 2^32 - 1", lambda: qcow2(l1=0xffffffff), "ImageHeaderInvalid", "L1"),
        ("refcounts of 2^32 - 1 clusters", lambda: qcow2(tables=0xffffffff), "ImageHeaderInvalid", "refcount"),
        ("2^32 - 1 snapshots", lambda: qcow2(snapshots=0xffffffff), "ImageHeaderInvalid", "snapshots"),
        ("clusters of 2^40", lambda: qcow2(cluster_bits=40), "ImageHeaderInvalid", "cluster"),
        ("extensions without end", lambda: qcow2(extension=extension(0x11111111, b"") * 2000), "ImageHeaderInvalid", "do not end"),
        ("a disc of 8 TiB in 80 KiB", lambda: iso(blocks=0xffffffff), "ImageHeaderInvalid", "cut short")],
}
RESULTS = {
    1: ("qcow2 with a backing file by path, json:, nbd:, http:, file:, ssh: or fat:, by raw HTTP and the CLI", "refused: ImageHasBackingFile"),
    2: ("qcow2 with an external data file, with and without its bit, or unknown bits, by raw HTTP and the CLI",
        "refused: ImageHasDataFile, ImageFormatRefused"),
    3: ("VMDK descriptors, alone and inside, that name files and devices of the host, by raw HTTP and the CLI",
        "refused: ImageFormatUnknown, with the kind and what to do"),
    4: ("VHD, VHDX, VDI, QED, QCOW 1, Parallels, DMG, LUKS, and two formats at once, by raw HTTP and the CLI",
        "refused, with the format's name and what to do"),
    5: ("qcow2 and ISO with monstrous sizes, tables and counts, by raw HTTP and the CLI", "refused: ImageTooLarge, ImageHeaderInvalid"),
}


@pytest.mark.parametrize("number", REFUSED)
def test_attacks_1_to_5(gateway, tmp_path, number):
    for i, (what, make, reason, words) in enumerate(REFUSED[number]):
        content = make()
        status, answer, name = gateway.upload(content)
        assert status == 422 and answer["details"]["causes"][0]["reason"] == reason and words in str(answer), (what, answer)
        assert gateway.fate(name)[1] == reason
        path = tmp_path / f"file-{i}"
        path.write_bytes(content)
        done = gateway.gabbro("image", "upload", path, "--name", gateway.name(), "--cluster")
        assert done.returncode and reason in done.stderr and words in done.stderr, (what, done.stderr)
        gateway.nothing_left()
    attack(number, *RESULTS[number])


def test_the_same_files_from_a_server(gateway, mirror):
    rows = [row for rows in REFUSED.values() for row in rows]
    for i, (_, make, _, _) in enumerate(rows):
        mirror.files[f"/{i}"] = make()
    names = [gateway.fetch(f"http://mirror.test/{i}") for i in range(len(rows))]
    for (what, _, reason, words), name in zip(rows, names):
        fate = gateway.fate(name)
        assert fate[1] == reason and words in fate[2], (what, fate)


def test_sound_ones_are_taken(gateway):
    """So that the refusals above are about what was changed."""
    for content, kind in ((qcow2(), "qcow2"), (iso((b"A.;1", None)), "iso"), (b"\xeb\x63\x90" + bytes(4093), "raw")):
        status, answer, _ = gateway.upload(content)
        assert status == 200 and answer["status"]["ingest"]["format"] == kind, answer


def test_qemu_agrees_about_the_sound_one(tmp_path):
    path = tmp_path / "sound.qcow2"
    path.write_bytes(qcow2())
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(path)], check=True)


def test_attack_9_names_in_a_disc_are_bytes(gateway, tmp_path):
    """Nothing on the gateway or a host opens a disc's directories: it is kept and handed to the guest as it came."""
    disc = iso((b"\0", None), (b"\1", None), (b"A\nB.;1", None), (b"-RF.;1", None), (b"../../ETC/PASSWD;1", None), (b"L.;1", b"/etc/shadow"))
    digest = hashlib.sha256(disc).hexdigest()
    status, answer, name = gateway.upload(disc)
    assert status == 200 and answer["status"]["ingest"]["digest"] == digest, answer
    path = tmp_path / "disc.iso"
    path.write_bytes(disc)
    gateway.gabbro("image", "upload", path, "--name", gateway.name(), "--cluster", check=True)
    assert (gateway.data / "blobs/sha256" / digest).read_bytes() == disc
    assert gateway.image(name)["status"]["cdrom"] is True
    attack(9, "an uploaded disc with file names of line ends, options and paths, and links to the host's files", "kept and handed on byte by byte: nobody but the guest reads its directories")
