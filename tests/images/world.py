# SPDX-License-Identifier: Apache-2.0
"""Two network name spaces with a cable between them: in one the gateway, in the other one servers at addresses of every kind, and the
name server that both ask. Whatever connects to a trap is noted."""
import ctypes
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

import pytest

GATEWAY, GATEWAY6 = "8.8.4.1", "2600:1::1"
MIRROR, MIRROR6 = "8.8.4.2", "2600:1::2"
PRIVATE, METADATA = "10.9.9.9", "169.254.169.254"
SIDE_DOORS = ["192.168.7.7", "100.100.100.200", "168.63.129.16", PRIVATE, METADATA]
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def within(namespace, work):
    """Run @work in a thread that has entered a name space: what sockets it makes stay there."""
    result = []

    def run():
        with open(namespace) as file:
            if LIBC.setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        result.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result[0]


class Space:
    """A network name space (and one of mounts), held by a process."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "--net", "--mount", "--", "sh", "-c", "echo; exec sleep 86400"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.process.stdout.readline()
        self.net = f"/proc/{self.process.pid}/ns/net"
        self.run("ip", "link", "set", "lo", "up")

    def argv(self, *argv):
        return ["nsenter", "-t", str(self.process.pid), "-n", "-m", "--", *[str(a) for a in argv]]

    def run(self, *argv):
        subprocess.run(self.argv(*argv), check=True, stdin=subprocess.DEVNULL)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Names(threading.Thread):
    """A name server: what a name means now, one answer after the other; the last one stays."""

    def __init__(self, namespace):
        super().__init__(daemon=True)
        self.table, self.asked = {}, []
        self.socket = within(namespace, self.bind)

    def bind(self):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", 53))
        return made

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        name = ".".join(labels).lower()
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        found = []
        if family == socket.AF_INET and name in self.table:
            answers = self.table[name]
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            self.asked.append((name, found))
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(a) for a in found)
        code = 0 if name in self.table else 3
        return query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0) + query[12:at + 5] + records

    def run(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
            except OSError:
                return
            self.socket.sendto(self.answer(query), peer)


class Listener:
    """Hands every connection to @serve on a thread of its own."""

    def __init__(self, namespace, address, port, serve, tls=None):
        self.serve, self.tls, self.address = serve, tls, address
        self.socket = within(namespace, lambda: socket.create_server((address, port), backlog=64,
                                                                     family=socket.AF_INET6 if ":" in address else socket.AF_INET))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.take, args=(connection,), daemon=True).start()

    def take(self, connection):
        connection.settimeout(30)
        try:
            with connection:
                if self.tls:
                    with self.tls.wrap_socket(connection, server_side=True) as wrapped:
                        self.serve(wrapped)
                else:
                    self.serve(connection)
        except (OSError, ssl.SSLError, EOFError):
            pass

    def end(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def read_head(connection):
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        if not piece:
            raise EOFError
        text += piece
    first, *lines = text.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return first.split()[1], {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}


class Mirror:
    """What stands at each path: bytes, or a function of the connection and the request's headers that does as it likes."""

    def __init__(self):
        self.files, self.asked = {}, []

    def clear(self):
        self.files, self.asked = {}, []

    def serve(self, connection):
        path, headers = read_head(connection)
        self.asked.append((path, headers))
        what = self.files.get(path.split("?")[0])
        if callable(what):
            what(connection, headers)
        elif what is None:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(what)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + what)

    def count(self, path):
        return sum(1 for asked, _ in self.asked if asked.split("?")[0] == path)


class Trap:
    """Nothing may ever come here."""

    def __init__(self):
        self.caught = []

    def serve(self, connection):
        try:
            path, headers = read_head(connection)
        except (OSError, EOFError):
            path, headers = "?", {}
        self.caught.append((connection.getsockname(), path, headers))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nsecret\n")


