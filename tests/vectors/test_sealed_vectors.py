"""SEALED packets against the wire vectors: the node and the second reading agree on them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from node.dissectors.sealed import SealedPacket, derive_key, seal, unseal
from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.endpoint import Endpoint
from node.protocol.events import DatagramReceived
from node.protocol.identity import Identity, Peer
from node.protocol.sealed.service import SealedSettings

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "sealed.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "vector", VECTORS, ids=lambda vector: f"{vector['packet_number']}-{vector['psk'][:4]}"
)
def test_second_reading_opens_it_and_makes_the_same_bytes(vector: dict[str, Any]) -> None:
    """SPEC 14.1-1, 14.1-2; SPEC 14.1-3: static keys and what is on the wire are enough."""
    wire, epoch = bytes.fromhex(vector["wire"]), bytes.fromhex(vector["epoch"])
    source = Identity(bytes.fromhex(vector["source_private_key"]))
    target = Identity(bytes.fromhex(vector["target_private_key"]))
    packet = SealedPacket.of(wire)
    assert packet == SealedPacket(target.address, source.address, epoch, vector["packet_number"])
    private = X25519PrivateKey.from_private_bytes(target.private_key)
    shared = private.exchange(X25519PublicKey.from_public_bytes(source.public_key))
    key = derive_key(shared + bytes.fromhex(vector["psk"]), packet)
    assert key.hex() == vector["key"]
    index, count, data = unseal(wire, key)
    assert (index, count, data.hex()) == (vector["index"], vector["count"], vector["data"])
    assert seal(packet, key, index, count, data) == wire


def test_the_node_takes_them() -> None:
    for psk in ("", VECTORS[1]["psk"]):
        vectors = [vector for vector in VECTORS if vector["psk"] == psk]
        source = Identity(bytes.fromhex(vectors[0]["source_private_key"]))
        peer = Peer(source.public_key, ("source", 1), psk=bytes.fromhex(psk))
        target = Endpoint(
            Identity(bytes.fromhex(vectors[0]["target_private_key"])),
            Configuration(),
            rng=Random(1),
            sealed=SealedSettings({source.address: peer}.get, 1, lambda: 1),
        )
        for vector in vectors:
            wire = bytearray.fromhex(vector["wire"])
            target.receive(Burst(("source", 1), memoryview(wire), len(wire)), now=0)
        expected: dict[int, bytes] = {}
        for vector in vectors:
            first = vector["packet_number"] - vector["index"]
            expected[first] = expected.get(first, b"") + bytes.fromhex(vector["data"])
        found = []
        while (event := target.next_datagram()) is not None:
            found.append(event)
        assert found == [DatagramReceived(source.address, data) for data in expected.values()]
