"""What a loss may have spoilt, kept until it is known to be real (draft-ietf-ccwg-bbr §5.5.11)."""

from __future__ import annotations

from dataclasses import dataclass

from node.protocol.bbr.constants import UNBOUNDED
from node.protocol.bbr.states import State


@dataclass(slots=True)
class Undo:
    """The model as it was before the present recovery period."""

    #: Startup or ProbeBW_UP if the loss ended it.
    state: State | None = None
    bandwidth_shortterm: int = UNBOUNDED
    inflight_shortterm: int = UNBOUNDED
    inflight_longterm: int = UNBOUNDED
