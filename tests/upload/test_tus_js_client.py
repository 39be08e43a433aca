# SPDX-License-Identifier: Apache-2.0
"""tus-js-client, as npm has it and browsers use it, against a real gateway: unmodified, killed, resumed. B29, B34.

tools/check.py installs it from package-lock.json into build/tus-js-client (GABBRO_TUS_JS_CLIENT).
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from conftest import BUILD, image_bytes
from reliability import outcome

HERE = pathlib.Path(__file__).resolve().parent / "tus-js-client"
INSTALLED = pathlib.Path(os.environ.get("GABBRO_TUS_JS_CLIENT", BUILD / "tus-js-client"))
NODE = os.environ.get("GABBRO_NODE", shutil.which("node") or "node")
DATA = image_bytes(12 << 20, 4)
DIGEST = hashlib.sha256(DATA).hexdigest()

pytestmark = pytest.mark.skipif(not (INSTALLED / "node_modules").exists(),
                                reason=f"tus-js-client is not installed in {INSTALLED}: tools/check.py does it by npm ci")


class Client:
    """One run of the client; its lines as they come."""

    def __init__(self, gateway, folder, **options):
        shutil.copy(HERE / "upload.mjs", INSTALLED)
        ca = folder / "ca.pem"
        ca.write_text(gateway.ca)
        self.lines = []
        self.process = subprocess.Popen([NODE, INSTALLED / "upload.mjs", json.dumps({key: str(value) if isinstance(value, pathlib.Path) else value
                                                                                     for key, value in options.items()})],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=INSTALLED,
                                        env=dict(os.environ, NODE_EXTRA_CA_CERTS=str(ca)))

    def until(self, key, at_least=0):
        """The first line that has @key; its end when there is none."""
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            if key in self.lines[-1] and (self.lines[-1][key] is None or not at_least or self.lines[-1][key] >= at_least):
                return self.lines[-1]
        return {}

    def end(self):
        self.until("nothing")
        return self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "image.raw"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def client(gateway, tmp_path):
    made = []

    def run(server=None, **options):
        made.append(Client(server or gateway, tmp_path, **options))
        return made[-1]

    yield run
    for one in made:
        one.kill()


def slowly(wire, gateway, granted):
    """The endpoint by a way that is slow enough for somebody to die on it."""
    return granted["url"].replace(f":{gateway.port}/", f":{wire(gateway, rate=20 << 20).own_port}/")


@pytest.mark.parametrize("options", [{}, {"chunkSize": 1 << 20}, {"chunkSize": 5 << 20, "uploadDataDuringCreation": True}, {"uploadDataDuringCreation": True},
                                     {"chunkSize": 3 << 20, "overridePatchMethod": True}],
                         ids=["one-request", "1-MiB", "5-MiB-with-creation", "all-with-creation", "override"])
def test_it_uploads(gateway, image, file, client, options):
    granted = gateway.grant(image, len(DATA), sha256=DIGEST).json
    run = client(endpoint=granted["url"], file=file, **options)
    assert run.end() == 0, run.lines[-1]
    assert gateway.status(image)["ingest"]["digest"] == DIGEST
    gateway.await_phase(image, "Ready")


@pytest.mark.parametrize("chunk", [None, 1 << 20], ids=["one-request", "1-MiB"])
def test_it_is_killed_resumes_and_completes(gateway, image, file, client, wire, tmp_path, chunk):
    """B34: SIGKILL of the client, twice, and once more when it is nearly done."""
    granted = gateway.grant(image, len(DATA), sha256=DIGEST).json
    options = {"endpoint": slowly(wire, gateway, granted), "file": file, "storage": tmp_path / "urls.json", "chunkSize": chunk}
    urls = set()
    for n, part in enumerate((len(DATA) // 4, len(DATA) // 2, len(DATA) - (2 << 20))):
        run = client(**options)
        assert run.until("sent", part), run.lines
        run.kill()
        urls |= {line["url"] for line in run.lines if "url" in line}
        assert n == 0 or any("resuming" in line for line in run.lines)
    run = client(**options)
    assert run.end() == 0, run.lines[-1]
    first = next(line["sent"] for line in run.lines if "sent" in line)
    assert first > 0, "it goes on, and does not begin anew"
    assert {line["url"] for line in run.lines if "url" in line} | urls == urls and len(urls) == 1
    assert gateway.status(image)["ingest"]["digest"] == DIGEST
    gateway.await_phase(image, "Ready")
    outcome("client killed in the middle", "image: upload by tus-js-client", "the next run goes on from what came; the image is ready")


@pytest.mark.parametrize("chunk", [None, 1 << 20], ids=["one-request", "1-MiB"])
def test_the_gateway_is_killed_and_it_goes_on(fresh, file, client, wire, chunk):
    path = fresh.image("a")
    granted = fresh.grant(path, len(DATA), sha256=DIGEST).json
    run = client(fresh, endpoint=slowly(wire, fresh, granted), file=file, chunkSize=chunk)
    for part in (len(DATA) // 4, len(DATA) // 2):
        assert run.until("sent", part), run.lines
        fresh.restart()
    assert run.end() == 0, run.lines[-1]
    assert any("retry" in line for line in run.lines) and not any("error" in line for line in run.lines)
    fresh.await_phase(path, "Ready")
    assert fresh.status(path)["ingest"]["digest"] == DIGEST
    outcome("gateway killed in the middle", "image: upload by tus-js-client", "the client goes on by itself; the image is ready")


def test_it_is_told_what_is_wrong_with_the_file(gateway, image, file, client):
    granted = gateway.grant(image, len(DATA), sha256="0" * 64).json
    run = client(endpoint=granted["url"], file=file)
    assert run.end() == 1 and run.lines[-1]["status"] == 422 and DIGEST in run.lines[-1]["error"]
