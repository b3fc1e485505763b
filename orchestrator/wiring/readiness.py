"""Waiting until interfaces carry packets.

``ip link set up`` returns before the kernel has followed the carrier: until its link watch has run, an
interface drops what it is given without a word. The first packet of a lab would be lost by chance. The flag
RUNNING does not tell: a new interface has it until the link watch has run for the first time.

A bridge hears of a port's carrier a moment after everybody can see it, but under the same lock: whoever has
had that lock since finds the port forwarding.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from orchestrator.errors import BackendError
from orchestrator.wiring import rtnetlink

#: Generous: it takes the kernel a millisecond, unless the machine does a thousand other things.
LIMIT_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.001


def wait_until_running(interfaces: Sequence[str]) -> None:
    """Wait until interfaces of the namespace this thread is in are operational.

    Raises:
        BackendError: one is not there, or does not become so.
    """
    limit = time.monotonic() + LIMIT_SECONDS
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
        for interface in interfaces:
            while not rtnetlink.is_operational(opened, interface):
                if time.monotonic() > limit:
                    raise BackendError(
                        f"interface {interface} is not operational after {LIMIT_SECONDS:.0f} s: is its peer?"
                    )
                time.sleep(_LOOK_AGAIN_SECONDS)
    # Changes nothing, and takes the kernel's lock of all that concerns interfaces (RTNL).
    rtnetlink.obey([("link", "set", "dev", interface, "up") for interface in interfaces[:1]])
