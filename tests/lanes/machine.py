"""What this machine can do, found out by trying, and the reason in words where it cannot."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = Path(__file__).resolve().parent / "scripts"

#: Set in a guest by tests.lanes.guest: work takes no time in there, and idle time is skipped.
TIME_TRAVEL_VARIABLE = "NARROWS_TIME_TRAVEL"
#: It takes 6 minutes and 2.2 GB, so nobody gets it unasked.
BUILD_TIME_TRAVEL = "`bash tests/lanes/scripts/build-uml-tt.sh` builds one (or set UML_KERNEL)"
#: Set by run-in-uml in the guest.
GUEST_VARIABLE = "IN_UML"


def command_output(argv: list[str], *, limit: float = 60.0) -> tuple[int, str]:
    """Exit status and both outputs of a command; 127: no such command, 124: no end in ``limit`` seconds."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
    except FileNotFoundError:
        return 127, f"{argv[0]}: not installed"
    except subprocess.TimeoutExpired:
        return 124, f"{argv[0]}: no answer in {limit:g} s"
    return done.returncode, (done.stdout + done.stderr).strip()


def in_guest() -> bool:
    """Are we inside User-Mode Linux?"""
    return bool(os.environ.get(GUEST_VARIABLE))


@cache
def why_no_namespaces() -> str:
    """The reason why network namespaces cannot be made here; empty where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root: run `sudo make test`"
    for command in ("ip", "tc", "ethtool"):
        if shutil.which(command) is None:
            return f"`{command}` is missing: apt-get install iproute2 ethtool"
    status, said = _in_scratch_namespace()
    return "" if status == 0 else f"this machine refuses network namespaces: {said}"


@cache
def why_no_netem() -> str:
    """The reason why `tc netem` cannot be used on this kernel; empty where it can (found by making one)."""
    reason = why_no_namespaces()
    if reason:
        return reason
    status, said = _in_scratch_namespace(["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])
    if status == 0:
        return ""
    return f"this kernel ({platform.release()}) has no netem ({said.splitlines()[0] if said else 'refused'})"


def _in_scratch_namespace(tc: list[str] | None = None) -> tuple[int, str]:
    name = f"nw-lanes-{os.getpid()}"
    status, said = command_output(["ip", "netns", "add", name])
    if status:
        return status, said
    try:
        return command_output(["tc", "-n", name, *tc]) if tc else (0, "")
    finally:
        command_output(["ip", "netns", "del", name])


@cache
def why_no_docker() -> str:
    """The reason why Docker with Compose v2 cannot be used right now; empty where it can."""
    if shutil.which("docker") is None:
        return "Docker is not installed"
    status, _ = command_output(["docker", "info"])
    if status:
        return "no Docker engine answers (`docker info` fails)"
    status, _ = command_output(["docker", "compose", "version"])
    return "Docker has no Compose v2 plugin" if status else ""


def why_no_virtual_time() -> str:
    """The reason why times are not virtual; empty inside a kernel with time travel."""
    if os.environ.get(TIME_TRAVEL_VARIABLE):
        return ""
    if in_guest():
        return f"this User-Mode Linux kernel has no time travel: {BUILD_TIME_TRAVEL}"
    return "needs a kernel whose time is virtual: `make test LANES=kernel-netem`"


def why_no_time_travel() -> str:
    """The reason why no guest with virtual time can be started here; empty where one can."""
    reason = why_no_guest_kernel()
    if reason:
        return reason
    kernel = guest_kernel()
    return "" if kernel and kernel.time_travel else f"no kernel with time travel: {BUILD_TIME_TRAVEL}"


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """A User-Mode Linux kernel."""

    path: Path
    #: Built with CONFIG_UML_TIME_TRAVEL_SUPPORT.
    time_travel: bool

    @property
    def has_iptables(self) -> bool:
        """Can Docker's name server work in it? What build-uml-tt.sh makes has all built in."""
        modules = self.path.parent.glob("modules/*/kernel/net/ipv4/netfilter/iptable_nat.ko*")
        return self.time_travel or any(modules)


def guest_kernel() -> GuestKernel | None:
    """The kernel to boot: $UML_KERNEL, beside the project, built, packaged — the first that starts."""
    candidates = [
        os.environ.get("UML_KERNEL", ""),
        str(ROOT.parent / "shared/uml/linux-tt.uml"),
        "/opt/uml-tt/linux.uml",
        "/opt/uml/linux.uml",
        "/usr/bin/linux.uml",
    ]
    for candidate in filter(None, candidates):
        path = Path(candidate).resolve()
        if not os.access(path, os.X_OK):
            continue
        environment = dict(os.environ)
        if (path.parent / "libc.so.6").exists():  # packaged for a newer libc: see install-uml.sh
            environment["LD_LIBRARY_PATH"] = str(path.parent)
        told = subprocess.run([path, "--help"], capture_output=True, text=True, env=environment, check=False)
        if told.stdout:
            return GuestKernel(path, "time-travel" in told.stdout)
    return None


def why_no_docker_in_guest() -> str:
    """The reason why no containers with names can be had in a guest here; empty where they can."""
    reason = why_no_guest_kernel()
    if reason:
        return reason
    kernel = guest_kernel()
    if kernel and kernel.has_iptables:
        return ""
    return f"no User-Mode Linux kernel with iptables, which Docker's names need: {BUILD_TIME_TRAVEL}"


def why_no_guest_kernel() -> str:
    """The reason why no User-Mode Linux kernel can be had here; empty where one is or can be had."""
    if in_guest():
        return "already inside User-Mode Linux"
    if guest_kernel() is not None:
        return ""
    if platform.machine() != "x86_64":
        return f"User-Mode Linux needs x86-64, this is {platform.machine()}"
    if os.geteuid() != 0:
        return "no User-Mode Linux kernel found, and installing one needs root (or set UML_KERNEL)"
    if shutil.which("apt-get") is None or not Path("/etc/apt/sources.list.d/debian.sources").exists():
        return "no User-Mode Linux kernel found; it is installed by itself on Debian only (set UML_KERNEL)"
    return ""
