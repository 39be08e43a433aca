# SPDX-License-Identifier: Apache-2.0
"""What somebody does on the host behind Gabbro's back is seen, told in words, put right where a guest cannot notice it, and never looped.

GABBRO_LONG=1 adds what is only seen in turn."""
import os
import pathlib
import re
import time

import pytest

from cloud import Daemon
from fleet import agent_log, fleet, libvirtd, print_rows, seen
from reliability import attack

LONG = os.environ.get("GABBRO_LONG") == "1"


@pytest.fixture(scope="module")
def machines(cloud):
    with fleet(cloud, **{"on": "AlwaysOn", "hand": "Manual", "keep": "AlwaysOnUnlessStoppedManually"}) as made:
        yield made
    print_rows()


def test_A4_attack_32_destroyed_domain_is_started_again_with_words(machines, cloud):
    on, hand, keep = machines["on"], machines["hand"], machines["keep"]
    before = {m.name: m.epoch() for m in machines.values()}
    for machine in machines.values():
        cloud.virsh("destroy", machine.domain())
    seconds = on.runs_again(before["on"] + 1)
    keep.runs_again(before["keep"] + 1)
    hand.until("stopped", lambda m: m.phase() == "Stopped", 20)
    words = on.events("DomainDestroyedOutside")
    assert any("somebody cut it off on host" in w for w in words), words
    said = hand.condition()
    assert said["reason"] == "DomainDestroyedOutside" and "run policy Manual leaves it off" in said["message"], said
    assert hand.events("DomainDestroyedOutside")
    assert hand.epoch() == before["hand"], "a machine of policy Manual was started"
    seen("domain destroyed by virsh", "AlwaysOn machine runs", seconds, "started again with the next epoch; event DomainDestroyedOutside")
    seen("domain destroyed by virsh", "Manual machine runs", None, "stays off; condition and event DomainDestroyedOutside say why")


def test_A4_destroyed_again_and_again_is_backed_off(machines, cloud):
    on = machines["on"]
    before = on.epoch()
    cloud.virsh("destroy", on.domain())
    seconds = on.until("back-off", lambda m: m.condition().get("reason") == "BackOff", 20)
    said = on.condition()
    assert on.phase() == "Pending" and "is started again at" in said["message"] and "DomainDestroyedOutside" in said["message"]
    time.sleep(3)  # nothing may happen now, and nothing tells when nothing happened
    assert on.epoch() == before and on.pid() is None
    on.runs_again(before + 1, 30)
    seen("domain destroyed again and again", "AlwaysOn machine runs", seconds, "each start waits longer; reason BackOff with the time of the next")


def test_A16_C47_suspended_domain_is_shown_and_not_resumed(machines, cloud):
    keep = machines["keep"]
    before, pid = keep.epoch(), keep.pid()
    cloud.virsh("suspend", keep.domain())
    seconds = keep.until("phase Pause", lambda m: m.phase() == "Pause", 20)
    said = keep.condition()
    assert said["status"] == "False" and said["reason"] == "PausedOutside" and f"virsh resume {keep.domain()}" in said["message"], said
    assert keep.events("PausedOutside")
    Daemon(cloud, "agent").again()
    cloud.eventually("the agent is back", lambda: "caught up" in agent_log(cloud), 20)
    time.sleep(1)
    assert keep.phase() == "Pause" and keep.state() == "paused", "a restart of the agent resumed it"
    cloud.virsh("resume", keep.domain())
    back = keep.until("phase Running", lambda m: m.phase() == "Running", 20)
    assert (keep.epoch(), keep.pid()) == (before, pid)
    seen("domain suspended by virsh", "machine runs", seconds, "phase Pause, reason PausedOutside; goes on when it is resumed, or is restarted")
    print(f"resumed by virsh: Running after {back:.1f} s")


