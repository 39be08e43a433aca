# SPDX-License-Identifier: Apache-2.0
"""doc/how-to/kubectl.md does what it says: its blocks are run, one after the other, in one shell's worth of state."""
import re

import pytest
from cloud import KUBECTL, ROOT

PAGE = (ROOT / "doc/how-to/kubectl.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```$", PAGE, re.M | re.S)
HEADINGS = [re.findall(r"^## (.*)$", PAGE[:PAGE.index(block)], re.M)[-1] for block in BLOCKS]


@pytest.fixture(scope="module")
def shell(cloud):
    """Runs a block where the block before it ended: same folder, same kubeconfig."""
    folder = cloud.folder / "page"
    folder.mkdir()
    (folder / "kubectl").symlink_to(KUBECTL)
    (folder / "gateway").mkdir()
    (folder / "gateway/admin.kubeconfig").write_bytes(cloud.kubeconfig.read_bytes())
    head = f'set -eu; cd {folder}; PATH={folder}:$PATH; GATEWAY={folder}/gateway; export HOME={folder} KUBECONFIG=$GATEWAY/admin.kubeconfig; set -x\n'
    yield lambda block: cloud.run("bash", "-c", head + block, timeout=300)
    cloud.kubectl("delete", "namespace", "shop", "--ignore-not-found", "--timeout=120s", timeout=150)


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{i}-{h.lower().replace(' ', '-')}" for i, h in enumerate(HEADINGS)])
def test_the_commands_of_the_page(shell, block):
    result = shell(block)
    print(result.stdout, result.stderr)


def test_what_the_page_says_about_failures_is_so(shell):
    """The last table."""
    shell("sed -i 's/^  virtualMachineClassName/  runPolicy: AlwaysOff\\n&/' web.yaml; kubectl apply -n default -f web.yaml")
    for command, words in (("kubectl rollout status vm/web", "no kind"), ("kubectl expose vm web --port=80", "no kind"), ("kubectl logs vm/web", "no kind"),
                           ("kubectl patch vm web -p {}", "UnsupportedMediaType"), ("kubectl run x --image=y", "pods show the machines"), ("kubectl scale vm web --replicas=2", "NotFound"),
                           ("kubectl get vm --as=somebody", "impersonation is not served")):
        said = shell(f"{command} 2>&1 && exit 1 || true").stdout
        assert words in said, (command, said)
    shell("kubectl delete -n default -f web.yaml --timeout=120s")
