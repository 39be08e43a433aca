# SPDX-License-Identifier: Apache-2.0
"""Weights of processors under control groups of version 2."""
import json
import os
import pathlib
import re

import own_kernel

HERE = pathlib.Path(__file__).resolve().parent


def test_D26_shares_of_a_core_under_control_groups_of_version_2(kernel):
    """Two busy machines of 20 % and 80 % share one core so, and the small one takes all of it alone. Where libvirt
    cannot weigh, machines start nevertheless, and the node says it (D26)."""
    env = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("GABBRO_")]
    done = own_kernel.run(kernel, ["env", *env, "/usr/bin/python3", HERE / "weights.py"], memory="3G", timeout=560)
    print(done.output[-20000:], done.console[-2000:])
    assert done.returncode == 0
    told = json.loads(re.search(r"^\{.*\}$", done.output.replace("\r", ""), re.M).group(0))
    small, large = told["both"]
    assert 3.9 < told["weights"][1] / told["weights"][0] < 4.1, told
    assert 2.8 <= large / small <= 5.5, told
    assert told["alone"] > 2 * small, told
    assert told["kept"] == "CPUWeightsKept" and told["lost"] == ["CPUWeightsUnavailable", 1], told
