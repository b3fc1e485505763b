"""Messages: bytes with boundaries, in no order among each other, and with a deadline if wanted (SPEC 6.2).

Each message is a unidirectional stream of its own that carries MESSAGE frames in the place of STREAM
frames: fragmentation, repetition and flow control are the streams'. A message whose deadline comes is
given up as a stream is, by RESET_STREAM; the receiver tells of whole messages only.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from node.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from node.protocol.events import MessageAcknowledged, MessageExpired, MessageReceived
from node.protocol.streams.table import UNIDIRECTIONAL
from node.protocol.time import Instant
from node.protocol.wire.frames import Message, StopSending

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: Messages, and bytes of them, that wait for the peer to allow a further stream; more are refused.
MAX_WAITING = 1 << 16
MAX_WAITING_BYTES = 64 << 20
#: Refused messages remembered: further ones are refused again.
MAX_REFUSED = 256


class Messages:
    """The messages of one connection, both ways."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sent = self.received = self.expired = 0
        #: Bytes that wait for a stream.
        self.waiting_bytes = 0
        self._waiting: deque[tuple[int, bytes]] = deque()
        #: Stream of each message that is neither acknowledged nor expired; None: it waits for one.
        self._stream_of: dict[int, int | None] = {}
        self._message_of: dict[int, int] = {}
        #: Streams of messages that were refused lately, oldest first: each is refused once.
        self._refused: dict[int, None] = {}
        #: When messages are to be given up that are not over by then, and their numbers: a heap.
        self.deadlines: list[tuple[Instant, int]] = []

    # -- what the caller wants

    def send(self, data: bytes, *, deadline: Instant | None, now: Instant) -> int:
        """Send a message and return its number.

        Raises:
            LocalProtocolError: it is too long for us or the peer, or too many wait already.
        """
        c = self._connection
        assert c.parameters is not None
        room = c.parameters.initial_max_data * 3 // 4  # SPEC 6.2-7: the peer always comes to give so much
        longest = min(c.configuration.max_message_size, c.streams.peer_stream_window, room)
        if len(data) > longest:
            raise LocalProtocolError(f"a message of {len(data)} bytes, at most {longest} are allowed")
        if len(self._waiting) >= MAX_WAITING or self.waiting_bytes + len(data) > MAX_WAITING_BYTES:
            raise LocalProtocolError("too many messages wait already")
        self.sent += 1
        number = self.sent
        self._stream_of[number] = None
        if deadline is not None:
            heappush(self.deadlines, (deadline, number))
        self._waiting.append((number, data))
        self.waiting_bytes += len(data)
        self.open_streams()
        self.expire(now=now)
        return number

    @property
    def is_sending(self) -> bool:
        """Whether a message is neither acknowledged nor expired."""
        return bool(self._stream_of)

    # -- what becomes of them

    def open_streams(self) -> None:
        """Give waiting messages their streams, as many as the peer allows."""
        c = self._connection
        while self._waiting and c.streams.may_open(unidirectional=True):
            number, data = self._waiting.popleft()
            if number not in self._stream_of:
                continue  # expired while it waited
            self.waiting_bytes -= len(data)
            stream_id = c.streams.open(unidirectional=True)
            self._stream_of[number], self._message_of[stream_id] = stream_id, number
            stream = c.streams.sender(stream_id)
            stream.is_message = True
            stream.write(data, end=True)
            c.streams.mark_ready(stream)

    def on_acknowledged(self, stream_id: int) -> None:
        """All of a message has been acknowledged."""
        number = self._message_of.pop(stream_id)
        del self._stream_of[number]
        self._connection.events.append(MessageAcknowledged(number))

    def on_refused(self, stream_id: int) -> None:
        """The peer does not want the message (STOP_SENDING)."""
        number = self._message_of.get(stream_id)
        if number is not None:
            self._give_up(number, refused=True)

    def on_lost(self, stream_id: int) -> None:
        """Something of a message is lost for good: it is given up before its deadline (SPEC 12.5-4)."""
        number = self._message_of.get(stream_id)
        if number is not None:
            self._give_up(number, refused=False)

    def expire(self, *, now: Instant) -> None:
        """Give up all messages whose deadline has come (SPEC 6.2-4)."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            self._give_up(heappop(self.deadlines)[1], refused=False)

    def next_deadline(self) -> Instant | None:
        """Return when ``expire`` has something to do."""
        while self.deadlines and self.deadlines[0][1] not in self._stream_of:
            heappop(self.deadlines)
        return self.deadlines[0][0] if self.deadlines else None

    def _give_up(self, number: int, *, refused: bool) -> None:
        c = self._connection
        stream_id = self._stream_of.pop(number)
        self.expired += 1
        c.events.append(MessageExpired(number, refused))
        if stream_id is None:
            self.waiting_bytes -= next(len(data) for waiting, data in self._waiting if waiting == number)
            return
        del self._message_of[stream_id]
        stream = c.streams.sender(stream_id)
        if stream.high_water:
            c.credit.on_sent(stream.high_water - stream.written)  # what was taken and is not sent
        c.reset_stream(stream_id, ErrorCode.MESSAGE)

    # -- receiving

    def refuses(self, frame: Message) -> bool:
        """Whether a message is longer than we take (SPEC 6.2-3): its packet is then not acknowledged.

        So that its sender hears of the refusal before it could take the message for delivered.
        """
        if frame.offset + len(frame.data) <= self._connection.configuration.max_message_size:
            return False
        if frame.stream_id not in self._refused:
            if len(self._refused) >= MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[frame.stream_id] = None
            self._connection.builder.control.append(StopSending(frame.stream_id, ErrorCode.MESSAGE))
        return True

    def receive(self, frame: Message) -> None:
        """Take a MESSAGE frame.

        Raises:
            RemoteProtocolError: the stream is not one of a message, or flow control is broken.
        """
        c = self._connection
        if not frame.stream_id & UNIDIRECTIONAL:  # SPEC 6.2-1
            raise RemoteProtocolError(ErrorCode.MESSAGE, "MESSAGE frame on a bidirectional stream")
        stream, opened = c.streams.receiver_for_frame(frame.stream_id)
        if stream is None:
            return
        if opened:
            # Announced already: nobody is to be told of its data before it is whole.
            stream.is_message = stream.announced = True
        elif not stream.is_message:
            raise RemoteProtocolError(ErrorCode.MESSAGE, "MESSAGE frame on a stream of bytes")
        c.keep(stream, frame)
        if stream.ended:  # SPEC 6.2-2
            data = bytes(stream.read())
            self.received += 1
            early = c.early is not None and c.early.is_reading
            c.events.append(MessageReceived(data, early))
            c.give_credit(len(data))
            c.forget_if_done(frame.stream_id)
