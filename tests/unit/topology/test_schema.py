"""The language knows what the parts below it know: a new workload or setting must be taught to it."""

from __future__ import annotations

import importlib
from dataclasses import fields

from node.protocol.configuration import Configuration
from node.workloads.base import WORKLOADS
from orchestrator.topology.schema import (
    WORKLOAD_KINDS,
    BulkEntry,
    EchoEntry,
    MessagesEntry,
    Transport,
)

#: Settings that a topology does not offer: a node takes any profile and suite, streams have no use beyond one
#: a flow, and the shared secret follows from the seed.
INTERNAL = {
    "accepted_integrity",
    "accepted_suites",
    "max_streams_bidi",
    "max_streams_uni",
    "pre_shared_key",
}


def test_every_workload_can_be_written() -> None:
    assert list(WORKLOAD_KINDS) == WORKLOADS.names()


def test_every_option_of_a_workload_can_be_written() -> None:
    for entry in (BulkEntry, EchoEntry, MessagesEntry):
        (kind,) = entry.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
        module = importlib.import_module(f"node.workloads.{kind}")
        assert set(entry.option_names) == set(module.OPTIONS), kind


#: What says which transport a flow has; it is no setting of one.
CHOICES = {"protocol"}


def test_every_transport_setting_can_be_written() -> None:
    assert set(Transport.model_fields) - CHOICES == {field.name for field in fields(Configuration)} - INTERNAL


def test_settings_that_are_given_make_a_configuration() -> None:
    given = Transport.model_validate(
        {
            "integrity": "crc32c",
            "arq": "stop-and-wait",
            "congestion": "new-reno",
            "remember-path": True,
            "handshake": "xx",
            "cipher": "chacha20-poly1305",
            "post-quantum": True,
            "early-data": True,
            "max-datagram-size": 1452,
            "connection-window": "1MiB",
            "stream-window": "64KiB",
            "idle-timeout": "5s",
            "handshake-timeout": "2s",
            "max-ack-delay": "10ms",
        }
    ).given()
    made = Configuration(**given)  # type: ignore[arg-type]
    assert made.stream_window == 65_536
    assert made.max_ack_delay == 10_000_000
