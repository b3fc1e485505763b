"""Tickets: what is sealed in them, once, for a time, and in bounded memory (SPEC 15)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from node.protocol import tickets
from node.protocol.configuration import Configuration
from node.protocol.suites import SUITES, Suite
from node.protocol.tickets import (
    MAX_HELD_TICKETS,
    TICKET_LIFETIME,
    TicketOffice,
    TicketWallet,
    allows_early_data,
)
from node.protocol.time import SECOND
from node.protocol.wire.frames import NewTicket
from node.protocol.wire.parameters import MAX_TICKET_BYTES, TransportParameters

SUITE = Suite("ik", "aes-gcm")
OURS = TransportParameters.of(Configuration(), bytes(8))
PEER = 77


def redeem(office: TicketOffice, frame: NewTicket, **changes: object) -> bytes | str:
    chosen: dict[str, object] = {
        "ticket": frame.ticket, "peer_address": PEER, "suite": SUITE, "asked": OURS, "ours": OURS, "now": 0
    }  # fmt: skip
    return office.redeem(**{**chosen, **changes})  # type: ignore[arg-type]


def test_a_ticket_gives_its_secret_once() -> None:
    """SPEC 15-4, 15-5."""
    office = TicketOffice(Random(1))
    frame = office.issue(PEER, SUITE, OURS, 0)
    assert len(frame.ticket) <= MAX_TICKET_BYTES
    assert frame.secret not in frame.ticket
    assert redeem(office, frame) == frame.secret
    assert redeem(office, frame) == "ticket used before"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peer_address": 78}, "ticket of another connection"),
        ({"suite": Suite("ik", "chacha20-poly1305")}, "ticket of another connection"),
        ({"asked": replace(OURS, arq="go-back-n")}, "ticket of another connection"),
        ({"ours": replace(OURS, initial_max_data=1)}, "limits lower than the ticket's"),
        ({"ours": replace(OURS, initial_max_streams_uni=1)}, "limits lower than the ticket's"),
        ({"ticket": b""}, "unknown ticket"),
        ({"ticket": bytes(MAX_TICKET_BYTES)}, "unknown ticket"),
        ({"now": TICKET_LIFETIME}, "ticket too old"),
        ({"now": 2 * TICKET_LIFETIME}, "unknown ticket"),
    ],
)
def test_a_ticket_is_good_for_nothing_else(changes: dict[str, object], reason: str) -> None:
    """SPEC 15-2, 15-4; and who was refused for a passing reason has not used it up."""
    office = TicketOffice(Random(1))
    frame = office.issue(PEER, SUITE, OURS, 0)
    assert redeem(office, frame, **changes) == reason
    if "now" not in changes:
        assert redeem(office, frame) == frame.secret


def test_a_changed_ticket_is_unknown_wherever_it_was_changed() -> None:
    office = TicketOffice(Random(1))
    frame = office.issue(PEER, SUITE, OURS, 0)
    for position in range(len(frame.ticket)):
        changed = bytearray(frame.ticket)
        changed[position] ^= 1
        assert redeem(office, frame, ticket=bytes(changed)) == "unknown ticket"


def test_used_tickets_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 15-5: the last one that fits, the first that does not, and room again when they are old."""
    monkeypatch.setattr(tickets, "MAX_USED_TICKETS", 3)
    office = TicketOffice(Random(1))
    frames = [office.issue(PEER, SUITE, OURS, 0) for _ in range(4)]
    found = [redeem(office, frame, now=index) for index, frame in enumerate(frames)]
    assert found == [*(frame.secret for frame in frames[:3]), "too many tickets used"]
    later = office.issue(PEER, SUITE, OURS, TICKET_LIFETIME)
    assert redeem(office, later, now=TICKET_LIFETIME) == later.secret


def test_a_wallet_keeps_the_newest_ticket_of_each_peer_and_not_too_many() -> None:
    """SPEC 15-3."""
    wallet, configuration = TicketWallet(), Configuration()
    for peer in range(MAX_HELD_TICKETS + 1):
        for ticket in (b"old", b"new"):
            wallet.keep(peer, NewTicket(60, bytes(32), ticket), SUITE, OURS, now=0)
    assert wallet.take(0, configuration, now=0) is None
    held = wallet.take(1, configuration, now=0)
    assert held is not None
    assert held.ticket == b"new"
    assert wallet.take(1, configuration, now=0) is None
    assert wallet.take(2, configuration, now=60 * SECOND) is None
    assert wallet.take(3, configuration, now=60 * SECOND - 1) is not None


def test_secrets_are_never_shown() -> None:
    frame = TicketOffice(Random(1)).issue(PEER, SUITE, OURS, 0)
    wallet = TicketWallet()
    wallet.keep(PEER, frame, SUITE, OURS, now=0)
    for shown in (repr(frame), repr(wallet.take(PEER, Configuration(), now=0))):
        assert repr(frame.secret)[2:-1] not in shown
        assert repr(frame.ticket)[2:-1] not in shown


def test_early_data_is_for_suites_that_hide_the_ticket_and_have_room() -> None:
    """SPEC 15-1."""
    allowed = {suite.name for suite in SUITES.values() if allows_early_data(suite, "aead")}
    ciphers = "aes-gcm", "chacha20-poly1305"
    assert allowed == {f"{handshake}/{cipher}" for handshake in ("ik", "ik-psk2") for cipher in ciphers}
    assert not any(allows_early_data(suite, "crc32c") for suite in SUITES.values())