def test_C47_suspended_machine_is_stopped_gracefully(machines, cloud):
    keep = machines["keep"]
    cloud.eventually("its guest listens", lambda: keep.vm()["status"].get("guestOSInfo"), 90)
    cloud.virsh("suspend", keep.domain())
    keep.until("phase Pause", lambda m: m.phase() == "Pause", 20)
    cloud.gabbro("stop", keep.name, "--wait", "--timeout", "60", timeout=90)
    assert cloud.virsh("domstate", "--reason", keep.domain()).strip() == "shut off (shutdown)", "the guest was not asked"


def test_C46_undefined_while_stopped_is_defined_again_the_same(machines, cloud):
    keep = machines["keep"]
    before = definition(keep)
    epoch = keep.epoch()
    cloud.virsh("undefine", keep.domain())
    seconds = keep.until("defined", lambda m: m.uuid() in cloud.virsh("list", "--all", "--uuid"), 60)
    assert definition(keep) == before, "another definition: UUID or hardware differ"
    keep.until("event", lambda m: m.events("DomainUndefinedOutside"), 20)
    assert keep.phase() == "Stopped" and keep.epoch() == epoch
    assert pathlib.Path(machine_volume(keep)["status"]["path"]).exists(), "undefine deletes no storage"
    seen("domain undefined by virsh", "machine is off", seconds, "defined again with the same UUID and hardware, disks stay; event DomainUndefinedOutside")


def definition(machine):
    """As libvirt has it, but for the generation of the order in our metadata and its white space."""
    text = machine.cloud.virsh("dumpxml", "--inactive", machine.uuid())
    return re.sub(r"\s+", " ", re.sub(r' generation="\d+"', "", text))


def machine_volume(machine):
    return machine.cloud.get("volumes.host.gabbro.dev", "-l", f"gabbro.dev/owner-name={machine.name}-root")["items"][0]


def test_A4_started_by_hand_is_stopped_again(machines, cloud):
    keep = machines["keep"]
    epoch = keep.epoch()
    cloud.virsh("start", keep.domain())
    seconds = keep.until("event", lambda m: m.events("DomainStartedOutside"), 20)
    keep.until("off", lambda m: m.state() == "shut off" and m.phase() == "Stopped", 60)
    assert keep.epoch() == epoch
    seen("domain started by virsh", "machine is off", seconds, "asked to shut down again; event DomainStartedOutside")


def test_A4_undefined_while_running_stays_persistent(machines, cloud):
    on = machines["on"]
    pid, epoch, before = on.pid(), on.epoch(), definition(on)
    cloud.virsh("undefine", on.domain())
    seconds = on.until("persistent", lambda m: "yes" in re.search(r"Persistent:\s+(\w+)", cloud.virsh("dominfo", m.domain())).group(1), 20)
    on.until("event", lambda m: m.events("DomainUndefinedOutside"), 20)
    assert (on.pid(), on.epoch(), on.phase()) == (pid, epoch, "Running")
    assert definition(on) == before
    seen("domain undefined by virsh", "machine runs", seconds, "defined again as it runs, the guest notices nothing; event DomainUndefinedOutside")


def test_A4_edited_definition_is_told_and_put_right(machines, cloud):
    on = machines["on"]
    before, pid = cloud.virsh("dumpxml", "--inactive", on.uuid()), on.pid()
    path = cloud.folder / "edited.xml"
    path.write_text(before.replace("98304</memory>", "262144</memory>").replace("98304</currentMemory>", "262144</currentMemory>"))
    assert path.read_text() != before
    cloud.virsh("define", path)
    seconds = on.until("event", lambda m: m.events("DefinitionChangedOutside"), 20)
    words = on.events("DefinitionChangedOutside")
    assert len(words) == 1 and "memory is 256 MiB instead of 96 MiB" in words[0], words
    assert cloud.virsh("dumpxml", "--inactive", on.uuid()) == before
    assert on.pid() == pid and on.condition("ConfigurationApplied")["status"] == "True"
    seen("definition edited by virsh", "machine runs", seconds, "put right at once; event DefinitionChangedOutside names the difference")


