# SPDX-License-Identifier: Apache-2.0
"""What a cloud of one host does from its first machine to its end."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
from shared_cloud import cloud, host_options, tell_logs  # noqa: E402, F401
