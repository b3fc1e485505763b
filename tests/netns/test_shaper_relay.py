"""The AF_PACKET relay between real namespaces."""

from __future__ import annotations

import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.links.settings import Impairments
from node.shaper.client import ShaperControlError
from tests.netns.shaper_lab import ADDRESS_B, OFFLOADS_OFF, Ends, ends, report, run, shaper, wait_until
from tests.support.intervals import binomial_interval

pytestmark = pytest.mark.netns

PACKETS = 5_000
RELAY: dict[str, object] = {"interfaces": ["to-a", "to-b"]}


@pytest.fixture(scope="module")
def lab() -> Iterator[Ends]:
    with ends(middle=True) as made:
        yield made


def test_round_trip_takes_at_least_the_delay_of_both_ways(lab: Ends, tmp_path: Path) -> None:
    configuration = {**RELAY, "forward": {"delay": "10ms"}, "reverse": {"delay": "20ms"}}
    with shaper(lab, tmp_path, "relay", configuration):
        server = lab.traffic(lab.b, "serve-echo", "7001")
        try:
            times = report(lab.traffic(lab.a, "echo", ADDRESS_B, "7001", "30"))["times"]
        finally:
            server.kill()
            server.communicate()
    assert min(times) >= 30_000_000
    # Generous: the machine may be busy, and a relay that sleeps in whole ms would still stay below it.
    assert statistics.median(times) < 45_000_000


def test_loss_is_the_asked_share(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "relay", {**RELAY, "forward": {"loss": "10%"}}) as running:
        got, _ = lab.measure(
            ["serve-count", "7002", "200"], ["count", ADDRESS_B, "7002", str(PACKETS), "200"]
        )
        forward = running.client.counters().counters["forward"]
    low, high = binomial_interval(PACKETS, 0.10, confidence=0.999)
    assert low <= PACKETS - got["received"] <= high
    assert got["damaged"] == got["overtaken"] == 0
    # ARP crosses the relay too, so it counts a few more.
    assert forward["lost"] - (PACKETS - got["received"]) in range(10)
    assert forward["oversized"] == forward["unsendable"] == forward["refused"] == 0


def test_duplicates_and_damage_reach_the_application(lab: Ends, tmp_path: Path) -> None:
    configuration = {**RELAY, "forward": {"duplicate": "10%", "corrupt": "10%"}}
    with shaper(lab, tmp_path, "relay", configuration) as running:
        got, _ = lab.measure(
            ["serve-count", "7003", "1000"], ["count", ADDRESS_B, "7003", str(PACKETS), "1000"]
        )
        forward = running.client.counters().counters["forward"]
    low, high = binomial_interval(PACKETS, 0.10, confidence=0.999)
    assert low <= forward["duplicated"] <= high
    # A flipped bit in a header (42 of 1,042 bytes) loses the packet, in the number it changes the number.
    headers = forward["sent"] + forward["duplicated"] - got["received"]
    assert 0 <= headers <= 0.1 * forward["corrupted"] + 10
    assert 0.85 * forward["corrupted"] <= got["damaged"] <= forward["corrupted"]


def test_reordering_overtakes_and_jitter_does_not(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "relay", {**RELAY, "forward": {"delay": "5ms", "jitter": "4ms"}}) as running:
        jittered, _ = lab.measure(["serve-count", "7004", "100"], ["count", ADDRESS_B, "7004", "2000", "100"])
        got = running.client.set("forward", Impairments.parse({"delay": "5ms", "reorder": "10%"}))
        assert got.to_mapping() == {"delay": "5ms", "reorder": "10%"}
        reordered, _ = lab.measure(
            ["serve-count", "7005", "100"], ["count", ADDRESS_B, "7005", "2000", "100"]
        )
    assert jittered["overtaken"] == 0
    assert jittered["received"] == reordered["received"] == 2000
    assert reordered["overtaken"] > 20


def test_tcp_crosses_intact(lab: Ends, tmp_path: Path) -> None:
    configuration = {**RELAY, "forward": {"delay": "2ms", "loss": "0.5%"}, "reverse": {"delay": "2ms"}}
    with shaper(lab, tmp_path, "relay", configuration):
        got, sent = lab.measure(["serve-tcp", "7006"], ["tcp", ADDRESS_B, "7006", "2000000"])
    assert got == sent


def test_rate_holds_over_a_burst(lab: Ends, tmp_path: Path) -> None:
    """200 datagrams of 958 B are 1.6 Mbit on the link: a second and a half at 1 Mbit/s, and none is lost."""
    configuration = {**RELAY, "forward": {"rate": "1Mbit", "queue": "1000p"}}
    with shaper(lab, tmp_path, "relay", configuration) as running:
        got, _ = lab.measure(["serve-count", "7007", "958"], ["count", ADDRESS_B, "7007", "200", "958"])
        assert got["received"] == 200
        assert running.client.counters().counters["forward"]["overflowed"] == 0


