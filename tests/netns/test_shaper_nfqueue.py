"""The NFQUEUE form on one existing interface."""

from __future__ import annotations

import signal
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.links.settings import Impairments
from tests.netns.shaper_lab import ADDRESS_A, ADDRESS_B, Ends, ends, report, run, shaper, wait_until
from tests.support.intervals import binomial_interval

pytestmark = pytest.mark.netns

PACKETS = 5_000


@pytest.fixture(scope="module")
def lab() -> Iterator[Ends]:
    with ends(middle=False) as made:
        mangle = ["ip", "netns", "exec", made.b, "iptables", "-w", "-t", "mangle"]
        rule = [*mangle, "-A", "PREROUTING", "-i", "lo", "-m", "comment", "--comment", "try", "-j", "NFQUEUE"]
        tried = subprocess.run(rule, capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            pytest.skip(f"iptables has no NFQUEUE target with comments here: {tried.stderr.strip()}")
        run(*mangle, "-F", "PREROUTING")
        yield made


def rules(lab: Ends) -> list[str]:
    """Return the rules in b's mangle PREROUTING."""
    listing = run("ip", "netns", "exec", lab.b, "iptables", "-w", "-t", "mangle", "-S", "PREROUTING")
    return [line for line in listing.splitlines() if line.startswith("-A")]


def test_what_arrives_is_delayed(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "nfqueue", {"impairments": {"delay": "10ms"}}):
        server = lab.traffic(lab.b, "serve-echo", "7001")
        try:
            times = report(lab.traffic(lab.a, "echo", ADDRESS_B, "7001", "30"))["times"]
        finally:
            server.kill()
            server.communicate()
    assert min(times) >= 10_000_000
    assert statistics.median(times) < 25_000_000


def test_loss_is_the_asked_share(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "nfqueue", {"impairments": {"loss": "10%"}}) as running:
        got, _ = lab.measure(
            ["serve-count", "7002", "200"], ["count", ADDRESS_B, "7002", str(PACKETS), "200"]
        )
        counters = running.client.counters().counters["inbound"]
    low, high = binomial_interval(PACKETS, 0.10, confidence=0.999)
    assert low <= PACKETS - got["received"] <= high
    assert counters["lost"] == PACKETS - got["received"]
    assert got["damaged"] == got["overtaken"] == 0


def test_duplicates_and_damage_reach_the_application(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "nfqueue", {"impairments": {"loss": "1%"}}) as running:
        # Changed under way: from now on whole packets must come up from the kernel.
        running.client.set("inbound", Impairments.parse({"duplicate": "10%", "corrupt": "10%"}))
        got, _ = lab.measure(
            ["serve-count", "7003", "1000"], ["count", ADDRESS_B, "7003", str(PACKETS), "1000"]
        )
        inbound = running.client.counters().counters["inbound"]
    low, high = binomial_interval(PACKETS, 0.10, confidence=0.999)
    assert low <= inbound["duplicated"] <= high
    headers = inbound["sent"] + inbound["duplicated"] - got["received"]
    assert 0 <= headers <= 0.1 * inbound["corrupted"] + 10
    assert 0.85 * inbound["corrupted"] <= got["damaged"] <= inbound["corrupted"]


def test_tcp_crosses_intact(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "nfqueue", {"impairments": {"delay": "2ms", "loss": "0.5%"}}):
        got, sent = lab.measure(["serve-tcp", "7004"], ["tcp", ADDRESS_B, "7004", "2000000"])
    assert got == sent


def test_only_the_named_protocol_is_shaped(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "nfqueue", {"impairments": {"loss": "100%"}, "protocol": "udp"}) as running:
        got, sent = lab.measure(["serve-tcp", "7005"], ["tcp", ADDRESS_B, "7005", "100000"])
        assert got == sent
        assert running.client.counters().counters["inbound"]["sent"] == 0


def test_its_rule_goes_with_it_on_sigterm(lab: Ends, tmp_path: Path) -> None:
    run("ip", "netns", "exec", lab.b, "iptables", "-w", "-t", "mangle", "-A", "PREROUTING", "-s", "192.0.2.7")
    before = rules(lab)
    with shaper(lab, tmp_path, "nfqueue", {}) as running:
        assert len(rules(lab)) == len(before) + 1
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=20) == 0
    assert rules(lab) == before
    assert not Path(running.control).exists()


def test_a_killed_shaper_cuts_nothing_and_its_rule_is_replaced(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "nfqueue", {"impairments": {"loss": "100%"}}) as running:
        running.process.kill()
        running.process.wait()
    leftover = [rule for rule in rules(lab) if "narrows-shaper:eth0" in rule]
    assert len(leftover) == 1
    got, _ = lab.measure(["serve-count", "7006", "100"], ["count", ADDRESS_B, "7006", "100", "100"])
    assert got["received"] == 100
    with shaper(lab, tmp_path, "nfqueue", {"queue": 77}) as running:
        present = [rule for rule in rules(lab) if "narrows-shaper:eth0" in rule]
        assert len(present) == 1
        assert "--queue-num 77" in present[0]
        running.client.stop()
        assert running.process.wait(timeout=20) == 0
    assert not [rule for rule in rules(lab) if "narrows-shaper:eth0" in rule]


def test_ends_when_its_interface_is_gone(lab: Ends, tmp_path: Path) -> None:
    with ends(middle=False) as other, shaper(other, tmp_path, "nfqueue", {}) as running:
        run("ip", "-n", other.b, "link", "del", "eth0")
        wait_until(lambda: running.process.poll() is not None)
        assert running.process.returncode == 0
        assert running.process.stderr is not None
        assert "eth0 is gone" in running.process.stderr.read()
        assert rules(other) == []
    assert lab != other


def test_what_leaves_is_untouched(lab: Ends, tmp_path: Path) -> None:
    with shaper(lab, tmp_path, "nfqueue", {"impairments": {"loss": "100%"}, "protocol": "udp"}):
        server = lab.traffic(lab.a, "serve-count", "7008", "100")
        lab.traffic(lab.b, "count", ADDRESS_A, "7008", "200", "100").communicate()
        assert report(server)["received"] == 200
