#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client of SPICE that goes as far as the door: `spice.py ADDRESS PORT`, a password on standard input; prints "accepted" or "refused N"."""
import socket
import struct
import subprocess
import sys
import tempfile

from rfb import exactly

MAIN, KEY_BYTES, DENIED = 1, 162, 7


def ticket(key, password):
    """RSA with OAEP, as the server's key wants it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(key)
        file.flush()
        return subprocess.run(["openssl", "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", file.name, "-pkeyopt",
                               "rsa_padding_mode:oaep"], input=password.encode() + b"\0", stdout=subprocess.PIPE, check=True).stdout


def knock(address, port, password):
    with socket.create_connection((address, port), timeout=60) as peer:
        peer.settimeout(60)
        link = struct.pack("<IBBIII", 0, MAIN, 0, 0, 0, 18)  # no capabilities: a ticket is asked for at once
        peer.sendall(struct.pack("<4sIII", b"REDQ", 2, 2, len(link)) + link)
        magic, _, _, size = struct.unpack("<4sIII", exactly(peer, 16))
        reply = exactly(peer, size)
        assert magic == b"REDQ" and struct.unpack("<I", reply[:4])[0] == 0, reply[:4]
        peer.sendall(ticket(reply[4:4 + KEY_BYTES], password))
        result = struct.unpack("<I", exactly(peer, 4))[0]
        return "accepted" if result == 0 else f"refused {result}"


if __name__ == "__main__":
    print(knock(sys.argv[1], int(sys.argv[2]), sys.stdin.readline().rstrip("\n")))
