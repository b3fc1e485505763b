"""What a run shows of itself while it goes on: phases, and figures of each flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from node.protocol.time import Duration
from orchestrator.results import CalibrationResult, TimelineResult


class Phase(Enum):
    """Where a run is; the values are what users read."""

    DEPLOYING = "making the lab"
    CALIBRATING = "measuring the links"
    RUNNING = "running the flows"
    COLLECTING = "collecting captures and logs"
    DESTROYING = "removing the lab"
    CHECKING = "checking every captured frame"
    DONE = "done"


class FlowState(Enum):
    """Where a flow is."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    #: The timeline ended it before its end.
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class FlowProgress:
    """Figures of one flow, as last reported."""

    name: str
    source: str
    target: str
    state: FlowState = FlowState.WAITING
    bytes: int = 0
    #: None: nobody knows how many there will be.
    bytes_total: int | None = None
    bits_per_second: float = 0.0
    rtt_ms: float = 0.0
    #: The congestion window, bytes.
    window: int = 0
    packets_sent: int = 0
    packets_lost: int = 0
    retransmitted_packets: int = 0

    @property
    def ratio(self) -> float | None:
        """How much of the flow is done, from 0 to 1; None: unknown."""
        if self.state is FlowState.COMPLETED:
            return 1.0
        return min(1.0, self.bytes / self.bytes_total) if self.bytes_total else None


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot of a run."""

    phase: Phase
    #: The lab's clock since the flows began.
    elapsed: Duration
    flows: tuple[FlowProgress, ...]
    #: Which run it is: its id, lab, back end and seed.
    run_id: str = ""
    lab: str = ""
    backend: str = ""
    seed: int = 0
    #: What the timeline has done, in order.
    happened: tuple[TimelineResult, ...] = ()
    #: What the links did before the flows started; None: not measured yet, or not at all.
    calibration: CalibrationResult | None = None


#: Called with each new snapshot, from the runner's event loop: it must be quick.
Observer: TypeAlias = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Take no notice: the observer of runs that nobody watches."""
