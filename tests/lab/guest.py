# SPDX-License-Identifier: Apache-2.0
"""What the tests ask inside the guest of the demo's first machine."""
VM = "first-vm"


def ssh(cloud, *command):
    address = cloud.vm(VM)["status"]["ipAddress"]
    return cloud.run("ssh", "-i", cloud.demo / "guest/id_ed25519", "-o", f"UserKnownHostsFile={cloud.folder}/known_hosts", "-o",
                     "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", f"demo@{address}", *command).stdout


def condition(thing, kind):
    return next((c for c in thing.get("status", {}).get("conditions", []) if c["type"] == kind), {})
