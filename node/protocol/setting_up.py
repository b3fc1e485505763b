"""The handshakes of an endpoint: who asks, who is answered, what is repeated (SPEC 3).

    initiator                                  responder
    INITIATION ──────────────────────────────► under load and without a cookie: nothing is kept
               ◄────────────────────── RETRY
    INITIATION + cookie ─────────────────────► half-open: one of at most 1024
               ◄─────────────────── RESPONSE
    [COMPLETION] and DATA ───────────────────► established

Checks go from cheap to dear (SPEC 3.4-5): CRC, target address, cookie, and only then a key exchange. Which
handshake an INITIATION belongs to is found in ``attempts.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from node.protocol.attempts import Attempts
from node.protocol.cookies import Cookies
from node.protocol.datagrams import SocketAddress, Transmit
from node.protocol.errors import ErrorCode
from node.protocol.handshake import (
    Accepted,
    Agreed,
    Initiator,
    Keys,
    answer,
    new_connection_id,
    response_packet,
    retry_packet,
    take_completion,
)
from node.protocol.identity import Peer
from node.protocol.recovery.manager import MAX_PROBE_INTERVAL
from node.protocol.recovery.rtt import INITIAL_RTT
from node.protocol.resumption import EarlyKey, Resumption
from node.protocol.start import start
from node.protocol.states import ConnectionState
from node.protocol.time import Duration, Instant
from node.protocol.timers import Timer
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.setup import COMPLETION, INITIATION, RESPONSE, SetupPacket, parse_setup

if TYPE_CHECKING:
    from node.protocol.connection import Connection
    from node.protocol.endpoint import Endpoint

#: Answers waiting to go out. Each stands for one datagram received, so this bounds one burst.
MAX_REPLIES = 256


@dataclass(slots=True)
class _Half:
    """What a handshake needs until the connection is established."""

    initiator: Initiator | None = None
    #: At the initiator, when COMPLETION is to be repeated.
    agreed: Agreed | None = None
    accepted: Accepted | None = None
    #: Where EARLY packets are taken from, if they are.
    early_key: EarlyKey | None = None
    #: When the first INITIATION (the first with this cookie) went out, and how many since.
    first_sent: Instant = 0
    sent: int = 0
    timeout: Duration = INITIAL_RTT * 3
    responses: int = 0


class SettingUp:
    """The handshakes of one endpoint.

    Args:
        endpoint: whose connections they make.
        attempts: finds what peers began.
        rng: connection IDs, ephemeral keys and cookie secrets come from here.
        key_log: called with each line of the key log (SPEC 11).
    """

    def __init__(
        self, endpoint: Endpoint, attempts: Attempts, rng: Random, key_log: Callable[[str], None] | None
    ) -> None:
        self._endpoint, self._attempts = endpoint, attempts
        self._drops = endpoint.drops
        self._rng = rng
        self._key_log = key_log
        self._cookies = Cookies(rng)
        self._resumption = Resumption(rng, self._drops.add, key_log)
        self._half: dict[bytes, _Half] = {}
        #: Answers to go out, oldest first.
        self.replies: deque[tuple[SocketAddress, bytes]] = deque()

    # -- what the world did

    def receive(self, datagram: memoryview, source: SocketAddress, *, now: Instant) -> None:
        """Take a set-up packet."""
        packet = parse_setup(datagram)
        if isinstance(packet, str):
            self._drops.add(packet)
        elif packet.target_address != self._endpoint.identity.address:
            self._drops.add("for another node")  # SPEC 2-2
        elif packet.kind == INITIATION:
            self._take_initiation(packet, source, now)
        elif packet.kind == RESPONSE:
            self._take_response(packet, now)
        elif packet.kind == COMPLETION:
            self._take_completion(packet, now)
        else:
            self._take_retry(packet, now)

    def receive_early(self, datagram: memoryview, *, source: SocketAddress, ecn: int, now: Instant) -> None:
        """Take an EARLY packet (SPEC 15-3)."""
        connection = self._resumption.receive(datagram, source=source, ecn=ecn, now=now)
        if connection is not None:
            self._endpoint.report(connection)

    # -- what the caller wants

    def begin(self, connection: Connection, peer: Peer, *, now: Instant) -> None:
        """Begin the handshake of a new connection.

        Raises:
            LocalProtocolError: the suite needs the peer's key, and it is not known.
        """
        held = self._resumption.ticket_for(connection, now=now)
        initiator = Initiator(
            self._endpoint.identity, peer, connection.configuration, connection.connection_id, self._rng,
            ticket=held.ticket if held is not None else b"",
        )  # fmt: skip
        self._half[connection.connection_id] = _Half(initiator=initiator)
        connection.setting_up = True
        if held is not None:
            self._resumption.begin(connection, initiator, held)
        connection.timers.set(Timer.INITIATION, now)

    def forget(self, connection: Connection) -> None:
        """Forget the handshake of a connection that is over."""
        self._attempts.forget(connection)
        half = self._half.pop(connection.connection_id, None)
        if half is not None and half.early_key is not None:
            self._resumption.forget(connection, half.early_key)

    # -- what to do now

    def reply(self) -> Transmit | None:
        """Return the next answer to a set-up packet."""
        if not self.replies:
            return None
        destination, packet = self.replies.popleft()
        return Transmit(destination, memoryview(packet), len(packet))

    def transmit(self, connection: Connection, *, now: Instant) -> Transmit | None:
        """Return the INITIATION or COMPLETION of a connection that we began, if it is time for one."""
        due = connection.timers.due(now)
        half = self._half.get(connection.connection_id)
        if half is None or half.initiator is None:
            return None
        if Timer.INITIATION in due:
            half.first_sent, half.sent = (half.first_sent if half.sent else now), half.sent + 1
            timer, packet = Timer.INITIATION, half.initiator.initiation()
        elif Timer.COMPLETION in due and half.agreed is not None:
            if connection.receiver.packets:  # SPEC 3-7: the responder was heard
                self._finish(connection)
                return None
            timer, packet = Timer.COMPLETION, half.initiator.completion(half.agreed)
        else:
            return None
        if connection.observer is not None:
            connection.observer.setup_sent(timer.value, half.initiator.packets_sent - 1, len(packet), now)
        connection.timers.set(timer, now + half.timeout)
        half.timeout = min(half.timeout * 2, MAX_PROBE_INTERVAL)
        return Transmit(connection.remote, memoryview(packet), len(packet))

    # -- the responder

    def _take_initiation(self, packet: SetupPacket, source: SocketAddress, now: Instant) -> None:
        known = self._attempts.find(packet, source)
        if known is None:
            if self._attempts.is_confirmed(packet):
                self._drops.add("INITIATION of a connection that is confirmed")  # SPEC 3-9
                return
            if self._needs_cookie(packet) and not self._cookies.verifies(packet, source, now=now):
                self._drops.add("INITIATION without a cookie that verifies")
                cookie = self._cookies.make(packet, source, now=now)
                self._reply(source, retry_packet(self._endpoint.identity, packet, cookie))
                return
            known = self._accept(packet, source, now)
            if known is None:
                return
        if known.observer is not None:
            known.observer.setup_received("initiation", packet, now)
        half = self._half[known.connection_id]
        if half.accepted is None or len(self.replies) >= MAX_REPLIES:
            return
        # SPEC 3-3: one RESPONSE for each INITIATION; only a single one gives an RTT sample.
        known.timers.responded_at = now if half.responses == 0 else None
        if known.observer is not None:
            size = half.accepted.suite.packet_bytes
            known.observer.setup_sent("response", half.responses, size, now)
        self._reply(source, response_packet(self._endpoint.identity, half.accepted, half.responses))
        half.responses += 1

    def _needs_cookie(self, packet: SetupPacket) -> bool:
        """SPEC 3.4-1: under load; and one that is there is never passed over."""
        threshold = self._endpoint.configuration.retry_threshold
        return bool(packet.cookie) or self._endpoint.half_open >= threshold

    def _accept(self, packet: SetupPacket, source: SocketAddress, now: Instant) -> Connection | None:
        if not self._endpoint.make_room():
            self._drops.add("too many connections")
            return None
        connection_id = new_connection_id(self._rng)
        configuration = self._attempts.configuration(packet) or self._endpoint.configuration
        accepted = answer(
            packet, self._endpoint.identity, configuration, connection_id, self._rng,
            redeem=self._resumption.redeemer(packet, source, configuration, now=now),
        )  # fmt: skip
        if isinstance(accepted, str):
            self._drops.add(accepted)
            return None
        connection = self._endpoint.add_connection(
            configuration, source, initiator=False, now=now, connection_id=connection_id,
            traced_as=packet.source_connection_id,
        )  # fmt: skip
        self._attempts.add(packet, source, connection)
        connection.peer_address = accepted.peer_address
        if connection.observer is not None:
            connection.observer.started()
        half = self._half[connection_id] = _Half(accepted=accepted)
        if accepted.keys is not None:
            self._start(connection, accepted, accepted.keys)
        if accepted.early_key:
            half.early_key = self._resumption.take(connection, accepted, source)
        return connection

    def _take_completion(self, packet: SetupPacket, now: Instant) -> None:
        """Take what proves that RESPONSE arrived, wherever it comes from: it moves nothing (SPEC 3-10)."""
        connection = self._endpoint.connection_of(packet.target_connection_id)
        half = self._half.get(packet.target_connection_id)
        if connection is None or half is None or half.accepted is None:
            self._drops.add("unknown connection ID")
            return
        if half.accepted.noise is None or connection.state is not ConnectionState.RESPONDING:
            return  # a repeated COMPLETION
        keys = take_completion(packet, half.accepted)
        if isinstance(keys, str):
            self._drops.add(keys)
            return
        if connection.observer is not None:
            connection.observer.setup_received("completion", packet, now)
        self._start(connection, half.accepted, keys)
        sent = connection.timers.responded_at
        connection.establish(rtt=None if sent is None else max(1, now - sent), ping=True, now=now)
        self._endpoint.report(connection)

    def _start(self, connection: Connection, accepted: Accepted, keys: Keys) -> None:
        start(connection, accepted.ours, accepted.peer, keys)
        self._log_keys(accepted.peer, accepted.ours, keys)
        self._resumption.offer(connection, accepted)

    def _reply(self, source: SocketAddress, packet: bytes) -> None:
        if len(self.replies) < MAX_REPLIES:
            self.replies.append((source, packet))

    # -- the initiator

    def _take_response(self, packet: SetupPacket, now: Instant) -> None:
        connection, half = self._begun(packet)
        if connection is None or half is None:
            return
        assert half.initiator is not None
        found = half.initiator.take_response(packet)
        if isinstance(found, str):
            self._drops.add(found)
            return
        if connection.observer is not None:
            connection.observer.setup_received("response", packet, now)
        ours = TransportParameters.of(connection.configuration, connection.connection_id)
        if not start(connection, ours, found.peer, found.keys):
            text = "early data does not fit the responder's limits any more"
            connection.close(ErrorCode.TRANSPORT_PARAMETER, text, now=now)
            self._endpoint.report(connection)
            return
        self._log_keys(ours, found.peer, found.keys)
        rtt = max(1, now - half.first_sent) if half.sent == 1 else None
        connection.establish(rtt=rtt, ping=True, now=now)  # SPEC 3.1-3
        if found.completion is None:
            self._finish(connection)
        else:
            half.agreed, half.timeout = found, connection.recovery.probe_timeout
            connection.timers.set(Timer.COMPLETION, now)
        self._endpoint.report(connection)

    def _take_retry(self, packet: SetupPacket, now: Instant) -> None:
        connection, half = self._begun(packet)
        if connection is None or half is None:
            return
        assert half.initiator is not None
        problem = half.initiator.take_retry(packet)
        if problem is not None:
            self._drops.add(problem)
            return
        if connection.observer is not None:
            connection.observer.setup_received("retry", packet, now)
        half.sent, half.timeout = 0, INITIAL_RTT * 3
        connection.timers.set(Timer.INITIATION, now)
        self._endpoint.wake(connection)

    def _begun(self, packet: SetupPacket) -> tuple[Connection | None, _Half | None]:
        """Return the connection of ours that RESPONSE or RETRY is for, if it still waits for one."""
        connection = self._endpoint.connection_of(packet.target_connection_id)
        half = self._half.get(packet.target_connection_id)
        if connection is None or not connection.initiator:
            self._drops.add("unknown connection ID")
            return None, None
        if half is None or connection.state is not ConnectionState.INITIATING:
            return None, None  # a repeated one
        return connection, half

    def _finish(self, connection: Connection) -> None:
        connection.setting_up = False
        connection.timers.clear(Timer.COMPLETION)
        self._half.pop(connection.connection_id, None)

    # -- both

    def _log_keys(self, initiator: TransportParameters, responder: TransportParameters, keys: Keys) -> None:
        if self._key_log is None:
            return
        ids = f"{initiator.connection_id.hex()} {responder.connection_id.hex()}"
        pair = f"{keys.initiator_to_responder.hex()} {keys.responder_to_initiator.hex()}"
        suffix = "" if initiator.integrity != "aead" or keys.cipher == "aes-gcm" else f"-{keys.cipher}"
        # SPEC 11-1, 11-2, 11-5
        self._key_log(f"STRAIT_DATA {ids} {initiator.integrity}{suffix} {pair}")
        windows = (
            f"{initiator.initial_max_data} {initiator.initial_max_stream_data} "
            f"{responder.initial_max_data} {responder.initial_max_stream_data}"
        )
        self._key_log(f"STRAIT_WINDOWS {ids} {windows}")
        self._key_log(f"STRAIT_PARAMETERS {ids} {initiator.encode().hex()} {responder.encode().hex()}")
