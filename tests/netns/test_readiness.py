"""A lab is up when its interfaces carry packets, not when `ip link set up` has returned."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from orchestrator.errors import BackendError
from orchestrator.wiring import namespaces, readiness

pytestmark = pytest.mark.netns


@pytest.fixture
def namespace() -> Iterator[Path]:
    """A namespace with a pair of interfaces, x and y; x is up."""
    name = f"nwtest-ready-{os.getpid()}"
    for arguments in (
        ("netns", "add", name),
        ("-n", name, "link", "add", "x", "type", "veth", "peer", "name", "y"),
        ("-n", name, "link", "set", "x", "up"),
    ):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)
    yield namespaces.path_of(name)
    subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True)


def test_interfaces_that_are_up_are_waited_for(namespace: Path) -> None:
    subprocess.run(["ip", "-n", namespace.name, "link", "set", "y", "up"], check=True, capture_output=True)
    namespaces.inside({namespace: partial(readiness.wait_until_running, ["x", "y"])})
    shown = subprocess.run(
        ["ip", "-n", namespace.name, "link", "show", "x"], check=True, capture_output=True, text=True
    )
    assert "state UP" in shown.stdout


def test_an_interface_whose_peer_is_down_is_named(namespace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LIMIT_SECONDS", 0.05)
    with pytest.raises(BackendError, match="interface x is not operational"):
        namespaces.inside({namespace: partial(readiness.wait_until_running, ["x"])})


def test_an_interface_that_is_not_there_is_named(namespace: Path) -> None:
    with pytest.raises(BackendError, match="interface z: No such device"):
        namespaces.inside({namespace: partial(readiness.wait_until_running, ["z"])})


def test_an_interface_of_which_the_kernel_does_not_know_is_waited_for(
    namespace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the flag RUNNING, as a new pair has at first: one in forty labs lost its first datagram by that.

    Of a loopback the kernel never knows.
    """
    subprocess.run(["ip", "-n", namespace.name, "link", "set", "lo", "up"], check=True, capture_output=True)
    monkeypatch.setattr(readiness, "LIMIT_SECONDS", 0.05)
    with pytest.raises(BackendError, match="interface lo is not operational"):
        namespaces.inside({namespace: partial(readiness.wait_until_running, ["lo"])})
