#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client of VNC (RFB 3.8, RFC 6143) that goes as far as the door: `rfb.py ADDRESS PORT`, a password on standard input.

Prints the security types that are offered and what came of it: "2 accepted 640x480" or "2 refused WORDS". Ends with 0 either way.
"""
import socket
import struct
import subprocess
import sys

NONE, VNC = 1, 2


def exactly(peer, n):
    data = b""
    while len(data) < n:
        more = peer.recv(n - len(data))
        if not more:
            raise EOFError(f"the server went away after {data!r}")
        data += more
    return data


def answer(challenge, password):
    """DES of the challenge; the key's bits stand the other way round. Three equal keys make triple DES a single one."""
    key = bytes(int(f"{b:08b}"[::-1], 2) for b in password.encode()[:8].ljust(8, b"\0"))
    return subprocess.run(["openssl", "enc", "-e", "-des-ede3", "-K", (key * 3).hex(), "-nopad"], input=challenge, stdout=subprocess.PIPE,
                          check=True).stdout


def words(peer):
    return exactly(peer, struct.unpack(">I", exactly(peer, 4))[0]).decode()


def knock(address, port, password):
    with socket.create_connection((address, port), timeout=60) as peer:
        peer.settimeout(60)
        assert exactly(peer, 12) == b"RFB 003.008\n"
        peer.sendall(b"RFB 003.008\n")
        types = exactly(peer, exactly(peer, 1)[0])
        offered = ",".join(map(str, types))
        kind = VNC if VNC in types else types[0]
        peer.sendall(bytes([kind]))
        if kind == VNC:
            peer.sendall(answer(exactly(peer, 16), password))
        if struct.unpack(">I", exactly(peer, 4))[0]:
            return f"{offered} refused {words(peer)}"
        peer.sendall(b"\1")  # others may stay
        width, height = struct.unpack(">HH", exactly(peer, 4))
        exactly(peer, 16)  # the format of pixels
        words(peer)  # its name
        return f"{offered} accepted {width}x{height}"


if __name__ == "__main__":
    print(knock(sys.argv[1], int(sys.argv[2]), sys.stdin.readline().rstrip("\n")))
