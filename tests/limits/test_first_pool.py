# SPDX-License-Identifier: Apache-2.0
"""What a new installation calls its first storage pool, and where it lies."""
import subprocess

import pytest
from front import GATEWAY, Gateway
from test_api_attacks import send

NAME, PATH = "GABBRO_STORAGE_POOL_NAME", "GABBRO_STORAGE_POOL_PATH"


@pytest.mark.parametrize("words,env,name,path", [
    ([], {}, "default", "/var/lib/gabbro/pools/local"),
    ([], {NAME: "fast", PATH: "/srv/machines"}, "fast", "/srv/machines"),
    (["--pool-name", "slow", "--pool-path", "/srv/slow"], {NAME: "fast", PATH: "/srv/machines"}, "slow", "/srv/slow"),
], ids=["defaults", "environment", "options"])
def test_C17_C18_C19_the_first_pool_has_the_name_and_folder_that_were_given(tmp_path, words, env, name, path):
    gateway = Gateway(tmp_path, words=words, **env)
    try:
        pools = send(gateway, "GET", "/apis/gabbro.dev/v1/storagepools")[1]["items"]
        assert [(p["metadata"]["name"], p["spec"]["path"], p["spec"]["type"]) for p in pools] == [(name, path, "Directory")]
        assert pools[0]["metadata"]["annotations"]["storagepool.gabbro.dev/is-default"] == "true"
    finally:
        gateway.end()


def test_C18_a_name_that_cannot_be_one_is_refused_at_once(tmp_path):
    done = subprocess.run([GATEWAY, "--data-dir", tmp_path / "data", "--pool-name", "../x"], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "--pool-name" in done.stderr and not (tmp_path / "data").exists()
