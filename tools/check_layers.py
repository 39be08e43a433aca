#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The order of the folders of src/ is the order of permission: say which include breaks it."""
import re
import sys

from source import LAYERS, ROOT, c_files

# Which folder alone may include a foreign header (prefix of the include).
OWNERS = {"libvirt/": {"virt"}, "llhttp": {"http"}, "openssl/ssl": {"http"}, "wslay/": {"http"}, "curl/": {"http"}, "sqlite3": {"store"},
          "systemd/sd-event": {"loop"}, "nftables/": {"agent"}, "yaml.h": {"json"}, "libxml/": {"virt"}}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def faults():
    for path in c_files("src"):
        folder = path.relative_to(ROOT / "src").parts[0]
        rank = LAYERS.index(folder) if folder in LAYERS else -1
        if rank < 0:
            yield f"{path.relative_to(ROOT)}: folder {folder} is not in the list of layers"
            continue
        test = path.name.endswith("_test.c")
        text = path.read_text()
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            target = match.group(2)
            where = f"{path.relative_to(ROOT)}:{line}"
            first = target.split("/")[0]
            if match.group(1) == '"' and first in LAYERS and LAYERS.index(first) > rank:
                yield f"{where}: {folder} includes {target}, which stands above it"
            for prefix, owners in OWNERS.items():
                if target.startswith(prefix) and folder not in owners and not test:
                    yield f"{where}: only {' '.join(sorted(owners))} may include <{target}>"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) or "layers: in order")
    sys.exit(1 if found else 0)
