"""What an agent does to its own interfaces when told to, and what it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.agent.shaping import OwnInterfaces
from node.control.messages import Command, Reply


def told(directory: Path, *commands: Command) -> list[Reply]:
    """The replies to commands, one after the other."""

    async def tell() -> list[Reply]:
        interfaces = OwnInterfaces(directory)
        try:
            return [await interfaces.handle(command) for command in commands]
        finally:
            await interfaces.close()

    return asyncio.run(tell())


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "id"],
        ["tc", "exec", "bpf"],
        ["tc", "-batch", "/etc/passwd"],
        ["ip", "netns", "exec", "x", "sh"],
        ["/sbin/tc", "qdisc", "show"],
        ["tc"],
        [],
    ],
)
def test_only_qdiscs_and_addresses_are_set(tmp_path: Path, argv: list[str]) -> None:
    [configured] = told(tmp_path, Command("configure", {"commands": [argv]}))
    assert not configured.ok
    assert "must begin with one of" in configured.error


@pytest.mark.parametrize(
    "shape",
    [
        {"tc": [["tc", "exec", "bpf"]]},
        {"tc": "tc qdisc show"},
        {"impairments": {"delay": "soon"}},
        {"impairments": ["delay"]},
        {},
    ],
)
def test_a_refused_shape_changes_nothing(tmp_path: Path, shape: dict[str, object]) -> None:
    """Were a tool run first, the interface that does not exist would be what the reply complains about."""
    [reply] = told(tmp_path, Command("shape", {"interface": "nw-none", **shape}))
    assert not reply.ok
    assert "nw-none" not in reply.error


@pytest.mark.parametrize("value", [None, "tc qdisc show", [["tc", 1]], ["tc qdisc show"], {"a": 1}])
def test_commands_of_another_shape_are_refused(tmp_path: Path, value: object) -> None:
    [reply] = told(tmp_path, Command("configure", {"commands": value}))
    assert not reply.ok
    assert reply.error.startswith("configure: found ")


def test_a_failing_tool_is_quoted(tmp_path: Path) -> None:
    argv = ["ip", "link", "set", "dev", "nw-none", "up"]
    [reply] = told(tmp_path, Command("configure", {"commands": [argv]}))
    assert not reply.ok
    assert "ip link set dev nw-none up: exit code 1" in reply.error


def test_a_capture_of_nothing_says_why(tmp_path: Path) -> None:
    file = tmp_path / "captures" / "x.pcapng"
    [reply] = told(tmp_path, Command("capture", {"interface": "nw-none", "file": str(file)}))
    assert not reply.ok
    assert "nw-none" in reply.error


def test_frames_that_are_not_hex_are_refused(tmp_path: Path) -> None:
    [reply] = told(tmp_path, Command("inject", {"interface": "lo", "frame": "xyz"}))
    assert not reply.ok
    assert "not hex" in reply.error


def test_a_name_that_is_not_ones_own_is_refused(tmp_path: Path) -> None:
    [reply] = told(tmp_path, Command("interfaces", {"names": ["192.0.2.1"]}))
    assert not reply.ok
    assert "192.0.2.1 is not the name of one of this node's own addresses" in reply.error


def test_it_knows_its_commands(tmp_path: Path) -> None:
    interfaces = OwnInterfaces(tmp_path)
    assert interfaces.handles("shape")
    assert not interfaces.handles("start_flow")
