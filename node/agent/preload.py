"""Everything that an agent imports only when it first needs it: for a process that forks agents."""

from __future__ import annotations

from node.links.impairments.base import IMPAIRMENTS
from node.protocol.arq.base import ARQ_MODES
from node.protocol.congestion.base import CONTROLLERS
from node.transports.base import TRANSPORTS
from node.workloads.base import WORKLOADS

#: Not the FEC schemes: they bring numpy, whose algebra starts threads, and a fork has only one.
PRELOADED = {
    registry.kind: registry.names()
    for registry in (ARQ_MODES, CONTROLLERS, IMPAIRMENTS, TRANSPORTS, WORKLOADS)
}
