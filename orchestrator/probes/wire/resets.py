"""Checks STATELESS_RESET packets (SPEC 4.3): who sends one must hold the key that makes its token.

And must have been asked: by a DATA packet with that connection ID, longer than the reset, one for one, from
where the reset goes; and at most 64 a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from node.dissectors.reset import RESET_BYTES, derive_token
from orchestrator.probes.wire.headers import address_bytes
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.suspects import Suspects
from orchestrator.topology.plan import DeploymentPlan

#: SPEC 4.3-4.
_MOST_A_SECOND = 64
_SECOND = 1_000_000_000


class Resets:
    """All STATELESS_RESET packets of a run.

    Args:
        plan: whose nodes they must come from.
        suspects: takes what is wrong.
        asking: all DATA packets, those of probes included.
    """

    def __init__(self, plan: DeploymentPlan, suspects: Suspects, asking: Iterable[Datagram]) -> None:
        self._suspects = suspects
        self._nodes = {address_bytes(host): node for node in plan.nodes for host in node.all_addresses}
        #: How often each connection ID came in a DATA packet that may be answered; what was answered so far.
        self._asked: dict[bytes, int] = {}
        self._answered: dict[bytes, int] = {}
        for datagram in asking:
            if len(datagram.payload) > RESET_BYTES:
                cid = datagram.head[1:]
                arrived = max(1, datagram.arrivals, datagram.approaches)
                self._asked[cid] = self._asked.get(cid, 0) + arrived
        #: Damage makes connection IDs that nobody can tell the origin of.
        self._corrupting = any(link.forward.corrupt or link.reverse.corrupt for link in plan.links)
        self._recent: dict[str, deque[int]] = {}
        self.good: list[Datagram] = []

    def check(self, datagram: Datagram) -> None:
        """Check one packet; to be called in order of time."""
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
            if self._corrupting:
                return
            self._check_occasion(datagram, payload[1:9], node.name)

    def _check_occasion(self, datagram: Datagram, cid: bytes, node: str) -> None:
        # The same bytes each time: it may have gone more than once.
        count = self._answered[cid] = self._answered.get(cid, 0) + max(1, datagram.departures)
        if count > self._asked.get(cid, 0):
            found = f"{count} resets of connection ID {cid.hex()}"
            expected = f"at most {self._asked.get(cid, 0)}: one for each longer DATA packet with it"
            self._suspects.misconduct(datagram, "4.3-3", found, expected)
        recent = self._recent.setdefault(node, deque())
        recent.append(datagram.at)
        while recent[0] <= datagram.at - _SECOND:
            recent.popleft()
        if len(recent) > _MOST_A_SECOND:
            self._suspects.misconduct(
                datagram, "4.3-4", f"{len(recent)} resets in a second", f"at most {_MOST_A_SECOND}"
            )