class Certificates:
    """An authority, and certificates of it and of nobody."""

    def __init__(self, folder):
        self.folder = folder
        self.authority("ca", "Test CA")
        self.issue("good", "mirror.test")
        self.issue("wrong", "elsewhere.test")
        self.issue("old", "mirror.test", "-not_before", "20200101000000Z", "-not_after", "20200102000000Z")
        self.authority("self", "mirror.test", "-addext", "subjectAltName=DNS:mirror.test")
        self.ca = (folder / "ca.pem").read_text()

    def openssl(self, *argv):
        subprocess.run(["openssl", *[str(a) for a in argv]], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, cwd=self.folder)

    def authority(self, name, subject, *more):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                     f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *more)

    def issue(self, name, host, *dates):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}", "-keyout",
                     f"{name}.key", "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\n")
        if dates:  # "openssl x509" of this version has no dates
            conf = ("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
                    "unique_subject=no\nrand_serial=yes\n[p]\ncommonName=supplied\n")
            (self.folder / "ca.conf").write_text(conf)
            (self.folder / "index").write_text("")
            self.openssl("ca", "-batch", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", f"{name}.csr", "-out",
                         f"{name}.pem", "-extfile", f"{name}.ext", "-startdate", dates[1], "-enddate", dates[3], "-notext")
        else:
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                         "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def context(self, name):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return made


class World:
    def __enter__(self):
        if os.geteuid() or subprocess.run(["unshare", "--net", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no name spaces here")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gabbro-images."))
        self.inside, self.outside = Space(), Space()
        self.listeners = []
        try:
            self.connect()
            self.names = Names(self.outside.net)
            self.names.table.update({"mirror.test": [[MIRROR]], "inside.test": [[PRIVATE]], "meta.test": [[METADATA]],
                                     "loop.test": [["127.0.0.1"]], "both.test": [[PRIVATE, "127.0.0.1"]]})
            self.names.start()
            self.certificates = Certificates(self.folder)
            self.mirror, self.trap = Mirror(), Trap()
            self.listen(self.outside, MIRROR, 80, self.mirror)
            self.listen(self.outside, MIRROR6, 80, self.mirror)
            for name, port in (("good", 443), ("wrong", 444), ("old", 445), ("self", 446)):
                self.listen(self.outside, MIRROR, port, self.mirror, self.certificates.context(name))
            for address in SIDE_DOORS:
                self.listen(self.outside, address, 80, self.trap)
            self.listen(self.inside, "0.0.0.0", 8080, self.trap)
            self.listen(self.inside, "::1", 8080, self.trap)
            self.listen(self.inside, GATEWAY6, 8080, self.trap)
        except BaseException:
            self.__exit__()
            raise
        return self

    def listen(self, space, address, port, server, tls=None):
        self.listeners.append(Listener(space.net, address, port, server.serve, tls))

    def connect(self):
        inside, outside = self.inside, self.outside
        outside.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(inside.process.pid))
        for space, address, address6 in ((inside, GATEWAY, GATEWAY6), (outside, MIRROR, MIRROR6)):
            space.run("ip", "addr", "add", f"{address}/24", "dev", "cable")
            space.run("ip", "-6", "addr", "add", f"{address6}/64", "dev", "cable", "nodad")
            space.run("ip", "link", "set", "cable", "up")
        for address in SIDE_DOORS:
            outside.run("ip", "addr", "add", f"{address}/32", "dev", "cable")
        inside.run("ip", "route", "add", "default", "via", MIRROR)
        (self.folder / "resolv.conf").write_text(f"nameserver {MIRROR}\noptions timeout:2 attempts:1\n")
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        for name in ("resolv.conf", "hosts"):
            inside.run("mount", "--bind", self.folder / name, f"/etc/{name}")

    def __exit__(self, *_):
        for listener in self.listeners:
            listener.end()
        if hasattr(self, "names"):
            self.names.socket.close()
        self.inside.end()
        self.outside.end()
        shutil.rmtree(self.folder, ignore_errors=True)
