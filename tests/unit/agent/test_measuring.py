"""What an agent refuses to measure: it says why, and opens nothing."""

from __future__ import annotations

import asyncio

import pytest

from node.agent.measuring import Measuring
from node.control.messages import Command, Reply

END = {"interface": "lo", "opposite": "b:eth1", "mac": "02" * 6, "opposite_mac": "02" * 6, "mtu": 1500}
STREAM = {"count": 10, "size": 100, "interval": 0, "together": 1}


def told(*commands: Command) -> list[Reply]:
    """The replies to commands, one after the other."""

    async def tell() -> list[Reply]:
        measuring = Measuring()
        try:
            return [await measuring.handle(command) for command in commands]
        finally:
            await measuring.close()

    return asyncio.run(tell())


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("open_ends", {}, "ends: found None, must be an object"),
        ("open_ends", {"ends": {"a:eth1": "eth1"}}, "a:eth1: found 'eth1', must be an object"),
        ("open_ends", {"ends": {"a:eth1": {**END, "mtu": 67}}}, "mtu: found 67, must be a whole number"),
        ("open_ends", {"ends": {"a:eth1": {**END, "mac": "2g"}}}, "mac: found '2g', must be a MAC address"),
        ("open_ends", {"ends": {"a:eth1": {**END, "interface": ""}}}, "interface: found '', must be a text"),
        ("expect_streams", {"number": 1, "streams": {"a:eth1": STREAM}}, "no open end has to do with a:eth1"),
        (
            "expect_streams",
            {"number": 256, "streams": {}},
            "number: found 256, must be a whole",
        ),
        ("expect_streams", {"number": 1, "streams": {"a:eth1": {**STREAM, "count": 0}}}, "count: found 0"),
        ("expect_streams", {"number": 1, "streams": {"a:eth1": {**STREAM, "size": 83}}}, "size: found 83"),
        ("expect_streams", {"number": 1, "streams": {"a:eth1": {**STREAM, "together": True}}}, "together"),
        ("send_streams", {}, "no streams are expected"),
        ("end_streams", {"linger": 1}, "no streams are expected"),
        ("send_bursts", {"ends": {"a:eth1": "192.0.2.1"}}, "a:eth1 is no open end"),
        ("read_bursts", {"ports": {"a:eth1": 65_536}}, "a:eth1: found 65536"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(
    name: str, arguments: dict[str, object], why: str
) -> None:
    [reply] = told(Command(name, arguments))
    assert not reply.ok
    assert reply.error.startswith(f"{name}: ")
    assert why in reply.error


def test_a_set_of_no_streams_ends_at_once() -> None:
    nothing = Command("expect_streams", {"number": 0, "streams": {}})
    replies = told(nothing, Command("send_streams", {}), Command("end_streams", {"linger": 0}), nothing)
    assert all(reply.ok for reply in replies), replies
    assert replies[2].data == {"base": 0, "departures": {}, "arrivals": {}}


def test_closing_what_was_never_open_is_no_error() -> None:
    assert told(Command("close_ends", {}))[0].ok
