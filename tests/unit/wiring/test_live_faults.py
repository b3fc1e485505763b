"""What is refused before anything of a lab that is up is touched."""

from __future__ import annotations

import asyncio

import pytest

from node.protocol.time import SECOND
from orchestrator.errors import BackendError
from orchestrator.wiring import live_faults
from orchestrator.wiring.state import LabRecord, NodeRecord

LAB = LabRecord(
    "pair",
    "0123abcd",
    "docker",
    "userspace",
    "/nowhere",
    (
        NodeRecord("a", "host", "/n", "10.0.0.1", container="nw-0123abcd-a"),
        NodeRecord("r", "router", "/n", "", container="nw-0123abcd-r"),
    ),
    (),
)


def test_a_container_is_not_killed_for_a_while() -> None:
    with pytest.raises(BackendError, match="one that was killed does not return: pause"):
        asyncio.run(live_faults.begin(LAB, "crash", ["a"], 2 * SECOND))
