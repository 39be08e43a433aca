# SPDX-License-Identifier: Apache-2.0
"""Machines of all files at once: they boot while the first files work, and a file borrows those that it names in CREW."""
import contextlib
import json

from fleet import Machine, gone, manifest

KEPT = ("cpu", "disruptions", "memory", "runPolicy", "terminationGracePeriodSeconds")  # what borrowers may change


class Crew:
    """@modules: test modules in their order; a machine is gone when the last that names it has given it back."""

    def __init__(self, cloud, modules):
        self.cloud, self.modules = cloud, modules
        self.specs = {}
        policies = {name: policy for module in modules for name, policy in getattr(module, "CREW", {}).items()}
        items = [item for name, policy in policies.items() for item in manifest(name, policy)]
        self.specs = {name: manifest(name, policy)[1]["spec"] for name, policy in policies.items()}
        if items:
            cloud.gabbro("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        for name, policy in policies.items():
            if policy == "Manual":
                cloud.gabbro("start", name)

    @contextlib.contextmanager
    def borrowed(self, module):
        """Machines by name, running, their guest agents heard."""
        machines = {name: Machine(self.cloud, name) for name in module.CREW}
        for name in machines:
            self.cloud.wait("vm", name, "phase=Running", 240)
            self.cloud.wait("vm", name, "condition=AgentReady", 240)
        try:
            yield machines
        finally:
            later = {name for other in self.modules[self.modules.index(module) + 1:] for name in getattr(other, "CREW", {})}
            for name in machines.keys() & later:
                spec = {key: self.specs[name].get(key) for key in KEPT}
                self.cloud.kubectl("patch", "vm", name, "--type", "merge", "-p", json.dumps({"spec": spec}))
            if machines.keys() - later:
                gone(self.cloud, *machines.keys() - later)
