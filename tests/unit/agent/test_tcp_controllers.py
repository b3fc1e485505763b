"""Which congestion controllers of TCP the kernel lets a node use, and what it says of the others."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

from node.transports.tcp import Tcp

_SETTINGS = Path("/proc/sys/net/ipv4")
_PR_CAPBSET_DROP, _CAP_NET_ADMIN = 24, 12


def _without_net_admin() -> None:
    # Nobody but root has the capability to begin with, nor may drop it.
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_NET_ADMIN)


def missing_without_net_admin(congestion: str) -> str:
    program = f"from node.transports.tcp import Tcp; print(Tcp.missing({{'congestion': {congestion!r}}}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=_without_net_admin,
    )
    return done.stdout.strip()


def test_a_restricted_controller_is_told_apart_from_one_that_the_kernel_has_not() -> None:
    available = (_SETTINGS / "tcp_available_congestion_control").read_text().split()
    allowed = (_SETTINGS / "tcp_allowed_congestion_control").read_text().split()
    assert missing_without_net_admin(allowed[0]) == "None"
    for name in available:
        if name not in allowed:
            assert "CAP_NET_ADMIN" in missing_without_net_admin(name)
    assert "modprobe tcp_none-such" in str(Tcp.missing({"congestion": "none-such"}))