def test_offloads_left_on_are_reported_loudly(lab: Ends, tmp_path: Path) -> None:
    offloads = ["tx", "on", "gso", "on", "tx-udp-segmentation", "on"]
    run("ip", "netns", "exec", lab.a, "ethtool", "-K", "eth0", *offloads)
    try:
        with shaper(lab, tmp_path, "relay", {**RELAY}) as running:
            for _ in range(3):
                report(lab.traffic(lab.a, "burst", ADDRESS_B, "7008", "20", "1000"))
            wait_until(lambda: len(running.client.counters().warnings) == 2)
            found = running.client.counters()
        assert found.counters["forward"]["oversized"] >= 1
        assert any("offload hands over whole bursts" in warning for warning in found.warnings)
        assert any("without checksum" in warning for warning in found.warnings)
    finally:
        run("ip", "netns", "exec", lab.a, "ethtool", "-K", "eth0", *OFFLOADS_OFF)


def test_refuses_what_it_does_not_know_and_goes_on(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "relay", {**RELAY}) as running:
        with pytest.raises(ShaperControlError, match="use one of forward, reverse"):
            running.client.set("sideways", Impairments())
        assert running.client.counters().impairments == {"forward": Impairments(), "reverse": Impairments()}


def test_ends_cleanly_on_sigterm_and_on_stop(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "relay", {**RELAY}) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=20) == 0
        assert not Path(running.control).exists()
    with shaper(lab, tmp_path, "relay", {**RELAY}) as running:
        running.client.stop()
        assert running.process.wait(timeout=20) == 0


def test_ends_when_an_interface_is_gone(tmp_path: Path) -> None:
    with ends(middle=True) as lab, shaper(lab, tmp_path, "relay", {**RELAY}) as running:
        run("ip", "-n", lab.middle, "link", "del", "to-b")
        assert running.process.wait(timeout=20) == 0
        assert running.process.stderr is not None
        assert "is gone" in running.process.stderr.read()


def test_survives_an_interface_that_goes_down_and_up(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "relay", {**RELAY}):
        run("ip", "-n", lab.middle, "link", "set", "to-b", "down")
        run("ip", "-n", lab.middle, "link", "set", "to-b", "up")
        got, _ = lab.measure(["serve-count", "7009", "100"], ["count", ADDRESS_B, "7009", "500", "100"])
    assert got["received"] >= 400


def test_says_which_interface_is_missing(lab: Ends, tmp_path: Path) -> None:
    file = tmp_path / "shaper.json"
    file.write_text(f'{{"interfaces": ["to-a", "nowhere"], "control": "{tmp_path}/s.sock"}}')
    process = lab.python(lab.middle, "-m", "node.shaper", "relay", "--config", str(file))
    _, err = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "interface nowhere: No such device" in err


def test_dies_with_the_process_that_started_it(lab: Ends, tmp_path: Path) -> None:
    control = tmp_path / "s.sock"
    file = tmp_path / "shaper.json"
    file.write_text(f'{{"interfaces": ["to-a", "to-b"], "control": "{control}"}}')
    starter = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'node.shaper', 'relay', "
        f"'--die-with-parent', '--config', {str(file)!r}], stdout=subprocess.PIPE, text=True); "
        "print(p.stdout.readline().strip(), p.pid, flush=True); p.wait()"
    )
    parent = lab.python(lab.middle, "-c", starter)
    assert parent.stdout is not None
    word, pid = parent.stdout.readline().split()
    assert word == "ready"
    parent.kill()
    parent.communicate()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert not control.exists()


def test_a_relay_that_was_not_scheduled_counts_how_late_it_was(lab: Ends, tmp_path: Path) -> None:
    """It waits twice: with a frame held too long, and with one fetched too late."""
    half_a_second = {**RELAY, "forward": {"delay": "500ms"}}
    with shaper(lab, tmp_path, "relay", half_a_second) as running:
        sender = ["burst", ADDRESS_B, "7009", "1", "1000"]
        # The first frame that comes through shows that addresses are resolved; then nothing is held.
        lab.measure(["serve-count", "7009", "1000"], ["count", ADDRESS_B, "7009", "1", "1000"])
        before = running.client.counters().counters["forward"]
        report(lab.traffic(lab.a, *sender))
        wait_until(lambda: running.client.counters().counters["forward"]["sent"] > before["sent"])
        with halted(running.process):
            time.sleep(0.6)
        wait_until(lambda: running.client.counters().counters["forward"]["late"] > before["late"])
        held = running.client.counters().counters["forward"]
        with halted(running.process):
            report(lab.traffic(lab.a, *sender))
            time.sleep(0.1)
        wait_until(lambda: running.client.counters().counters["forward"]["late"] > held["late"])
        fetched = running.client.counters().counters["forward"]
    assert held["late_us"] - before["late_us"] >= 5_000
    assert fetched["late_us"] - held["late_us"] >= 95_000
    assert fetched["looks"] > held["looks"] > before["looks"]


@contextmanager
def halted(process: subprocess.Popen[str]) -> Iterator[None]:
    """Keep a process from running meanwhile."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
