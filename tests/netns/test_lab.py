"""Links made of real namespaces carry real packets, impaired as asked, and go without a trace."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node.links.impairments.delay import Delay
from node.links.settings import NONE, Impairments
from orchestrator.backends.base import Impairment
from orchestrator.errors import BackendError
from orchestrator.executor import Executor
from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring import namespaces
from orchestrator.wiring.lab import Lab
from tests.netns.labs import (
    LINE,
    PAIR,
    SHAPED_PAIR,
    UDP_SEGMENT,
    address,
    left_over,
    new_run_id,
    plan_of,
    udp,
)

pytestmark = pytest.mark.netns

LEFT = LinkEndpoint("left", "eth1")


@pytest.fixture
def run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    return new_run_id()


def with_lab(
    text: str,
    run_id: str,
    directory: Path,
    body: Callable[[Lab], Awaitable[None]],
    adopted: dict[str, Path] | None = None,
) -> None:
    """Build a lab, do something with it, destroy it, and find nothing left."""

    async def whole() -> None:
        lab = Lab.create(plan_of(text), run_id=run_id, directory=directory, adopted=adopted)
        try:
            await lab.build()
            await body(lab)
        finally:
            await lab.destroy()

    asyncio.run(whole())
    assert left_over(run_id) == []


def test_no_interface_has_the_index_of_its_peer(run_id: str, tmp_path: Path) -> None:
    """The kernel would follow its carrier up to a second late."""

    async def body(lab: Lab) -> None:
        nodes, links = lab.record.nodes, lab.record.links
        for place in [*(node.namespace for node in nodes), *(link.namespace for link in links)]:
            shown = Executor().run(["ip", "-j", "link", "show", "type", "veth"], namespace=Path(place)).stdout
            interfaces = json.loads(shown)
            assert interfaces
            for interface in interfaces:
                assert interface["ifindex"] != interface["link_index"], interface

    with_lab(LINE, run_id, tmp_path, body)


def exchange(lab: Lab, count: int = 3) -> None:
    """Send datagrams from left to right and back."""
    with udp(lab, "left") as left, udp(lab, "right") as right:
        for number in range(count):
            left.sendto(b"%d" % number, address(lab, "right"))
            data, source = right.recvfrom(100)
            assert (data, source) == (b"%d" % number, address(lab, "left"))
            right.sendto(data, source)
            assert left.recv(100) == data


def test_datagrams_cross_a_router(run_id: str, tmp_path: Path) -> None:
    async def body(lab: Lab) -> None:
        await asyncio.to_thread(exchange, lab)

    with_lab(LINE, run_id, tmp_path, body)


@pytest.mark.parametrize("text", [PAIR, SHAPED_PAIR], ids=["clean", "shaped"])
def test_a_burst_crosses_as_single_frames(run_id: str, tmp_path: Path, text: str) -> None:
    """A link that saw the burst as one packet would lose or delay all of it at once."""

    async def body(lab: Lab) -> None:
        await lab.start_captures()
        with udp(lab, "left") as left, udp(lab, "right") as right:
            left.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
            left.sendto(bytes(4000), address(lab, "right"))
            received = [await asyncio.to_thread(right.recv, 9000) for _ in range(40)]
        assert {len(data) for data in received} == {100}
        captured = await lab.stop_captures()
        assert captured_frames(captured["left:eth1--right:eth1"][0]) == [142] * 80, "40 come in, 40 go out"

    with_lab(text, run_id, tmp_path, body)


def captured_frames(path: Path) -> list[int]:
    """The lengths of the frames in a pcapng file (enhanced packet blocks, little-endian)."""
    data, lengths, at = path.read_bytes(), [], 0
    while at < len(data):
        kind, size = (int.from_bytes(data[at + skip : at + skip + 4], "little") for skip in (0, 4))
        if kind == 6:
            lengths.append(int.from_bytes(data[at + 24 : at + 28], "little"))
        at += size
    return lengths


def test_impairments_are_read_back_as_set(run_id: str, tmp_path: Path) -> None:
    async def body(lab: Lab) -> None:
        assert (await lab.impairments(LEFT)).to_mapping() == {
            "delay": "5ms",
            "rate": "50Mbit",
            "queue": "200p",
        }
        wanted = Impairments.parse({"delay": "7ms", "jitter": "1ms", "loss": "2%", "duplicate": "1%"})
        assert await lab.set_impairments(LEFT, wanted) == wanted
        assert await lab.impairments(LEFT) == wanted
        # The other direction keeps what it had.
        assert (await lab.impairments(LinkEndpoint("right", "eth1"))).rate == 50_000_000
        assert await lab.set_impairments(LEFT, NONE) == NONE
        await asyncio.to_thread(exchange, lab)

    with_lab(SHAPED_PAIR, run_id, tmp_path, body)


def test_a_clean_link_can_be_impaired_while_it_is_up(run_id: str, tmp_path: Path) -> None:
    async def body(lab: Lab) -> None:
        await asyncio.to_thread(exchange, lab)
        assert await lab.set_impairments(LEFT, Impairments.build(Delay(3_000_000))) == Impairments.build(
            Delay(3_000_000)
        )
        await asyncio.to_thread(exchange, lab)
        lost = Impairments.parse({"loss": "100%"})
        assert await lab.set_impairments(LEFT, lost) == lost
        with udp(lab, "left") as left, udp(lab, "right") as right:
            left.sendto(b"lost", address(lab, "right"))
            right.sendto(b"back", address(lab, "left"))
            assert await asyncio.to_thread(left.recv, 100) == b"back"
            right.settimeout(0.2)
            with pytest.raises(TimeoutError):
                right.recv(100)

    with_lab(PAIR, run_id, tmp_path, body)


def test_an_injected_frame_arrives_as_if_the_node_had_sent_it(run_id: str, tmp_path: Path) -> None:
    async def body(lab: Lab) -> None:
        frame = bytes.fromhex("ffffffffffff0242424242428888") + b"from nowhere".ljust(50, b".")
        path = lab.namespace("right")

        def listen() -> socket.socket:
            return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x8888))

        with namespaces.inside({path: listen})[path] as listener:
            listener.settimeout(20.0)
            await lab.inject(LEFT, frame)
            assert await asyncio.to_thread(listener.recv, 2000) == frame
        with pytest.raises(BackendError, match="use one of left:eth1, right:eth1"):
            await lab.inject(LinkEndpoint("left", "eth9"), frame)

    with_lab(SHAPED_PAIR, run_id, tmp_path, body)


def test_an_adopted_namespace_is_wired_and_survives(run_id: str, tmp_path: Path) -> None:
    """As a container's does, which is the engine's to remove."""
    executor, foreign = Executor(), f"adopted-{new_run_id()}"
    executor.run(["ip", "netns", "add", foreign])
    try:

        async def body(lab: Lab) -> None:
            await asyncio.to_thread(exchange, lab)

        with_lab(PAIR, run_id, tmp_path, body, adopted={"left": namespaces.path_of(foreign)})
        links = executor.run(["ip", "-o", "link"], namespace=namespaces.path_of(foreign)).stdout
        assert "eth1" not in links
    finally:
        executor.run(["ip", "netns", "delete", foreign])


def test_a_lab_that_cannot_be_built_leaves_nothing(run_id: str, tmp_path: Path) -> None:
    async def body(_: Lab) -> None:
        raise AssertionError("it was built")

    with pytest.raises(BackendError, match="no namespace"):
        with_lab(LINE, run_id, tmp_path, body, adopted={"right": Path("/proc/0/ns/net")})
    assert left_over(run_id) == []


def test_destroying_twice_is_the_same_as_once(run_id: str, tmp_path: Path) -> None:
    async def body(lab: Lab) -> None:
        await lab.destroy()
        assert left_over(run_id) == []

    with_lab(PAIR, run_id, tmp_path, body)


@pytest.mark.netem
def test_a_kernel_with_netem_shapes_by_itself(run_id: str, tmp_path: Path) -> None:
    async def body(lab: Lab) -> None:
        assert lab.impairment is Impairment.KERNEL
        link = Path(lab.record.links[0].namespace)
        shown = Executor().run(["tc", "qdisc", "show"], namespace=link).stdout
        assert shown.count("qdisc netem 1: ") == 2
        assert "rate 50Mbit" in shown
        assert "delay 5ms" in shown
        await asyncio.to_thread(exchange, lab)
        assert (await lab.counters("left:eth1--right:eth1"))["forward"]["sent"] == 3

    with_lab(SHAPED_PAIR, run_id, tmp_path, body)


@pytest.mark.netem
@pytest.mark.timetravel
def test_a_delay_is_what_was_asked_to_a_tenth_of_a_millisecond(run_id: str, tmp_path: Path) -> None:
    """Virtual time in a real kernel: only netem takes time that counts, and a little CPU."""

    async def body(lab: Lab) -> None:
        await lab.set_impairments(LEFT, Impairments.build(Delay(25_000_000)))
        times = []
        with udp(lab, "left") as left, udp(lab, "right") as right:
            for _ in range(9):
                started = time.monotonic_ns()
                left.sendto(b"x", address(lab, "right"))
                right.recv(100)
                times.append(time.monotonic_ns() - started)
        assert 25_000_000 <= statistics.median(times) < 25_100_000

    with_lab(PAIR, run_id, tmp_path, body)
