"""Getting what a lane needs: Debian packages, a Docker engine with base images, a kernel with netem."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

from tests.lanes import machine

REPORTS = machine.ROOT / ".cache" / "lanes"

#: Base images of the Dockerfile.
BASE_IMAGES = ("python:3.13-slim",)

#: Command that a lane calls → Debian package that has it.
PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "ethtool": "ethtool",
    "iptables": "iptables",
    "ps": "procps",
    "tshark": "tshark",
}

#: apt and dpkg have one lock; two lanes may want the same thing.
_ONE_AT_A_TIME = threading.Lock()


class SetUpFailedError(Exception):
    """What could be had on this machine could not be had now; the message says where to look."""


def packages() -> None:
    """Install the Debian packages whose commands are missing; nothing where all are there."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = sorted({package for name, package in PACKAGES.items() if shutil.which(name, path=path) is None})
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _logged("packages", ["apt-get", "update", "-qq"], environment)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        _logged("packages", install, environment)
        machine.why_no_namespaces.cache_clear()
        machine.why_no_netem.cache_clear()


def why_docker_cannot_be_had() -> str:
    """The reason why there is no Docker and none can be set up; empty where there is one or it can."""
    reason = machine.why_no_docker()
    if not reason:
        return ""
    if machine.in_guest():
        return f"{reason}, and inside User-Mode Linux none is set up"
    if os.geteuid() != 0:
        return f"{reason}: setting it up needs root, run `sudo make test`, or start Docker first"
    if machine.why_no_namespaces():
        return f"{reason}: {machine.why_no_namespaces()}"
    if shutil.which("apt-get") is None or not Path("/etc/apt/sources.list.d/debian.sources").exists():
        return f"{reason}: it is set up by itself on Debian only; install Docker with Compose v2"
    return ""


def docker() -> None:
    """A Docker engine with Compose v2 and our Dockerfile's base images; nothing where all is there."""
    with _ONE_AT_A_TIME:
        _docker()


def _docker() -> None:
    if machine.why_no_docker():
        _logged("docker", ["bash", str(machine.SCRIPTS / "docker-setup.sh")])
        machine.why_no_docker.cache_clear()
    for image in BASE_IMAGES:
        if machine.command_output(["docker", "image", "inspect", image])[0] == 0:
            continue
        # An ordinary machine has a registry; where none answers, the image is made from Debian's packages.
        if machine.command_output(["docker", "pull", "-q", image], limit=300)[0] != 0:
            _logged("docker", ["bash", str(machine.SCRIPTS / "base-images.sh"), image])


def guest_kernel() -> machine.GuestKernel:
    """A User-Mode Linux kernel: the one that is there, else the packaged one, else built from sources."""
    with _ONE_AT_A_TIME:
        return _guest_kernel()


def _guest_kernel() -> machine.GuestKernel:
    kernel = machine.guest_kernel()
    for script in ("install-uml.sh", "build-uml-tt.sh"):
        if kernel is not None:
            break
        try:
            _logged("uml", ["bash", str(machine.SCRIPTS / script)])
        except SetUpFailedError:
            if script == "build-uml-tt.sh":
                raise
        kernel = machine.guest_kernel()
    if kernel is None:
        raise SetUpFailedError("no User-Mode Linux kernel even after building one: .cache/lanes/uml.log")
    return kernel


def _logged(name: str, argv: list[str], environment: dict[str, str] | None = None) -> None:
    REPORTS.mkdir(parents=True, exist_ok=True)
    log = REPORTS / f"{name}.log"
    with log.open("ab") as output:
        status = subprocess.run(argv, stdout=output, stderr=output, env=environment, check=False).returncode
    if status:
        said = f"`{' '.join(argv[:4])}` ended with status {status}"
        raise SetUpFailedError(f"{said}: see {log.relative_to(machine.ROOT)}")
