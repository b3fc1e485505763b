"""Rules of conduct on captures written by hand: what an end did, by what came before (SPEC 5-8, 6-7, 8-8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.dissectors.scapy_layer import (
    Ack,
    Close,
    MaxData,
    NewConnectionId,
    NewTicket,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    Stream,
)
from tests.support.wire import Wire

PROFILES = ["aead", "crc32c"]


@pytest.fixture(params=PROFILES)
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Wire:
    """A connection of a profile that has transferred some data."""
    made = Wire(tmp_path, profile=request.param)
    made.handshake()
    made.transfer()
    return made


def _acknowledges_what_was_lost(wire: Wire) -> None:
    wire.send(0, wire.packet(0, Ping()), links=1)
    wire.data(1, Ack(largest=13, first_range=0))


def _delay_before_it_came(wire: Wire) -> None:
    wire.data(0, Ping())
    wire.data(1, Ack(largest=13, first_range=0, delay=60_000))


def _counts_marks_that_did_not_come(wire: Wire) -> None:
    wire.data(0, Ping())
    wire.data(1, Ack(type=3, largest=13, first_range=0, ect0=1, ect1=0, ce=0))


def _marks_without_counts(wire: Wire) -> None:
    wire.send(0, wire.packet(0, Ping()), tos=2)
    wire.data(1, Ack(largest=13, first_range=0))


def _marked_otherwise(wire: Wire) -> None:
    wire.send(0, wire.packet(0, Ping()), tos=1)


def _marks_what_asks_for_nothing(wire: Wire) -> None:
    wire.data(1, Ping())
    wire.send(0, wire.packet(0, Ack(largest=2, first_range=0)), tos=2)


def _one_stream_too_many(wire: Wire) -> None:
    wire.data(0, Stream(stream_id=32, offset=0, data=b"x"))


def _stream_of_the_peer(wire: Wire) -> None:
    wire.data(0, Stream(stream_id=3, offset=0, data=b"x"))


def _credit_taken_back(wire: Wire) -> None:
    wire.data(1, MaxData(maximum=19_999))


def _repeated_without_loss(wire: Wire) -> None:
    wire.data(0, Stream(stream_id=12, offset=0, data=b"x" * 900))
    wire.data(0, Stream(stream_id=12, offset=0, data=b"x" * 900))
    for _ in range(2):
        wire.data(0, Stream(stream_id=12, offset=0, data=b"x" * 900))


def _data_after_a_reset(wire: Wire) -> None:
    wire.data(0, ResetStream(stream_id=4, final_size=3000))
    wire.data(0, Stream(stream_id=4, offset=3000, data=b""))


def _data_after_close(wire: Wire) -> None:
    wire.data(0, Close())
    wire.data(0, Ping())


def _data_after_the_peers_close(wire: Wire) -> None:
    wire.data(1, Close())
    wire.data(0, Ping())


def _two_ids_under_one_number(wire: Wire) -> None:
    for value in (b"3" * 8, b"4" * 8):
        wire.data(1, NewConnectionId(sequence=1, connection_id=value, reset_token=bytes(16)))


def _uses_a_retired_id(wire: Wire) -> None:
    wire.data(1, NewConnectionId(sequence=1, connection_id=b"3" * 8, reset_token=bytes(16)))
    wire.data(0, RetireConnectionId(sequence=0))
    wire.data(0, Ping())


def _an_id_before_it_came(wire: Wire) -> None:
    issue = wire.packet(1, NewConnectionId(sequence=1, connection_id=b"3" * 8, reset_token=bytes(16)))
    wire.send(1, issue, links=1)
    wire.targets[0] = b"3" * 8
    wire.data(0, Ping())


def _short_challenge(wire: Wire) -> None:
    wire.data(0, PathChallenge(data=b"whereru?"))


def _challenge_with_company(wire: Wire) -> None:
    wire.data(0, PathChallenge(data=b"whereru?"), Ping(), Padding(more=1200))


def _response_unasked(wire: Wire) -> None:
    wire.data(0, PathResponse(data=b"i'm here"), Padding(more=1200))


def _longer_than_the_peer_takes(wire: Wire) -> None:
    # Header and frames; the tag of no profile is longer than what is left to 1453.
    wire.data(0, Ping(), Padding(more=1438))


def _ticket_of_an_initiator(wire: Wire) -> None:
    wire.data(0, NewTicket(lifetime=1, secret=bytes(32), ticket=b"t"))


def _in_clear(wire: Wire) -> None:
    text = b"the quick brown fox"
    wire.data(0, Stream(stream_id=12, offset=0, data=text))
    wire.send(0, b"\x43" + text)


WRONG: list[tuple[Callable[[Wire], None], str]] = [
    (_acknowledges_what_was_lost, "5-8"),
    (_delay_before_it_came, "5-8"),
    (_counts_marks_that_did_not_come, "8.2-1"),
    (_marks_without_counts, "8.2-1"),
    (_marked_otherwise, "8.2-2"),
    (_marks_what_asks_for_nothing, "8.2-2"),
    (_one_stream_too_many, "6-7"),
    (_stream_of_the_peer, "6"),
    (_credit_taken_back, "5-5"),
    (_repeated_without_loss, "8-8"),
    (_data_after_a_reset, "6.2-4"),
    (_data_after_close, "9-1"),
    (_data_after_the_peers_close, "9-1"),
    (_two_ids_under_one_number, "13.1-3"),
    (_uses_a_retired_id, "13.1-1"),
    (_an_id_before_it_came, "13.1-1"),
    (_short_challenge, "13.2-2"),
    (_challenge_with_company, "13.2-2"),
    (_response_unasked, "13.2-2"),
    (_longer_than_the_peer_takes, "4-4"),
    (_ticket_of_an_initiator, "15-2"),
]


@pytest.mark.parametrize(("mistake", "rule"), WRONG, ids=[mistake.__name__[1:] for mistake, _ in WRONG])
def test_one_mistake_is_one_violation_of_its_rule(
    wire: Wire, mistake: Callable[[Wire], None], rule: str
) -> None:
    """SPEC 5-8, 6-7, 8-8 and those that the table names."""
    mistake(wire)
    assert [violation.rule for violation in wire.verify().violations] == rule.split()


def test_stream_data_in_clear_is_caught_where_it_ought_to_be_sealed(wire: Wire) -> None:
    """SPEC 4.1-1."""
    wire.numbers[0] = 14
    _in_clear(wire)
    rules = [violation.rule for violation in wire.verify().violations]
    assert rules == (["1-2", "4.1-1"] if wire.profile.startswith("aead") else ["1-2"])
