# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' client for Node, as npm has it, against a gateway of its own: client-node/walk.mjs does the walk, here its results count.

tools/check.py installs it from package-lock.json into build/client-node and says so in GABBRO_CLIENT_NODE.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading

import pytest
from conftest import BUILD, GATEWAY

HERE = pathlib.Path(__file__).resolve().parent / "client-node"
INSTALLED = pathlib.Path(os.environ.get("GABBRO_CLIENT_NODE", BUILD / "client-node"))
NAMES = re.findall(r"^    async (\w+)\(", (HERE / "walk.mjs").read_text().split("const tests = {")[1], re.M)
NODE = os.environ.get("GABBRO_NODE", shutil.which("node") or "node")


@contextlib.contextmanager
def gateway(folder, port=0):
    """It serves."""
    argv = [GATEWAY, "--data-dir", folder / "data", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        while "serving url=" not in (line := process.stderr.readline()):
            assert line, f"the gateway did not start: {process.wait()}"
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Name of a test -> what it said. A gateway is killed and begun again when the walk asks for it."""
    if not (INSTALLED / "node_modules").exists():
        pytest.skip(f"@kubernetes/client-node is not installed in {INSTALLED}: tools/check.py does it by npm ci")
    shutil.copy(HERE / "walk.mjs", INSTALLED)
    folder = tmp_path_factory.mktemp("client-node")
    config, results = folder / "data/admin.kubeconfig", {}
    with contextlib.ExitStack() as running:
        first = running.enter_context(gateway(folder))
        port = re.search(r"server: https://127.0.0.1:(\d+)", config.read_text()).group(1)
        node = subprocess.Popen([NODE, INSTALLED / "walk.mjs", config], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=INSTALLED)
        running.callback(node.wait)
        running.callback(node.kill)
        for line in node.stdout:
            told = json.loads(line)
            if told.get("ask") == "restart":
                first.kill()
                first.wait()
                running.enter_context(gateway(folder, port))
                node.stdin.write("done\n")
                node.stdin.flush()
            else:
                results[told["name"]] = told
    return results


@pytest.mark.parametrize("name", NAMES)
def test_client_node(walk, name):
    assert name in walk, "the walk ended before it"
    assert walk[name]["ok"], walk[name]["words"]
