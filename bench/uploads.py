# SPDX-License-Identifier: Apache-2.0
"""Uploads beside cp, sha256sum and nginx's DAV PUT of the same file on the same disk, in one run: `bench/run.py --only upload`.

Debian's package of nginx is unpacked under build/peers, never installed. Said of the comparison: the gateway hashes what comes, syncs it
and judges it before it answers; nginx does none of these; both speak TLS on loopback to curl. The aim is the slowest of the three
things that an upload has to wait for: the hash, the disk (cp and fdatasync), and bytes that come through TLS (nginx).
"""
import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import statistics
import subprocess
import time

import peers

FILE_BYTES = 512 << 20
CHUNK_BYTES = 1 << 20
VI = "/apis/gabbro.dev/v1/namespaces/default/virtualimages"
peers.PACKAGES["nginx"] = ["nginx", "nginx-common"]

NGINX = """
daemon off; worker_processes 1; error_log {folder}/error.log; pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
    access_log off; client_max_body_size 0; keepalive_requests 100000; client_body_buffer_size 256k;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
        root {folder}/root; location / {{ dav_methods PUT; }}
    }}
}}
"""


class Nginx:
    def __init__(self, folder, package):
        for name in ("root", "body", "t"):
            (folder / name).mkdir(parents=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out",
                        folder / "cert.pem"], check=True, capture_output=True)
        self.port = free_port()
        (folder / "nginx.conf").write_text("user root;\n" + NGINX.format(folder=folder, port=self.port))
        self.folder = folder
        self.process = subprocess.Popen([package / "usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf"], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def put(self, file):
        seconds = curl("-T", file, f"https://127.0.0.1:{self.port}/{file.name}")
        (self.folder / "root" / file.name).unlink()
        return seconds

    def pieces(self, file, chunk):
        """As Uploads.pieces(), each piece a file of its own, not synced and not hashed: what waiting for each answer costs the client."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=ssl._create_unverified_context())
        connection.connect()
        begun = time.monotonic()
        with open(file, "rb") as source:
            for at in range(0, file.stat().st_size, chunk):
                connection.putrequest("PUT", f"/{file.name}-{at}")
                connection.putheader("Content-Length", str(min(chunk, file.stat().st_size - at)))
                connection.endheaders()
                for _ in range(0, min(chunk, file.stat().st_size - at), CHUNK_BYTES):
                    connection.send(source.read(CHUNK_BYTES))
                answer = connection.getresponse()
                answer.read()
                if answer.status // 100 != 2:
                    raise SystemExit(f"bench: nginx: {answer.status}")
        seconds = time.monotonic() - begun
        connection.close()
        for path in (self.folder / "root").iterdir():
            path.unlink()
        return seconds

    def end(self):
        self.process.terminate()
        self.process.wait()


def free_port():
    import socket
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


def curl(*words):
    """Seconds of the transfer, its answer included."""
    done = subprocess.run(["curl", "-skf", "--retry", "3", "--retry-connrefused", "-o", "/dev/null", "-w", "%{time_total}", "-H", "Expect:", *words], check=False,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"bench: curl {words}: {done.returncode}")
    return float(done.stdout)


class Uploads:
    def __init__(self, gateway):
        text = (gateway.data / "admin.kubeconfig").read_text()
        self.port = int(gateway.port.group(1))
        self.token = re.search(r"token: (\S+)", text).group(1)
        self.tls = ssl.create_default_context(cadata=base64.b64decode(re.search(r"authority-data: (\S+)", text).group(1)).decode())
        self.made = 0

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.tls)

    def ask(self, method, path, body=None, **headers):
        connection = self.connect()
        connection.request(method, path, body, {name.replace("_", "-"): str(value) for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise SystemExit(f"bench: {method} {path}: {answer.status} {text[:300]}")
        return answer, text

    def image(self):
        self.made += 1
        name = f"image-{self.made}"
        self.ask("POST", VI, json.dumps({"metadata": {"name": name}, "spec": {"dataSource": {"type": "Upload"}}}), Authorization=f"Bearer {self.token}",
                 Content_Type="application/json")
        return f"{VI}/{name}"

    def remove(self, path):
        """The image goes, and its file."""
        self.ask("DELETE", path, Authorization=f"Bearer {self.token}")
        time.sleep(0.5)

    def begin(self, path, size):
        url = json.loads(self.ask("GET", f"{path}/upload?size={size}", Authorization=f"Bearer {self.token}")[1])["path"]
        return self.ask("POST", url, Tus_Resumable="1.0.0", Upload_Length=size)[0].headers["Location"]

    def put(self, file):
        path = self.image()
        seconds = curl("-T", file, "-H", f"Authorization: Bearer {self.token}", f"https://127.0.0.1:{self.port}{path}/upload")
        self.remove(path)
        return seconds

    def patch(self, file):
        """All in one request."""
        path = self.image()
        place = self.begin(path, file.stat().st_size)
        seconds = curl("-X", "PATCH", "-T", file, "-H", "Tus-Resumable: 1.0.0", "-H", "Upload-Offset: 0", "-H", "Content-Type: application/offset+octet-stream",
                       f"https://127.0.0.1:{self.port}{place}")
        self.remove(path)
        return seconds

    def pieces(self, file, chunk):
        """By one client that waits for each answer, in pieces of @chunk."""
        path, size = self.image(), file.stat().st_size
        place, connection = self.begin(path, size), self.connect()
        connection.connect()
        begun = time.monotonic()
        with open(file, "rb") as source:
            for at in range(0, size, chunk):
                connection.putrequest("PATCH", place)
                for name, value in (("Tus-Resumable", "1.0.0"), ("Upload-Offset", at), ("Content-Type", "application/offset+octet-stream"),
                                    ("Content-Length", min(chunk, size - at))):
                    connection.putheader(name, str(value))
                connection.endheaders()
                for _ in range(0, min(chunk, size - at), CHUNK_BYTES):
                    connection.send(source.read(CHUNK_BYTES))
                answer = connection.getresponse()
                answer.read()
                if answer.status != 204:
                    raise SystemExit(f"bench: PATCH at {at}: {answer.status}")
        seconds = time.monotonic() - begun
        connection.close()
        self.remove(path)
        return seconds


def copy(file, target):
    begun = time.monotonic()
    subprocess.run(["dd", f"if={file}", f"of={target}", "bs=1M", "conv=fdatasync", "status=none"], check=True)
    seconds = time.monotonic() - begun
    target.unlink()
    return seconds


def hash_of(file):
    begun = time.monotonic()
    subprocess.run(["sha256sum", file], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def make_file(path):
    """A raw image whose bytes do not repeat."""
    block = hashlib.shake_256(b"image").digest(1 << 20)
    with open(path, "wb") as file:
        for n in range(FILE_BYTES >> 20):
            file.write(n.to_bytes(8, "big") + block[8:])
        file.flush()
        os.fsync(file.fileno())


def bench_uploads(show, gateway, folder, build, rounds):
    package = peers.unpacked(build, "nginx")
    if not package:
        raise SystemExit("bench: Debian's nginx cannot be had")
    file = folder / "image.raw"
    make_file(file)
    nginx, uploads = Nginx(folder / "nginx", package), Uploads(gateway)
    ways = {"cp": lambda: copy(file, folder / "copy.raw"), "sha256": lambda: hash_of(file), "nginx": lambda: nginx.put(file),
            "put": lambda: uploads.put(file), "patch": lambda: uploads.patch(file), "whole": lambda: uploads.pieces(file, FILE_BYTES),
            "pieces": lambda: uploads.pieces(file, CHUNK_BYTES), "nginx whole": lambda: nginx.pieces(file, FILE_BYTES),
            "nginx pieces": lambda: nginx.pieces(file, CHUNK_BYTES)}
    seconds = {name: [] for name in ways}
    try:
        for _ in range(rounds):
            for name, run in ways.items():
                seconds[name].append(run())
    finally:
        nginx.end()
        shutil.rmtree(folder / "nginx")
    rate = {name: FILE_BYTES / (1 << 20) / statistics.median(times) for name, times in seconds.items()}
    slowest = min(("cp", "sha256", "nginx"), key=rate.get)
    show("copy of the file, synced", rate["cp"], "MiB/s")
    show("sha256sum of it", rate["sha256"], "MiB/s")
    show("nginx DAV PUT over TLS, not synced, no hash", rate["nginx"], "MiB/s")
    show("cp, then sha256sum", 1 / (1 / rate["cp"] + 1 / rate["sha256"]), "MiB/s")
    show(f"upload by PUT, beside {slowest}", rate["put"], "MiB/s", rate[slowest], "ratio >= 0.9")
    show(f"upload by tus in one request, beside {slowest}", rate["patch"], "MiB/s", rate[slowest], "ratio >= 0.9")
    show("upload by tus in pieces of 1 MiB, cost beside one", rate["whole"] / rate["pieces"], "times",
         rate["nginx whole"] / rate["nginx pieces"], "<= 1.15")
