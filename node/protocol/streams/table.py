"""All streams of a connection: opening, finding, limits, and whose turn it is to send."""

from __future__ import annotations

from collections import deque

from node.protocol.configuration import Configuration
from node.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from node.protocol.ranges import RangeSet
from node.protocol.streams.receive import ReceiveStream
from node.protocol.streams.send import SendStream
from node.protocol.streams.states import RECEIVE_DONE, SEND_DONE
from node.protocol.wire.parameters import TransportParameters

#: Bits of a stream id (RFC 9000 §2.1).
OPENED_BY_RESPONDER = 0x01
UNIDIRECTIONAL = 0x02


class StreamTable:
    """The streams of one connection.

    Args:
        initiator: whether we opened the connection.
        stream_window: receive window of each stream, bytes.
        max_stream_window: what it may grow to; None: it does not grow.
        max_bidi, max_uni: how many streams of each kind the peer may have open at once.
    """

    def __init__(
        self, *, initiator: bool, stream_window: int, max_bidi: int, max_uni: int,
        max_stream_window: int | None = None,
    ) -> None:  # fmt: skip
        self._our_bit = 0 if initiator else OPENED_BY_RESPONDER
        self._stream_window, self._max_stream_window = stream_window, max_stream_window
        self.senders: dict[int, SendStream] = {}
        self.receivers: dict[int, ReceiveStream] = {}
        #: Streams opened so far, by us and by the peer, for each kind (bidirectional, unidirectional).
        self._opened_by_us = [0, 0]
        self._opened_by_peer = [0, 0]
        self._peer_limit = [0, 0]
        #: Receive window of each stream at the peer, at first.
        self.peer_stream_window = 0
        #: Receive window that streams begin with on this path, if it is wider than what was announced.
        self.path_window = 0
        #: Unidirectional streams that the peer opened by opening a higher one: they cost nothing until
        #: something of them comes.
        self._untouched = RangeSet()
        self._limit_of_peer = [max_bidi, max_uni]
        self._closed_of_peer = [0, 0]
        self._step = [max(1, max_bidi // 2), max(1, max_uni // 2)]
        #: Streams with something to send, in order of service; messages are a queue of their own.
        self.ready: deque[SendStream] = deque()
        self.ready_messages: deque[SendStream] = deque()
        self._messages_next = False
        #: Ids of streams with data that the peer's credit for them holds back. A dict, to keep order.
        self.blocked: dict[int, None] = {}

    @classmethod
    def agreed(
        cls, configuration: Configuration, peer: TransportParameters, *, initiator: bool
    ) -> StreamTable:
        """Return the streams of a connection whose handshake has set the limits of both ends."""
        table = cls(
            initiator=initiator,
            stream_window=configuration.first_stream_window,
            max_stream_window=configuration.stream_window,
            max_bidi=configuration.max_streams_bidi,
            max_uni=configuration.max_streams_uni,
        )
        table.set_peer_limits(
            stream_window=peer.initial_max_stream_data,
            max_bidi=peer.initial_max_streams_bidi,
            max_uni=peer.initial_max_streams_uni,
        )
        return table

    def set_peer_limits(self, *, stream_window: int, max_bidi: int, max_uni: int) -> None:
        """Take over what the peer's transport parameters allow us."""
        self.peer_stream_window = stream_window
        self._peer_limit = [max_bidi, max_uni]
        for sender in self.senders.values():  # of early data: they began with what was remembered
            sender.max_data = stream_window

    @property
    def opened_by_us(self) -> tuple[int, int]:
        """How many streams we opened so far: bidirectional, unidirectional."""
        return self._opened_by_us[0], self._opened_by_us[1]

    def raise_peer_limit(self, maximum: int, *, unidirectional: bool) -> None:
        """The peer allows us more streams (MAX_STREAMS)."""
        self._peer_limit[unidirectional] = max(self._peer_limit[unidirectional], maximum)

    def may_open(self, *, unidirectional: bool) -> bool:
        """Whether the peer allows one more stream now."""
        return self._opened_by_us[unidirectional] < self._peer_limit[unidirectional]

    def open(self, *, unidirectional: bool) -> int:
        """Open a stream of ours and return its id.

        Raises:
            LocalProtocolError: the peer allows no more for now.
        """
        index = self._opened_by_us[unidirectional]
        if index >= self._peer_limit[unidirectional]:
            raise LocalProtocolError(
                f"the peer allows {self._peer_limit[unidirectional]} streams of this kind; "
                "wait until one is finished"
            )
        self._opened_by_us[unidirectional] += 1
        stream_id = index << 2 | (UNIDIRECTIONAL if unidirectional else 0) | self._our_bit
        self.senders[stream_id] = SendStream(stream_id, self.peer_stream_window)
        if not unidirectional:
            self.receivers[stream_id] = ReceiveStream(stream_id, self._stream_window, self._max_stream_window)
        return stream_id

    def sender(self, stream_id: int) -> SendStream:
        """Return a sending half (LocalProtocolError: there is none)."""
        try:
            return self.senders[stream_id]
        except KeyError:
            raise LocalProtocolError(f"no stream {stream_id} to send on") from None

    def receiver(self, stream_id: int) -> ReceiveStream:
        """Return a receiving half (LocalProtocolError: there is none)."""
        try:
            return self.receivers[stream_id]
        except KeyError:
            raise LocalProtocolError(f"no stream {stream_id} to read from") from None

    def receiver_for_frame(self, stream_id: int) -> tuple[ReceiveStream | None, list[int]]:
        """Return the half a STREAM frame is for, None if it is over, and the ids this opened.

        Raises:
            RemoteProtocolError: the peer may not send on this stream, or opens too many.
        """
        found = self.receivers.get(stream_id)
        if found is not None:
            return found, []
        unidirectional = bool(stream_id & UNIDIRECTIONAL)
        if stream_id & OPENED_BY_RESPONDER == self._our_bit:
            if unidirectional or stream_id >> 2 >= self._opened_by_us[False]:
                raise RemoteProtocolError(ErrorCode.STREAM_STATE, "data on a stream not open to it")
            return None, []
        return self._open_by_peer(stream_id, unidirectional)

    def _open_by_peer(self, stream_id: int, unidirectional: bool) -> tuple[ReceiveStream | None, list[int]]:
        index = stream_id >> 2
        if index >= self._limit_of_peer[unidirectional]:
            # SPEC 6-7
            raise RemoteProtocolError(ErrorCode.STREAM_LIMIT, f"stream {stream_id} is one too many")
        first = self._opened_by_peer[unidirectional]
        if index < first and not (unidirectional and index in self._untouched):
            return None, []
        self._opened_by_peer[unidirectional] = max(first, index + 1)
        if unidirectional:  # SPEC 6-5, 6.2-5: lower ones are opened with it, and told of later
            self._untouched.remove(index, index + 1)
            self._untouched.add(first, index)
            numbers = range(index, index + 1)
        else:
            numbers = range(first, index + 1)
        opened = []
        for number in numbers:
            new_id = number << 2 | stream_id & 0x03
            self.receivers[new_id] = ReceiveStream(new_id, self._stream_window, self._max_stream_window)
            if not unidirectional:
                self.senders[new_id] = SendStream(new_id, self.peer_stream_window)
            opened.append(new_id)
        return self.receivers[stream_id], opened

    def sender_for_frame(self, stream_id: int) -> tuple[SendStream | None, list[int]]:
        """Return the half that MAX_STREAM_DATA or STOP_SENDING is about, None if it is over, and the ids
        this opened: they may overtake the first data of the peer's stream (RFC 9000 §3.2).

        Raises:
            RemoteProtocolError: there cannot be such a half, or the peer opens too many.
        """
        found = self.senders.get(stream_id)
        if found is not None:
            return found, []
        unidirectional = bool(stream_id & UNIDIRECTIONAL)
        if stream_id & OPENED_BY_RESPONDER == self._our_bit:
            if stream_id >> 2 >= self._opened_by_us[unidirectional]:
                raise RemoteProtocolError(ErrorCode.STREAM_STATE, "frame for a stream that is not there")
            return None, []
        if unidirectional:
            raise RemoteProtocolError(ErrorCode.STREAM_STATE, "frame for a half that only the peer has")
        _, opened = self._open_by_peer(stream_id, unidirectional)
        return self.senders.get(stream_id), opened

    def is_over(self, stream_id: int) -> bool:
        """Whether the receiving half of a stream existed, or could never, and nothing is taken for it."""
        if stream_id in self.receivers or not self.was_opened(stream_id):
            return False
        ours = stream_id & OPENED_BY_RESPONDER == self._our_bit
        return ours or not stream_id & UNIDIRECTIONAL or stream_id >> 2 not in self._untouched

    def was_opened(self, stream_id: int) -> bool:
        """Whether a stream of this id exists or existed."""
        ours = stream_id & OPENED_BY_RESPONDER == self._our_bit
        opened = self._opened_by_us if ours else self._opened_by_peer
        return stream_id >> 2 < opened[bool(stream_id & UNIDIRECTIONAL)]

    def mark_ready(self, stream: SendStream) -> None:
        """Put a stream in the queue of those with something to send."""
        if stream.queued:
            return
        stream.queued = True
        self.blocked.pop(stream.stream_id, None)
        if not stream.is_message:
            self.ready.append(stream)
        elif stream.high_water:
            self.ready_messages.appendleft(stream)  # a part was lost: it has waited longest
        else:
            self.ready_messages.append(stream)

    def next_ready(self, connection_credit: int) -> SendStream | None:
        """Return the stream whose turn it is to send, if any can; it stays at the front.

        Streams and messages take turns, streams among each other too. Messages go one after the other: side
        by side all of them would be late (SPEC 6.2-8).
        """
        queues = (self.ready, self.ready_messages)
        for queue in queues[::-1] if self._messages_next else queues:
            if queue and (found := self._front(queue, connection_credit)) is not None:
                return found
        return None

    def _front(self, ready: deque[SendStream], connection_credit: int) -> SendStream | None:
        for _ in range(len(ready)):
            stream = ready[0]
            start, end = stream.sendable(connection_credit)
            if start < end:
                return stream
            if not stream.has_work:
                self._leave(ready)
                continue
            if stream.fin_pending and stream.next_offset == stream.written:
                return stream
            ready.rotate(-1)
        return None

    def _leave(self, ready: deque[SendStream]) -> None:
        """The first stream of a queue has nothing to send, or may not."""
        stream = ready.popleft()
        stream.queued = False
        if stream.reset_code is None and stream.next_offset < stream.written:
            self.blocked[stream.stream_id] = None

    def take_turns(self, sent: SendStream) -> None:
        """A stream has sent: the next one's turn."""
        self._messages_next = not sent.is_message
        if not sent.is_message:
            if sent.next_offset == sent.written and not sent.has_work:
                self._leave(self.ready)  # else the next look at the queue would find that out
            else:
                self.ready.rotate(-1)

    def forget_if_done(self, stream_id: int) -> int | None:
        """Drop a stream both of whose halves are over.

        Returns:
            The new limit of streams to announce to the peer, when it is time for that.
        """
        sender, receiver = self.senders.get(stream_id), self.receivers.get(stream_id)
        if sender is not None and sender.state not in SEND_DONE:
            return None
        if receiver is not None and receiver.state not in RECEIVE_DONE:
            return None
        if sender is None and receiver is None:
            return None
        self.senders.pop(stream_id, None)
        self.blocked.pop(stream_id, None)
        self.receivers.pop(stream_id, None)
        if stream_id & OPENED_BY_RESPONDER == self._our_bit:
            return None
        kind = bool(stream_id & UNIDIRECTIONAL)
        self._closed_of_peer[kind] += 1
        if self._closed_of_peer[kind] % self._step[kind]:
            return None
        self._limit_of_peer[kind] += self._step[kind]
        return self._limit_of_peer[kind]

    def limit_of_peer(self, *, unidirectional: bool) -> int:
        """Return how many streams of a kind the peer may have opened in all."""
        return self._limit_of_peer[unidirectional]
