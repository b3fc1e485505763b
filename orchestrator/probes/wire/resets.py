"""Checks STATELESS_RESET packets (SPEC 4.3): who sends one must hold the key that makes its token."""

from __future__ import annotations

from node.dissectors.reset import RESET_BYTES, derive_token
from orchestrator.probes.wire.sightings import Datagram, address_bytes
from orchestrator.probes.wire.suspects import Suspects
from orchestrator.topology.plan import DeploymentPlan


class Resets:
    """All STATELESS_RESET packets of a run.

    Args:
        plan: whose nodes they must come from.
        suspects: takes what is wrong.
    """

    def __init__(self, plan: DeploymentPlan, suspects: Suspects) -> None:
        self._suspects = suspects
        self._nodes = {address_bytes(address): node for node in plan.nodes for address in node.all_addresses}
        self.good: list[Datagram] = []

    def check(self, datagram: Datagram) -> None:
        """Check one packet."""
        payload = bytes(datagram.payload)
        node = self._nodes.get(datagram.source)
        if len(payload) != RESET_BYTES:
            found = f"a STATELESS_RESET of {len(payload)} bytes"
            self._suspects.add(datagram, "4.3-5", found, f"{RESET_BYTES}")
        elif node is None or derive_token(node.private_key, payload[1:9]) != payload[9:]:
            found = f"a token that is not its sender's for connection ID {payload[1:9].hex()}"
            self._suspects.add(datagram, "4.3-1", found, "the token that follows from its private key")
        else:
            self.good.append(datagram)
