# SPDX-License-Identifier: Apache-2.0
"""What the tests ask inside the guest of the demo's first machine."""
import struct

VM = "first-vm"


def ssh(cloud, *command):
    address = cloud.vm(VM)["status"]["ipAddress"]
    return cloud.run("ssh", "-i", cloud.demo / "guest/id_ed25519", "-o", f"UserKnownHostsFile={cloud.folder}/known_hosts", "-o",
                     "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", f"demo@{address}", *command).stdout


def condition(thing, kind):
    return next((c for c in thing.get("status", {}).get("conditions", []) if c["type"] == kind), {})


def both(number):
    return struct.pack("<I", number) + struct.pack(">I", number)


def disc(words):
    """The smallest volume that is one: a primary descriptor with a name, the end, an empty directory."""
    primary = bytearray(2048)
    primary[0:7] = b"\1CD001\1"
    primary[40:72] = words.encode().ljust(32)
    primary[80:88] = both(40)
    primary[128:132] = struct.pack("<H", 2048) + struct.pack(">H", 2048)
    primary[156:190] = bytes([34, 0]) + both(20) + both(2048) + bytes(7) + b"\2" + bytes(6) + bytes([1, 0])
    end = bytearray(2048)
    end[0:7] = b"\xffCD001\1"
    return (bytes(16 * 2048) + bytes(primary) + bytes(end)).ljust(40 * 2048, b"\0")
