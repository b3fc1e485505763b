"""The control frames of a connection that wait for the next packet."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from node.protocol.wire.frames import AckFrequency, Frame, MaxData, MaxStreamData, MaxStreams

#: Frames that say what holds from now on.
State: TypeAlias = MaxData | MaxStreamData | MaxStreams | AckFrequency


class ControlFrames(deque[Frame]):
    """Control frames waiting, oldest first. Bounded: each kind stands for a state, not a history."""

    __slots__ = ()

    def renew(self, frame: State) -> None:
        """Queue new credit or wishes, in place of an older frame of its kind that has not gone yet."""
        for index, waiting in enumerate(self):
            if type(waiting) is type(frame) and _subject(waiting) == _subject(frame):
                self[index] = frame
                return
        self.append(frame)


def _subject(frame: Frame) -> int | None:
    """What a frame of credit is for: a stream, a kind of streams, or the connection."""
    if isinstance(frame, MaxStreamData):
        return frame.stream_id
    return frame.unidirectional if isinstance(frame, MaxStreams) else None
