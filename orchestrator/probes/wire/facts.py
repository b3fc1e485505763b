"""What the captures tell of a run beside what is wrong: the counts that expectations are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from node.dissectors.scapy_layer import EARLY
from orchestrator.probes.wire.connections import Connection
from orchestrator.probes.wire.setups import SetUps
from orchestrator.probes.wire.sightings import Datagram

_CE = 3
_IPV4_BYTES, _IPV6_BYTES = 4, 16
#: Bit of the suite (SPEC 3.3).
_CHACHA20 = 0x10


def gather_facts(
    datagrams: Iterable[Datagram], setups: SetUps, connections: Iterable[Connection], *, resets: int
) -> dict[str, float]:
    """Return the counts by name (``orchestrator.experiment.measures.WIRE_FACTS``)."""
    ours = [datagram for datagram in datagrams if not datagram.injected]
    known = list(connections)
    return {
        "connections": float(len(setups.initiations)),
        "handshakes": float(sum(map(_is_through, known))),
        "retries": float(len(setups.retried)),
        "resumptions": float(sum(map(_is_resumed, known))),
        "early packets": float(sum(_kind(packet) == EARLY for found in known for packet in _sent(found))),
        "phase changes": float(sum(map(_phases, known))),
        "resets": float(resets),
        "ect packets": float(sum(datagram.ecn != 0 for datagram in ours)),
        "ce packets": float(sum(datagram.arrived_ecn == _CE for datagram in ours)),
        "amplification": max((_amplification(found) for found in known), default=0.0),
        "addresses": float(max((_addresses(found) for found in known), default=0)),
        "largest datagram": float(max((len(datagram.payload) for datagram in ours), default=0)),
        "ipv4 datagrams": float(sum(len(datagram.source) == _IPV4_BYTES for datagram in ours)),
        "ipv6 datagrams": float(sum(len(datagram.source) == _IPV6_BYTES for datagram in ours)),
        "chacha20 connections": float(sum(map(_is_chacha20, known))),
    }


def amplification(asked: Iterable[Datagram], answered: Iterable[Datagram], validated: int | None) -> float:
    """Return the largest ratio of bytes that a responder sent to bytes that came, before validation.

    Args:
        asked: INITIATIONs.
        answered: what the responder sent for them.
        validated: when the initiator's address was proved; None: it never was.
    """
    came, sent, largest = list(asked), 0, 0.0
    for datagram in sorted(answered, key=lambda datagram: datagram.at):
        if validated is not None and datagram.at > validated:
            break
        sent += len(datagram.payload)
        received = sum(
            len(initiation.payload) * max(1, initiation.approaches)
            for initiation in came
            if initiation.at <= datagram.at
        )
        largest = max(largest, sent / received if received else float("inf"))
    return largest


def _amplification(connection: Connection) -> float:
    initiation, response = connection.initiation, connection.response
    if initiation is None or response is None:
        return 0.0
    proofs = [datagram for datagram in connection.flows[0].packets.values() if _kind(datagram) != EARLY]
    if connection.completion is not None:
        proofs += connection.completion.by_number.values()
    validated = min((datagram.at for datagram in proofs), default=None)
    return amplification(initiation.by_number.values(), response.by_number.values(), validated)


def _is_through(connection: Connection) -> bool:
    """Return whether the initiator sent DATA: it has then checked the RESPONSE."""
    return any(_kind(datagram) != EARLY for datagram in connection.flows[0].packets.values())


def _is_resumed(connection: Connection) -> bool:
    """Return whether the responder said that it takes early data (SPEC 15-4)."""
    parameters: tuple[Mapping[str, int], ...] = connection.secrets.parameters or ()
    return any("early_accepted" in told for told in parameters)


def _is_chacha20(connection: Connection) -> bool:
    """Return whether its packets, the handshake's and all others, are sealed by ChaCha20-Poly1305."""
    initiation = connection.initiation
    return _is_through(connection) and initiation is not None and bool(initiation.first.suite & _CHACHA20)


def _phases(connection: Connection) -> int:
    return sum(max((packet.phase for packet in flow.sent.values()), default=0) for flow in connection.flows)


def _addresses(connection: Connection) -> int:
    """Return how many addresses (with ports) the end that moved most was seen to have, at the other end."""
    return max(
        len({datagram.arrived_from for datagram in flow.packets.values() if datagram.delivered is not None})
        for flow in connection.flows
    )


def _sent(connection: Connection) -> Iterable[Datagram]:
    return [datagram for flow in connection.flows for datagram in flow.packets.values()]


def _kind(datagram: Datagram) -> int:
    return datagram.head[0]
