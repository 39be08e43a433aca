# SPDX-License-Identifier: Apache-2.0
"""The page for somebody in trouble at night: what it must hold, and that what the programs name is there."""
import re

from conftest import ROOT

PAGE = (ROOT / "doc/how-to/troubleshooting.md").read_text()


def anchors(text):
    return {re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)}


def part(heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S).group(1)


def test_the_agents_install_lines_stand_there_for_each_family():
    """(D62) Debian and Red Hat, and the others; each with what starts the service."""
    lines = part("The guest agent does not answer")
    for words in ("apt-get install qemu-guest-agent && systemctl enable --now qemu-guest-agent",
                  "dnf install qemu-guest-agent && systemctl enable --now qemu-guest-agent", "apk add qemu-guest-agent && rc-update add",
                  "pkg install qemu-guest-agent && sysrc qemu_guest_agent_enable=YES", "pkg_add qemu-ga && rcctl enable qemu_ga", "qemu-ga-x86_64.msi"):
        assert words in lines, words


def test_a_guest_that_cannot_reach_the_api_is_treated():
    """(E57, E58) Firewalls that do not admit the guests' network, and a gateway that listens on loopback only, which is the default."""
    lines = part("A guest cannot reach the API")
    port = re.search(r'DEFAULT_LISTEN\s+"127\.0\.0\.1:(\d+)"', (ROOT / "src/gateway/main.c").read_text()).group(1)
    for firewall in ("ufw", "firewalld", "nftables", "pf"):
        row = next(line for line in lines.splitlines() if line.startswith(f"| {firewall}"))
        assert port in row, row
    assert f"127.0.0.1:{port}" in lines and f"--listen 0.0.0.0:{port}" in lines and "--advertise" in lines


def test_logs_of_the_first_boot_and_kept_images_are_treated():
    """(E59, E60, E61)"""
    assert "cloud-init-output.log" in part("First boot") and "firstboot.log" in part("First boot")
    assert "without\nfetching or unpacking" in part("Images are fetched once") and "`Generic`" in part("Images are fetched once")


def test_every_page_that_a_program_names_exists():
    """(D58) What a condition or a refusal says to read can be read."""
    named = {page for source in (ROOT / "src").rglob("*.c") for page in re.findall(r"doc/how-to/[\w-]+\.md", source.read_text())}
    assert "doc/how-to/troubleshooting.md" in named
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []
    readme = (ROOT / "README.md").read_text()
    assert [page for page in sorted(named) if page not in readme] == []


def test_its_links_lead_somewhere():
    """(D62) Those to other pages, and those within it."""
    links = re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", PAGE)
    assert len(links) > 12
    for file, anchor in links:
        text = (ROOT / "doc/how-to" / file).read_text() if file else PAGE
        assert not anchor or anchor in anchors(text), (file, anchor)
