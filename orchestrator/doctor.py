"""What this machine can do, found out by trying: each finding says what is there, or how to get it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.base import Problem
from orchestrator.errors import BackendError
from orchestrator.executor import Executor

_SOL_UDP = socket.IPPROTO_UDP
_UDP_SEGMENT = 103
_UDP_GRO = 104
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the testbed can use."""

    name: str
    ok: bool
    #: What was seen.
    detail: str
    #: What to do if it is missing; empty if it is there.
    remedy: str
    #: Which back end cannot run without it; empty: something else takes its place.
    needed_by: str = ""


def examine() -> list[Finding]:
    """Try everything; takes about a second."""
    return [*namespace_findings(), *_shaping(), *_sockets(), *docker_findings(), _guest_kernel()]


def namespace_problems() -> list[Problem]:
    """Return what this machine lacks for labs of namespaces, as the back ends' ``check`` tells it."""
    return [
        Problem(f"{finding.name}: {finding.detail}", finding.remedy)
        for finding in namespace_findings()
        if not finding.ok
    ]


def namespace_findings() -> list[Finding]:
    """Try what the namespace back end cannot do without."""
    return [
        _root(),
        *(_program(name, "iproute2", "netns") for name in ("ip", "tc")),
        *(_program(name, "util-linux", "netns") for name in ("nsenter", "setpriv", "unshare")),
        _enter(),
        _veth(),
        _packet(),
    ]


def docker_findings() -> list[Finding]:
    """Try what the Docker back end cannot do without."""
    return [_sdk(), _engine(), _compose()]


@dataclass(frozen=True, slots=True)
class Choice:
    """The back end that suits this machine, and why."""

    backend: str
    why: str


def best_backend() -> Choice:
    """Return the back end for ``--backend auto``: namespaces, else Docker, else simulation.

    Namespaces come first: they carry the same real packets as containers and start ten times as fast.
    """
    lacking = [finding for finding in namespace_findings() if not finding.ok]
    if not lacking:
        return Choice("netns", "this machine can make network namespaces and links between them")
    why = f"no namespaces ({lacking[0].name}: {lacking[0].detail})"
    docker = [finding for finding in docker_findings() if not finding.ok]
    if not docker:
        return Choice("docker", f"{why}, but a Docker engine")
    if docker:
        why += f", no Docker ({docker[0].name}: {docker[0].detail})"
    return Choice("simulation", f"{why}: virtual time needs nothing of the machine")


def _root() -> Finding:
    ok = os.geteuid() == 0
    inside = "" if _initial_user_namespace() else " of a user namespace"
    detail = f"root{inside}" if ok else f"user {os.geteuid()}"
    return Finding(
        "rights", ok, detail, "" if ok else "run as root: sudo narrows …; or narrows run --rootless", "netns"
    )


def _initial_user_namespace() -> bool:
    try:
        return Path("/proc/self/uid_map").read_text(encoding="ascii").split()[:2] == ["0", "0"]
    except OSError:
        return True


def _program(name: str, package: str, needed_by: str = "") -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, False, "no such program", f"install the package {package}", needed_by)
    done = _try([name, "-V"])
    return Finding(name, True, done[1].splitlines()[0] if done[1] else path, "", needed_by)


def _enter() -> Finding:
    ok, said = _try(["unshare", "--net", "true"])
    return Finding(
        "network namespaces",
        ok,
        "can be made" if ok else said,
        "" if ok else "run as root, outside of a container that lacks CAP_SYS_ADMIN",
        "netns",
    )


def _veth() -> Finding:
    # Both ends in a namespace without a name: it is gone with the command.
    ok, said = _scratch("ip link add name a type veth peer name b && ip link add name c type bridge")
    return Finding(
        "veth and bridge",
        ok,
        "can be made" if ok else said,
        "" if ok else "load the kernel modules veth and bridge",
        "netns",
    )


def _packet() -> Finding:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return Finding("packet sockets", False, str(error), "run as root, or with CAP_NET_RAW", "netns")
    return Finding("packet sockets", True, "AF_PACKET can be opened", "", "netns")


