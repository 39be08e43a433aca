# SPDX-License-Identifier: Apache-2.0
"""A small file system that a test may fill: a tmpfs in a mount namespace of its own, held by a process."""
import contextlib
import ctypes
import os
import pathlib
import subprocess

import pytest

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 16384, 1 << 18


class SmallDisk:
    def __init__(self, mount, size_mib):
        self.mount = mount
        mount.mkdir()

        def alone():
            libc = ctypes.CDLL(None, use_errno=True)
            for r in (libc.unshare(CLONE_NEWNS), libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None),
                      libc.mount(b"tmpfs", str(mount).encode(), b"tmpfs", 0, b"size=%dm,mode=0700" % size_mib)):
                if r:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

        try:
            self.holder = subprocess.Popen(["cat"], stdin=subprocess.PIPE, preexec_fn=alone)
        except subprocess.SubprocessError as error:
            pytest.skip(f"no mount namespace: {error}")
        self.prefix = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--"]  # of a command that is to see it
        self.outside = pathlib.Path(f"/proc/{self.holder.pid}/root{mount}")  # where everybody sees it
        self.ballast = self.outside / "ballast"

    def leave(self, free_bytes):
        """Take all space but so much away."""
        now = os.statvfs(self.outside)
        with open(self.ballast, "ab") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), file.tell(), max(now.f_bavail * now.f_frsize - free_bytes, 1))

    def give_back(self):
        self.ballast.unlink()

    def end(self):
        self.holder.stdin.close()
        self.holder.wait()
