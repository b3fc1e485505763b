"""Everything that an agent imports only when it first needs it: for a process that forks agents."""

from __future__ import annotations

import encodings.ascii  # noqa: F401 (the codec of key logs)

# cryptography imports it, with all that it knows of other kinds of keys, when the first private key is made:
# half of what an agent takes to start.
import cryptography.hazmat.backends.openssl.backend  # noqa: F401

import node.agent.tracing  # noqa: F401
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
