"""Where a benchmark runs: loopback, or three network namespaces in a row with a router in the middle."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

PREFIX = "nw-bench"


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

    def set_loss(self, loss: float) -> None:
        """Drop this part of the packets from now on: in the kernel, so that it costs the ends nothing."""
        command = ["ip", "netns", "exec", f"{PREFIX}-r", "iptables"]
        _run(*command, "-F", "FORWARD")
        if loss:
            chance = ["-m", "statistic", "--mode", "random", "--probability", str(loss)]
            _run(*command, "-A", "FORWARD", *chance, "-j", "DROP")

    def __enter__(self) -> Place:
        self._remove()
        for name in "arb":
            _ip("netns", "add", f"{PREFIX}-{name}")
        for end, third in (("a", 2), ("b", 3)):
            near, far = f"nwb{end}", f"nwbr{end}"
            link = ["link", "add", near, "netns", f"{PREFIX}-{end}", "type", "veth"]
            _ip(*link, "peer", far, "netns", f"{PREFIX}-r")
            for name, device, last in ((end, near, 1), ("r", far, 254)):
                space = f"{PREFIX}-{name}"
                _ip("-n", space, "addr", "add", f"10.99.{third}.{last}/24", "dev", device)
                _ip("-n", space, "link", "set", device, "up", "mtu", "1500")
                gro = "on" if name == end else "off"
                switches = f"tso off gso off tx-udp-segmentation off gro {gro}".split()
                _run("ip", "netns", "exec", space, "ethtool", "-K", device, *switches)
            _ip("-n", f"{PREFIX}-{end}", "link", "set", "lo", "up")
            _ip("-n", f"{PREFIX}-{end}", "route", "add", "default", "via", f"10.99.{third}.254")
        _run("ip", "netns", "exec", f"{PREFIX}-r", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        if self._first_loss:
            self.set_loss(self._first_loss)
        ends = [("ip", "netns", "exec", f"{PREFIX}-{name}") for name in "ab"]
        return Place("routed", ends[0], ends[1], "10.99.2.1")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._remove()

    @staticmethod
    def _remove() -> None:
        for name in "arb":
            subprocess.run(["ip", "netns", "del", f"{PREFIX}-{name}"], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
