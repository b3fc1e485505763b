"""Labs for tests: topologies as text, sockets inside nodes, and what of a run is left on this machine."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from orchestrator.executor import RUN_VARIABLE
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from orchestrator.wiring import namespaces
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.state import socket_directory

UDP_SEGMENT = 103
#: What a test waits for at most, where nothing may be lost; generous, since the machine is shared.
PATIENCE_SECONDS = 20.0

PAIR = """
name: pair
topology:
  nodes: {left: {}, right: {}}
  links:
    - endpoints: ["left:eth1", "right:eth1"]
"""

SHAPED_PAIR = """
name: shaped-pair
topology:
  nodes: {left: {}, right: {}}
  links:
    - endpoints: ["left:eth1", "right:eth1"]
      netem: {delay: 5ms, rate: 50Mbit, queue: 200p}
workloads:
  - {name: file, kind: bulk, from: left, to: right, size: 200kB}
"""

LINE = """
name: line
topology:
  nodes: {left: {}, middle: {kind: router}, right: {}}
  links:
    - endpoints: ["left:eth1", "middle:eth1"]
      netem: {delay: 1ms}
    - endpoints: ["middle:eth2", "right:eth1"]
"""


def busy(name: str, size: int) -> str:
    """A line whose bottleneck a transfer of ``size`` bytes keeps full, with a queue that holds all of it."""
    return f"""
name: {name}
topology:
  nodes: {{left: , middle: {{kind: router}}, right: }}
  links:
    - endpoints: ["left:eth1", "middle:eth1"]
      netem: {{delay: 2ms, rate: 5Mbit, queue: 6000p}}
    - endpoints: ["middle:eth2", "right:eth1"]
      netem: {{delay: 2ms}}
workloads:
  film: {{kind: bulk, from: left, to: right, size: {size}B}}
"""


def plan_of(text: str) -> DeploymentPlan:
    """The plan of a topology."""
    return make_plan(parse(text.encode(), file="test.lab.yml"))


def new_run_id() -> str:
    """A run id that nobody else has."""
    return secrets.token_hex(4)


@contextmanager
def udp(lab: Lab, node: str) -> Iterator[socket.socket]:
    """A UDP socket in a node, at the node's address and port 5000."""
    path = lab.namespace(node)
    opened = namespaces.inside({path: partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)})[path]
    with opened:
        opened.settimeout(PATIENCE_SECONDS)
        opened.bind((lab.plan.node(node).ipv4, 5000))
        yield opened


def address(lab: Lab, node: str) -> tuple[str, int]:
    """Where ``udp`` of a node listens."""
    return lab.plan.node(node).ipv4, 5000


def left_over(run_id: str) -> list[str]:
    """Everything of a run that this machine still holds; empty after a good ``destroy``."""
    found = [f"namespace {name}" for name in _names(namespaces.DIRECTORY) if run_id in name]
    if socket_directory(run_id).exists():
        found.append(f"directory {socket_directory(run_id)}")
    label = f"{RUN_VARIABLE}={run_id}".encode()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if label in Path("/proc", pid, "environ").read_bytes().split(b"\0"):
                found.append(f"process {pid}: {Path('/proc', pid, 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
