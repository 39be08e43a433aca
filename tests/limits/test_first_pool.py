# SPDX-License-Identifier: Apache-2.0
"""What a new installation calls its first storage pool and its first network, and where they lie."""
import subprocess

import pytest
from front import GATEWAY, Gateway
from test_api_attacks import send

NAME, PATH = "GABBRO_STORAGE_POOL_NAME", "GABBRO_STORAGE_POOL_PATH"


@pytest.mark.parametrize("words,env,name,path", [
    ([], {}, "default", "/var/lib/gabbro/pools/local"),
    ([], {"GABBRO_BASE_DIR": "/srv/gabbro"}, "default", "/srv/gabbro/pools/local"),
    ([], {"GABBRO_BASE_DIR": "/srv/gabbro", NAME: "fast", PATH: "/srv/machines"}, "fast", "/srv/machines"),
    (["--pool-name", "slow", "--pool-path", "/srv/slow"], {NAME: "fast", PATH: "/srv/machines"}, "slow", "/srv/slow"),
], ids=["defaults", "base", "environment", "options"])
def test_C17_C18_C19_C20_the_first_pool_has_the_name_and_folder_that_were_given(tmp_path, words, env, name, path):
    gateway = Gateway(tmp_path, words=words, **env)
    try:
        pools = send(gateway, "GET", "/apis/gabbro.dev/v1/storagepools")[1]["items"]
        assert [(p["metadata"]["name"], p["spec"]["path"], p["spec"]["type"]) for p in pools] == [(name, path, "Directory")]
        assert pools[0]["metadata"]["annotations"]["storagepool.gabbro.dev/is-default"] == "true"
    finally:
        gateway.end()


@pytest.mark.parametrize("words,env,name,cidr", [
    ([], {}, "default", "10.66.10.0/24"),
    ([], {"GABBRO_NETWORK_NAME": "lan", "GABBRO_NETWORK_CIDR": "10.9.0.0/16"}, "lan", "10.9.0.0/16"),
    (["--network-name", "own", "--network-cidr", "192.168.7.0/24"], {"GABBRO_NETWORK_NAME": "lan"}, "own", "192.168.7.0/24"),
], ids=["defaults", "environment", "options"])
def test_C22_the_first_network_has_the_name_and_range_that_were_given(tmp_path, words, env, name, cidr):
    gateway = Gateway(tmp_path, words=words, **env)
    try:
        networks = send(gateway, "GET", "/apis/gabbro.dev/v1/networks")[1]["items"]
        assert [(n["metadata"]["name"], n["spec"]["cidr"], n["spec"]["default"]) for n in networks] == [(name, cidr, True)]
    finally:
        gateway.end()


@pytest.mark.parametrize("option,value", [("--pool-name", "../x"), ("--pool-path", "pools"), ("--network-name", "A b"),
                                          ("--network-cidr", "10.0.0.1/24"), ("--network-cidr", "10.0.0.0/31"),
                                          ("--network-cidr", "fd00::/64")])
def test_C18_C19_C22_what_cannot_be_one_is_refused_at_once(tmp_path, option, value):
    done = subprocess.run([GATEWAY, "--data-dir", tmp_path / "data", option, value], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and option in done.stderr and not (tmp_path / "data").exists()