def _shaping() -> list[Finding]:
    qdisc = "ip link set dev lo up && tc qdisc add dev lo root "
    netem, netem_said = _scratch(qdisc + "netem delay 1ms")
    tbf, tbf_said = _scratch(qdisc + "tbf rate 1mbit burst 10kb limit 10kb")
    queue, queue_said = _scratch("iptables -t mangle -A PREROUTING -j NFQUEUE --queue-num 1")
    return [
        Finding(
            "netem",
            netem,
            "in the kernel" if netem else _last(netem_said),
            ""
            if netem
            else (
                "links are shaped in user space instead; for the kernel's own, load sch_netem "
                "(package linux-modules-extra, kernel-modules-extra), or run in User-Mode Linux"
            ),
        ),
        Finding(
            "tbf", tbf, "in the kernel" if tbf else _last(tbf_said), "" if tbf else "load the module sch_tbf"
        ),
        _program("iptables", "iptables"),
        Finding(
            "NFQUEUE",
            queue,
            "in the kernel" if queue else _last(queue_said),
            "" if queue else "install iptables and load xt_NFQUEUE; only Compose without netem needs it",
        ),
    ]


def _sockets() -> list[Finding]:
    remedy = "needs Linux 4.18 (GSO) and 5.0 (GRO); without them each datagram is a system call"
    return [
        _socket_option("UDP GSO", _UDP_SEGMENT, remedy),
        _socket_option("UDP GRO", _UDP_GRO, remedy),
    ]


def _socket_option(name: str, option: int, remedy: str) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        try:
            opened.setsockopt(_SOL_UDP, option, 1)
        except OSError as error:
            return Finding(name, False, str(error), remedy)
    return Finding(name, True, "in the kernel", "")


def _sdk() -> Finding:
    ok = importlib.util.find_spec("docker") is not None
    return Finding(
        "Docker SDK",
        ok,
        "installed" if ok else "no package docker",
        "" if ok else "pip install docker",
        "docker",
    )


def _engine() -> Finding:
    ok, said = _try(["docker", "version", "--format", "{{.Server.Version}}"])
    return Finding(
        "Docker engine",
        ok,
        f"version {said}" if ok else _last(said),
        "" if ok else "install Docker and start its service (systemctl start docker)",
        "docker",
    )


def _compose() -> Finding:
    ok, said = _try(["docker", "compose", "version", "--short"])
    version = re.match(r"v?(\d+)", said)
    modern = ok and version is not None and int(version[1]) >= 2
    return Finding(
        "Docker Compose",
        modern,
        f"version {said}" if ok else _last(said),
        "" if modern else "install the Compose plugin, version 2 (package docker-compose-plugin)",
    )


def _guest_kernel() -> Finding:
    candidates = [os.environ.get("UML_KERNEL", ""), shutil.which("linux.uml") or "", "/opt/uml/linux.uml"]
    found = next((path for path in candidates if path and os.access(path, os.X_OK)), "")
    return Finding(
        "User-Mode Linux",
        bool(found),
        found or "no guest kernel",
        ""
        if found
        else "only tests with virtual time use it: install user-mode-linux, or set UML_KERNEL to a kernel",
    )


def _scratch(script: str) -> tuple[bool, str]:
    return _try(["unshare", "--net", "sh", "-c", script])


def _try(argv: list[str]) -> tuple[bool, str]:
    try:
        done = Executor().run(argv, check=False, timeout_seconds=_TIMEOUT_SECONDS)
    except BackendError as error:
        return False, str(error)
    return done.exit_code == 0, (done.stdout if done.exit_code == 0 else done.stderr or done.stdout).strip()


def _last(text: str) -> str:
    return text.splitlines()[-1] if text else "no answer"


__all__ = [
    "Choice",
    "Finding",
    "best_backend",
    "docker_findings",
    "examine",
    "namespace_findings",
    "namespace_problems",
]
