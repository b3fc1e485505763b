"""What the application does with the streams of a connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from node.protocol.early_data import EarlyData
from node.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError, check_code
from node.protocol.events import Event, StreamDataReceived
from node.protocol.life import Life
from node.protocol.messages import Messages
from node.protocol.observer import Observer
from node.protocol.packet_builder import PacketBuilder
from node.protocol.recovery.manager import Recovery
from node.protocol.states import OVER, ConnectionState
from node.protocol.streams.flow_control import HALVES_OF_STREAM, ConnectionCredit, window_of_path
from node.protocol.streams.receive import ReceiveStream
from node.protocol.streams.table import UNIDIRECTIONAL, StreamTable
from node.protocol.time import Duration, Instant
from node.protocol.wire.frames import MaxData, MaxStreamData, MaxStreams, ResetStream, StopSending, Stream


class StreamCalls:
    """The part of a connection's face that is about streams."""

    builder: PacketBuilder
    streams: StreamTable
    messages: Messages
    credit: ConnectionCredit
    events: deque[Event]
    observer: Observer | None
    recovery: Recovery
    now: Instant
    early: EarlyData | None
    life: Life
    #: There may be something to transmit.
    wake: Callable[[], None]
    #: Whether it has been woken already, and whether its deadline was asked for since.
    queued: bool
    deadline_known: bool

    def open_stream(self, *, unidirectional: bool = False) -> int:
        """Open a stream and return its id.

        Raises:
            LocalProtocolError: not established, nor is early data possible; or the peer allows no more
                streams for now.
        """
        self.need_open()
        stream_id = self.streams.open(unidirectional=unidirectional)
        if not unidirectional:
            self.begin_window(self.streams.receiver(stream_id))
        return stream_id

    @property
    def multiplexed(self) -> bool:
        """Whether there is more than one stream: always."""
        return True

    def may_open_stream(self) -> bool:
        """Return whether the peer allows one more bidirectional stream now."""
        return self.writable and self.streams.may_open(unidirectional=False)

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """Append data to a stream, and maybe end it. The data is kept by reference: leave it alone.

        Raises:
            LocalProtocolError: no such stream, or it is ended or reset.
        """
        if self.life.state is not ConnectionState.ESTABLISHED:
            self.need_open()
        stream = self.streams.sender(stream_id)
        stream.write(data, end=end)
        if self.observer is not None:
            self.observer.wrote(stream, len(data))
        self.streams.mark_ready(stream)
        if not self.queued or self.deadline_known:
            self.wake()

    def send_message(
        self, data: bytes | bytearray | memoryview, deadline: Instant | None = None, *, now: Instant
    ) -> int:
        """Send a message: it arrives whole, in no order with others, or not at all (SPEC 6.2).

        Args:
            deadline: when to give it up if it is not acknowledged by then; None: never.

        Returns:
            Its number; ``MessageAcknowledged`` or ``MessageExpired`` follows, unless the connection ends.

        Raises:
            LocalProtocolError: not established, the message is too long, or too many wait already.
        """
        self.need_open()
        number = self.messages.send(bytes(data), deadline=deadline, now=now)
        self.wake()
        return number

    @property
    def message_backlog(self) -> int:
        """Bytes of messages that wait for the peer to allow a stream for them."""
        return self.messages.waiting_bytes

    def backlog(self, stream_id: int) -> int:
        """Return how many bytes of a stream are written and not yet acknowledged; 0 when it is over."""
        stream = self.streams.senders.get(stream_id)
        return stream.backlog if stream is not None else 0

    def read(self, stream_id: int) -> bytearray:
        """Return all bytes that arrived in order and were not read yet, and give the peer new credit.

        A stream that is over gives no bytes.

        Raises:
            LocalProtocolError: there never was such a stream, or it is a message's, which comes whole as an
                event (SPEC 6.2-2).
        """
        if stream_id not in self.streams.receivers and self.streams.was_opened(stream_id):
            return bytearray()
        stream = self.streams.receiver(stream_id)
        if stream.is_message:
            raise LocalProtocolError(f"stream {stream_id} carries a message: it comes whole, as an event")
        data = stream.read()
        if self.life.state not in OVER:
            if stream.window.consume(len(data)) and stream.final_size is None:
                maximum = stream.window.raise_maximum(rtt=self.recovery.rtt.smoothed_rtt, now=self.now)
                self.builder.control.renew(MaxStreamData(stream_id, maximum))
                # SPEC 6.3-2: a stream that grew past the connection's window would have grown in vain.
                self.credit.window.grow_to(stream.window.size * HALVES_OF_STREAM // 2)
            self.give_credit(len(data))
            if self.observer is not None:
                self.observer.read(stream, len(data))
            if stream.final_size is not None:
                self.forget_if_done(stream_id)
            if not self.queued or self.deadline_known:
                self.wake()
        return data

    def reset_stream(self, stream_id: int, code: int) -> None:
        """Give up sending on a stream."""
        self.need_open()
        check_code(code)
        stream = self.streams.sender(stream_id)
        stream.reset(code)
        self.builder.control.append(ResetStream(stream_id, code, stream.high_water))
        self.wake()

    def stop_sending(self, stream_id: int, code: int) -> None:
        """Ask the peer to give up sending on a stream."""
        self.need_open()
        check_code(code)
        self.streams.receiver(stream_id)
        self.builder.control.append(StopSending(stream_id, code))
        self.wake()

    @property
    def writable(self) -> bool:
        """Whether streams can be opened and written: established, or early data is possible."""
        return self.life.state is ConnectionState.ESTABLISHED or (
            self.early is not None and self.life.state not in OVER
        )

    # -- for the parts of the connection

    def announce(self, stream: ReceiveStream) -> None:
        """Tell the application that a stream has news, once until it reads; and of its end."""
        early = self.early is not None and self.early.is_reading
        if stream.announced:  # news of the end takes the place of older news not taken yet
            for was_early in (False, True):
                older = StreamDataReceived(stream.stream_id, ended=False, early=was_early)
                if older in self.events:
                    self.events.remove(older)
                    early = early or was_early
        stream.announced = True
        self.events.append(StreamDataReceived(stream.stream_id, stream.ended, early))

    def begin_windows(self, rtt: Duration) -> None:
        """Widen the windows for the path that the handshake has shown (SPEC 6.3-5)."""
        self.streams.path_window = window_of_path(rtt)
        window = self.credit.window
        if window.begin_with(self.streams.path_window * HALVES_OF_STREAM // 2):
            self.builder.control.renew(MaxData(window.maximum))

    def begin_window(self, stream: ReceiveStream) -> None:
        """Widen the window of a new stream for the path, and tell the peer of it (SPEC 6.3-5)."""
        if self.streams.path_window > stream.window.size and stream.window.begin_with(
            self.streams.path_window
        ):
            self.builder.control.renew(MaxStreamData(stream.stream_id, stream.window.maximum))

    def keep(self, stream: ReceiveStream, frame: Stream) -> None:
        """Put a frame's data into its stream, under both windows.

        Raises:
            RemoteProtocolError: final size or flow control.
        """
        rise = max(0, frame.offset + len(frame.data) - stream.highest)
        if self.credit.to_receive < rise:
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "data beyond the connection's window")
        self.credit.take(stream.receive(frame.offset, frame.data, fin=frame.fin))

    def give_credit(self, count: int) -> None:
        """Let the peer send as much again as was read, or will never be read."""
        if self.credit.window.consume(count):
            maximum = self.credit.window.raise_maximum(rtt=self.recovery.rtt.smoothed_rtt, now=self.now)
            self.builder.control.renew(MaxData(maximum))

    def forget_if_done(self, stream_id: int) -> None:
        """Drop a stream that is over, and let the peer open another."""
        if self.observer is not None:
            self.observer.stream_changed(stream_id)
        limit = self.streams.forget_if_done(stream_id)
        if limit is not None:
            self.builder.control.renew(MaxStreams(limit, bool(stream_id & UNIDIRECTIONAL)))

    # -- what they need of the connection

    def need_open(self) -> None:
        """Refuse what needs streams.

        Raises:
            LocalProtocolError: the connection is not established, or is over.
        """
        if not self.writable:
            raise LocalProtocolError(f"the connection is {self.life.state.value}, not established")
