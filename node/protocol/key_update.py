"""When a connection changes its keys, and how it follows the peer's change (SPEC 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from node.protocol.time import Instant
from node.protocol.timers import Timer
from node.protocol.trace import KeyDiscarded, KeyUpdated

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: SPEC 4.2-6: the keys of the phase before are kept for this many probe time-outs.
OLD_KEYS_PROBE_TIMEOUTS = 3


def update_keys(c: Connection) -> None:
    """Seal in the next key phase from the next packet on.

    Raises:
        LocalProtocolError: the profile has no keys, or the present phase is not acknowledged yet.
    """
    if c.keys is None:
        raise LocalProtocolError("this integrity profile has no keys to update")
    if not _is_confirmed(c):
        raise LocalProtocolError("the present keys are not acknowledged yet")
    _begin_phase(c)


def update_keys_if_due(c: Connection, *, now: Instant) -> None:
    """Begin the next phase when the present one has lasted long enough and is acknowledged (SPEC 4.2-5).

    Raises:
        RemoteProtocolError: the peer acknowledges nothing, and the cipher is worn out (SPEC 4.2-8).
    """
    assert c.keys is not None
    number = c.recovery.next_packet_number
    if not c.keys.is_due(number, now):
        return
    if _is_confirmed(c):
        _begin_phase(c)
    elif c.keys.is_worn_out(number):
        raise RemoteProtocolError(ErrorCode.AEAD_LIMIT, "the keys are used up and no update is acknowledged")


def open_other(c: Connection, number: int, packet: memoryview, *, now: Instant) -> bool:
    """Open a packet of another key phase than the current one; follow the peer if it has begun the next.

    Raises:
        RemoteProtocolError: the peer updates too early (SPEC 4.2-7).
    """
    keys = c.keys
    if keys is None:
        return False
    if not keys.open_other(number, packet, until=now + OLD_KEYS_PROBE_TIMEOUTS * c.recovery.probe_timeout):
        return False
    if keys.receive_kind != c.receive_kind:
        c.receive_kind = keys.receive_kind
        if c.observer is not None:
            c.observer.emit(now, KeyUpdated("remote", keys.received_updates, "remote_update"))
        assert keys.previous_until is not None
        c.timers.set(Timer.OLD_KEYS, keys.previous_until)
        if keys.must_follow:  # SPEC 4.2-4
            _begin_phase(c)
    return True


def forget_old_keys(c: Connection, *, now: Instant) -> None:
    """Drop the keys of the phase before if their time is over (SPEC 4.2-6)."""
    keys = c.keys
    if keys is not None and keys.previous_until is not None and keys.previous_until <= now:
        keys.forget_previous()
        if c.observer is not None:
            c.observer.emit(now, KeyDiscarded("remote", keys.received_updates - 1))
        c.timers.clear(Timer.OLD_KEYS)


def _is_confirmed(c: Connection) -> bool:
    """Whether the peer has acknowledged a packet of the present phase (SPEC 4.2-3)."""
    assert c.keys is not None
    return c.recovery.largest_acked >= c.keys.first_sent


def _begin_phase(c: Connection) -> None:
    assert c.keys is not None
    c.keys.update(c.recovery.next_packet_number)
    if c.observer is not None:
        trigger = "local_update" if c.keys.updates > c.keys.received_updates else "remote_update"
        c.observer.emit(c.observer.now, KeyUpdated("local", c.keys.updates, trigger))
    c.builder.use_kind(c.keys.send_kind)