def test_A4_changed_running_domain_is_told_until_its_restart(machines, cloud):
    on = machines["on"]
    added = cloud.folder / "added.raw"
    cloud.run("truncate", "-s", "1M", added)
    cloud.virsh("attach-disk", on.domain(), added, "vdx", "--live", "--subdriver", "raw")
    seconds = on.until("condition", lambda m: m.condition("ConfigurationApplied").get("reason") == "DomainChangedOutside", 30)
    said = on.condition("ConfigurationApplied")
    assert said["status"] == "False" and f"disk vdx ({added}) was added" in said["message"] and "a restart puts it right" in said["message"], said
    assert len(on.events("DomainChangedOutside")) == 1 and on.phase() == "Running"
    cloud.gabbro("restart", "on", "--wait", "--timeout", "60", timeout=90)
    on.until("as ordered", lambda m: m.condition("ConfigurationApplied")["status"] == "True", 20)
    assert str(added) not in cloud.virsh("dumpxml", on.uuid())
    seen("disk plugged in by virsh", "machine runs", seconds, "ConfigurationApplied is False, reason DomainChangedOutside; a restart puts it right")


def test_attack_32_rules_of_a_tap_are_flushed(machines, cloud):
    tap = machines["on"].intent("ports")["spec"]["tapName"]
    cloud.run("nft", "flush", "ruleset")
    begin = time.monotonic()
    cloud.eventually("rules", lambda: tap in cloud.run("nft", "list", "ruleset").stdout, 10)
    seconds = time.monotonic() - begin
    seen("all nftables rules flushed", "machine runs", seconds, "all rules are back, the agent logs it")
    attack(32, "every rule of the host's packet filter is flushed", "all are back within seconds")


if LONG:
    def test_attack_32_a_pool_is_removed(machines, cloud):
        pool = machine_volume(machines["on"])["spec"]["pool"]["name"]
        cloud.virsh("pool-destroy", pool)
        cloud.virsh("pool-undefine", pool)
        begin = time.monotonic()
        cloud.eventually("the pool", lambda: pool in cloud.virsh("pool-list", "--name"), 60)
        seen("storage pool removed from libvirt", "machines run", time.monotonic() - begin, "made again; disks stay Ready")
        assert cloud.get("vd", "on-root")["status"]["phase"] == "Ready"


def test_a_grown_volume_is_accepted(machines, cloud):
    volume = machine_volume(machines["keep"])
    cloud.run("qemu-img", "resize", "-q", volume["status"]["path"], "300M")
    begin = time.monotonic()
    cloud.eventually("new size", lambda: machine_volume(machines["keep"])["status"]["capacityBytes"] == 300 << 20, 60)
    cloud.eventually("new size of the disk", lambda: cloud.get("vd", "keep-root")["status"]["capacity"] == "300Mi", 20)
    seen("volume grown by qemu-img", "machine is off", time.monotonic() - begin, "accepted; the disk shows the new capacity")


def test_attack_32_a_removed_volume_is_never_made_again_empty(machines, cloud):
    keep, on = machines["keep"], machines["on"]
    path, aside = pathlib.Path(machine_volume(keep)["status"]["path"]), cloud.folder / "aside"
    running = pathlib.Path(machine_volume(on)["status"]["path"])
    path.rename(aside)
    kept = cloud.folder / "kept"
    cloud.run("ln", running, kept)
    running.unlink()
    begin = time.monotonic()
    cloud.eventually("phase PVCLost", lambda: cloud.get("vd", "keep-root")["status"]["phase"] == "PVCLost", 60)
    seconds = time.monotonic() - begin
    said = {c["type"]: c for c in cloud.get("vd", "keep-root")["status"]["conditions"]}["Ready"]
    assert said["reason"] == "VolumeMissing" and "no longer in pool" in said["message"] and "put the file back" in said["message"]
    cloud.eventually("phase PVCLost", lambda: cloud.get("vd", "on-root")["status"]["phase"] == "PVCLost", 60)
    on.until("condition", lambda m: m.condition("BlockDevicesReady")["status"] == "False", 20)
    assert on.phase() == "Running" and "on-root" in on.condition("BlockDevicesReady")["message"]
    result = cloud.gabbro("start", "keep", "--wait", "--timeout", "3", check=False)
    assert result.returncode != 0
    said = keep.condition()
    assert "no longer in pool" in said["message"] or "put the file back" in said["message"], said
    assert not path.exists() and not running.exists(), "an empty volume was made"
    aside.rename(path)
    cloud.run("ln", kept, running)
    kept.unlink()
    keep.until("runs", lambda m: m.phase() == "Running", 90)
    cloud.eventually("Ready again", lambda: cloud.get("vd", "on-root")["status"]["phase"] == "Ready", 60)
    seen("file of a volume removed", "machine runs or starts", seconds, "disk PVCLost, reason VolumeMissing; never made anew; Ready when the file is back")


