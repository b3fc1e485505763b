"""Where a benchmark runs: loopback, or three network namespaces in a row with a router in the middle."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

#: Names are of one process, and of one place in it: benchmarks side by side have namespaces of their own.
PREFIX = f"nw-bench-{os.getpid()}"
_places = count()


@dataclass(frozen=True, slots=True)
class Place:
    """How to start a command at each end, and the server's address."""

    name: str
    server: tuple[str, ...]
    client: tuple[str, ...]
    host: str


LOOPBACK = Place("loopback", (), (), "127.0.0.1")


class Routed:
    """a — r — b, MTU 1500; every packet crosses the router alone, and the ends join them again (GRO).

    Args:
        loss: part of the packets that the router drops by chance, each way; it may be changed.
    """

    def __init__(self, loss: float = 0.0) -> None:
        self._first_loss = loss
        self._prefix = f"{PREFIX}-{next(_places)}"

    def set_loss(self, loss: float) -> None:
        """Drop this part of the packets from now on: in the kernel, so that it costs the ends nothing."""
        command = ["ip", "netns", "exec", self.namespace("r"), "iptables"]
        _run(*command, "-F", "FORWARD")
        if loss:
            chance = ["-m", "statistic", "--mode", "random", "--probability", str(loss)]
            _run(*command, "-A", "FORWARD", *chance, "-j", "DROP")

    def namespace(self, name: str) -> str:
        """Return the name of the namespace of an end (``a``, ``b``) or of the router (``r``)."""
        return f"{self._prefix}-{name}"

    def __enter__(self) -> Place:
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        ends = [("ip", "netns", "exec", self.namespace(name)) for name in "ab"]
        return Place("routed", ends[0], ends[1], "10.99.2.1")

    def _make(self) -> None:
        for name in "arb":
            _ip("netns", "add", self.namespace(name))
        for end, third in (("a", 2), ("b", 3)):
            near, far = f"nwb{end}", f"nwbr{end}"
            link = ["link", "add", near, "netns", self.namespace(end), "type", "veth"]
            _ip(*link, "peer", far, "netns", self.namespace("r"))
            for name, device, last in ((end, near, 1), ("r", far, 254)):
                space = self.namespace(name)
                _ip("-n", space, "addr", "add", f"10.99.{third}.{last}/24", "dev", device)
                _ip("-n", space, "link", "set", device, "up", "mtu", "1500")
                gro = "on" if name == end else "off"
                switches = f"tso off gso off tx-udp-segmentation off gro {gro}".split()
                _run("ip", "netns", "exec", space, "ethtool", "-K", device, *switches)
            _ip("-n", self.namespace(end), "link", "set", "lo", "up")
            _ip("-n", self.namespace(end), "route", "add", "default", "via", f"10.99.{third}.254")
        _run("ip", "netns", "exec", self.namespace("r"), "sysctl", "-qw", "net.ipv4.ip_forward=1")
        if self._first_loss:
            self.set_loss(self._first_loss)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for name in "arb":
            subprocess.run(["ip", "netns", "del", self.namespace(name)], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
