"""NAT routers in network namespaces: the kernel's own translation, told what to do by iptables.

``MASQUERADE`` on what leaves the outside; what comes from there is let in only where a mapping exists.
Time-outs are the namespace's own settings, whole seconds; a router forgets through conntrack's netlink
interface, as ``conntrack -F`` does, without needing that program.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from node.protocol.time import SECOND, Duration
from orchestrator.errors import BackendError, EnvironmentMissingError
from orchestrator.executor import Commands
from orchestrator.topology.model import NatPorts
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.wiring import namespaces

#: The programs that may do it, by preference: with kernels of one table only, only one of them works.
PROGRAMS = ("iptables", "iptables-legacy", "iptables-nft")
#: How long conntrack keeps UDP mappings: unanswered ones, and those that were answered.
_TIMEOUTS = ("net/netfilter/nf_conntrack_udp_timeout", "net/netfilter/nf_conntrack_udp_timeout_stream")
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")

# linux/netlink.h and linux/netfilter/nfnetlink*.h
_NETLINK_NETFILTER = 12
_HEADER = struct.Struct("=IHHII")
_NFGENMSG = struct.Struct("=BBH")
_DELETE = (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
_REQUEST_ACK = 1 | 4
_NLMSG_ERROR = 2
_ANSWER_SECONDS = 5.0


def working_program(commands: Commands) -> str:
    """Return the program that can set up translation here, found by trying where it harms nobody.

    Raises:
        EnvironmentMissingError: none can.
    """
    reasons = []
    for program in PROGRAMS:
        # unshare: a nameless namespace that is gone with the command, so a crash leaves nothing.
        tried = ["unshare", "--net", program, *_TRANSLATE, "-o", "lo", "-j", "MASQUERADE"]
        done = commands.run(tried, check=False)
        if done.exit_code == 0:
            return program
        reasons.append(f"{program}: {done.stderr.strip().splitlines()[-1:] or done.exit_code}")
    raise EnvironmentMissingError(
        f"NAT routers need iptables with MASQUERADE, which does not work here ({'; '.join(reasons)}); "
        "install iptables, or use --backend simulation"
    )


def rules(router: NodePlan, program: str) -> list[list[str]]:
    """Return the commands that make a node translate (pure)."""
    nat = router.nat
    assert nat is not None, f"{router.name} is no NAT router"
    outer = next(found.ipv4 for found in router.interfaces if found.name == nat.outside).partition("/")[0]
    how = ["--random-fully"] if nat.ports is NatPorts.RANDOM else []
    wait = [program, "-w"]
    return [
        [*wait, *_TRANSLATE, "-o", nat.outside, "-j", "MASQUERADE", *how],
        # Nobody outside knows an inner address; and what fits no mapping is for this router itself, where a
        # refusal (or an entry in conntrack, which would take the port of a mapping) helps nobody.
        [*wait, "-t", "mangle", "-A", "PREROUTING", "-i", nat.outside, "!", "-d", outer, "-j", "DROP"],
        [*wait, "-A", "INPUT", "-i", nat.outside, "-j", "DROP"],
    ]


def set_up(plan: DeploymentPlan, commands: Commands, namespace_of: dict[str, Path]) -> None:
    """Make the NAT routers of a plan translate.

    Raises:
        EnvironmentMissingError: this machine cannot.
        BackendError: a router refuses.
    """
    routers = [node for node in plan.nodes if node.nat is not None]
    program = working_program(commands) if routers else ""
    for router in routers:
        for argv in rules(router, program):
            commands.run(argv, namespace=namespace_of[router.name])
        assert router.nat is not None, "it was chosen for that"
        set_timeout(namespace_of[router.name], router.nat.timeout)


def set_timeout(namespace: Path, timeout: Duration) -> str:
    """Change how long idle mappings are kept; return what is worth telling."""
    seconds = max(1, -(-timeout // SECOND))
    namespaces.inside({namespace: partial(_write_timeouts, seconds)})
    return "" if seconds * SECOND == timeout else f"rounded up to {seconds} s: the kernel counts seconds"


def flush(namespace: Path) -> int:
    """Let a router forget all mappings; return how many there were.

    Raises:
        BackendError: the kernel refuses.
    """
    return namespaces.inside({namespace: _flush})[namespace]


_TRANSLATE: Sequence[str] = ("-t", "nat", "-A", "POSTROUTING")


def _write_timeouts(seconds: int) -> None:
    for name in _TIMEOUTS:
        try:
            Path("/proc/sys", name).write_text(str(seconds), encoding="ascii")
        except OSError as error:
            raise BackendError(f"/proc/sys/{name} = {seconds}: {error.strerror}") from error


def _flush() -> int:
    count = int(_COUNT.read_text(encoding="ascii")) if _COUNT.exists() else 0
    size = _HEADER.size + _NFGENMSG.size
    request = _HEADER.pack(size, _DELETE, _REQUEST_ACK, 1, 0) + _NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
            netlink.settimeout(_ANSWER_SECONDS)
            netlink.sendto(request, (0, 0))
            answer = netlink.recv(4096)
    except OSError as error:
        raise BackendError(f"conntrack cannot be flushed: {error.strerror or error}") from error
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    code = -struct.unpack_from("=i", answer, _HEADER.size)[0] if kind == _NLMSG_ERROR else errno.EPROTO
    if code:
        raise BackendError(f"conntrack cannot be flushed: {os.strerror(code)}")
    return count