def test_I1_a_foreign_domain_with_our_name_is_not_touched(machines, cloud):
    hand = machines["hand"]
    name, uuid = hand.domain(), hand.uuid()
    assert hand.phase() == "Stopped"
    foreign = cloud.folder / "foreign.xml"
    foreign.write_text(f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>")
    agent = Daemon(cloud, "agent")
    agent.end()
    cloud.virsh("undefine", uuid)
    cloud.virsh("define", foreign)
    cloud.virsh("start", name)
    agent.begin()
    seconds = hand.until("condition", lambda m: m.condition()["reason"] == "DomainNameTaken", 60)
    said = hand.condition()
    assert name in said["message"] and "exists with the UUID" in said["message"], said
    cloud.gabbro("start", "hand", "--wait", "--timeout", "4", check=False, timeout=60)
    said = hand.condition()
    assert said["reason"] == "DomainNameTaken" and said["status"] == "False", said
    attempts = agent_log(cloud).count("reason=DomainNameTaken")
    assert cloud.virsh("domstate", name).strip() == "running" and cloud.virsh("domuuid", name).strip() != uuid
    assert attempts <= 10, f"{attempts} attempts in a few seconds"
    cloud.virsh("destroy", name)
    cloud.virsh("undefine", name)
    hand.until("runs", lambda m: m.phase() == "Running" and m.state() == "running", 90)
    seen("foreign domain with the name of a machine", "machine starts", seconds, "the foreign one is not touched; reason DomainNameTaken, tried again with growing pauses")
    print(f"{attempts} attempts")


def test_decision_13_hung_libvirtd_is_told_and_left(machines, cloud):
    on = machines["on"]
    agent = Daemon(cloud, "agent")

    def threads():
        return len(cloud.run("ls", f"/proc/{agent.pid()}/task").stdout.split())

    def ready():
        return next(c for c in cloud.get("nodes")["items"][0]["status"]["conditions"] if c["type"] == "Ready")

    before, epoch, pid = threads(), on.epoch(), on.pid()
    libvirtd(cloud, "freeze")
    try:
        begin = time.monotonic()
        cloud.eventually("node not ready", lambda: ready()["status"] == "False", 60)
        seconds = time.monotonic() - begin
        assert ready()["reason"] == "LibvirtUnreachable" and ready()["message"], ready()
        on.until("words", lambda m: m.condition()["reason"] == "LibvirtUnreachable", 20)
        assert on.phase() == "Running" and on.condition()["status"] == "Unknown" and cloud.get("vd", "on-root")["status"]["phase"] == "Ready"
        time.sleep(10)
        during = threads()
    finally:
        libvirtd(cloud, "thaw")
    begin = time.monotonic()
    cloud.eventually("node ready", lambda: ready()["status"] == "True", 60)
    back = time.monotonic() - begin
    on.until("runs", lambda m: m.condition()["status"] == "True", 20)
    assert (on.epoch(), on.pid()) == (epoch, pid)
    assert during <= before + 12, f"{before} threads before, {during} after 10 s of a hung libvirtd"
    cloud.eventually("threads have ended", lambda: threads() <= before + 2, 60)
    cloud.virsh("destroy", on.domain())
    on.runs_again(epoch + 1, 60)
    seen("libvirtd hangs", "machines run", seconds, "Node Ready is False, reason LibvirtUnreachable; guests go on; taken up again when it answers")
    print(f"{during - before:+d} threads while it hung; ready again after {back:.1f} s")
