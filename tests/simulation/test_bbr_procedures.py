"""The 22 test procedures of draft-ietf-ccwg-bbr, appendix "BBR Example Test Cases", in its order.

Read in the working group's text of 2026 (repository ietf-wg-ccwg/draft-ietf-ccwg-bbr). Each test is named
after its procedure; where one asks for what a single flow on a steady link does not do by itself, the
docstring says how it was brought about.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from node.protocol.bbr.constants import BETA, MIN_RTT_WINDOW, PROBE_RTT_DURATION, UNBOUNDED
from node.protocol.bbr.states import GAINS, PROBE_BW, State
from node.protocol.congestion.bbr import Bbr
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from tests.support.bottleneck import SIZE, Bottleneck
from tests.support.samples import loss_sample

MBPS = 1_000_000
RTT = 40 * MILLISECOND


class Flow(Bottleneck):
    """A BBR flow over a bottleneck, and the states it went through."""

    def __init__(
        self, *, rate_bps: int = 10 * MBPS, rtt: Duration = RTT, queue: int = 1000, ack_clock: Duration = 0,
        application_bps: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__("bbr", rate_bps=rate_bps, rtt=rtt, queue=queue, ack_clock=ack_clock)
        assert isinstance(self.controller, Bbr)
        self.bbr = self.controller
        self.application_bps = application_bps
        #: (when, state, bytes in flight then), at each change seen after an acknowledgement.
        self.history: list[tuple[Instant, State, int]] = [(0, self.bbr.state, 0)]
        self.watch = self._note

    def _note(self) -> None:
        if self.history[-1][1] is not self.bbr.state:
            self.history.append((self.now, self.bbr.state, self.recovery.bytes_in_flight))

    def until(self, *states: State, limit: Duration = 20 * SECOND) -> None:
        """Go on until it is in one of the states."""
        self.run_until(lambda: self.bbr.state in states, limit=limit)

    def while_in(self, state: State, *, limit: Duration = 20 * SECOND) -> None:
        """Go on until it is no longer in a state."""
        self.run_until(lambda: self.bbr.state is not state, limit=limit)

    def state(self) -> State:
        """Return the state; a method, since it changes between any two looks."""
        return self.bbr.state

    def states(self) -> list[State]:
        return [state for _, state, _ in self.history]

    @property
    def max_bandwidth_bps(self) -> int:
        return self.bbr.model.max_bandwidth.value * 8

    def filled(self) -> int:
        """What fills the pipe by the model: BBRInflight(1.0)."""
        model = self.bbr.model
        bdp = model.bdp(bandwidth=model.max_bandwidth.value)
        return model.quantized(bdp, quantum=self.bbr.send_quantum or 0, state=self.bbr.state)


def every(count: int) -> Callable[[int], bool]:
    """Drop one packet in ``count``."""
    return lambda number: number % count == 0


def test_01_exiting_startup_on_bandwidth_plateau() -> None:
    """SPEC 8.1.3-1."""
    flow = Flow()
    flow.run_until(lambda: flow.bbr.model.full_pipe.reached)
    assert flow.bbr.model.full_pipe.now
    assert flow.bbr.model.full_pipe.count == 3
    assert flow.state() is State.DRAIN
    assert flow.max_bandwidth_bps == pytest.approx(10 * MBPS, rel=0.02)


def test_02_exiting_startup_on_loss_when_application_limited() -> None:
    flow = Flow(rate_bps=20 * MBPS, rtt=100 * MILLISECOND, application_bps=10 * MBPS)
    flow.run_for(2 * SECOND)
    assert flow.recovery.rate.is_app_limited
    assert flow.states() == [State.STARTUP]
    flow.drop = every(10)
    flow.while_in(State.STARTUP, limit=SECOND)
    # So little is in flight that Drain is over with the acknowledgement that began it.
    assert flow.state() in (State.DRAIN, State.PROBE_BW_DOWN, State.PROBE_BW_CRUISE)
    assert flow.bbr.undo.state is State.STARTUP
    assert flow.bbr.model.full_pipe.now
    assert flow.bbr.model.full_pipe.reached
    assert flow.bbr.model.long_term.inflight < UNBOUNDED


def test_03_exiting_drain_based_on_inflight() -> None:
    flow = Flow()
    flow.until(State.DRAIN)
    bandwidth = flow.bbr.model.bandwidth
    assert flow.bbr.pacing_rate == pytest.approx(0.5 * 0.99 * bandwidth, rel=0.001)
    assert flow.recovery.bytes_in_flight > flow.filled()
    flow.while_in(State.DRAIN)
    assert flow.state() in PROBE_BW
    assert flow.history[-1][2] <= flow.filled()


def test_04_exiting_drain_based_on_time() -> None:
    """The text lowers the bandwidth by 10 %, which half the pace still drains; 60 % keeps the queue."""
    flow = Flow()
    flow.until(State.DRAIN)
    began = flow.bbr.model.rounds.count
    flow.set_rate(4 * MBPS)
    flow.while_in(State.DRAIN)
    assert flow.bbr.model.rounds.count == began + 4  # "round_count > drain_start_round + 3"
    assert flow.state() in PROBE_BW
    assert flow.recovery.bytes_in_flight > flow.filled()


def test_05_exiting_probe_up_on_bandwidth_plateau() -> None:
    flow = Flow()
    flow.until(State.PROBE_BW_UP)
    assert flow.bbr.model.full_pipe.count == 0
    began = flow.bbr.model.rounds.count
    flow.while_in(State.PROBE_BW_UP)
    assert flow.state() is State.PROBE_BW_DOWN
    assert flow.bbr.model.full_pipe.now
    assert flow.bbr.model.full_pipe.count >= 3
    assert flow.bbr.model.rounds.count >= began + 3
    assert flow.dropped == 0


def test_06_exiting_probe_up_on_loss_when_application_limited() -> None:
    flow = Flow()
    flow.until(State.PROBE_BW_UP)
    flow.application_bps = 6 * MBPS
    flow.run_for(10 * RTT)
    assert flow.state() is State.PROBE_BW_UP
    assert flow.recovery.rate.is_app_limited
    flow.drop = every(20)
    flow.while_in(State.PROBE_BW_UP, limit=SECOND)
    # So little is in flight that ProbeBW_DOWN may be over with the acknowledgement that began it.
    assert flow.state() in (State.PROBE_BW_DOWN, State.PROBE_BW_CRUISE)
    assert flow.bbr.undo.state is State.PROBE_BW_UP
    assert flow.bbr.cycle.too_high
    # HandleInflightTooHigh() leaves the bound as it is: little was in flight for want of data.
    assert flow.bbr.model.long_term.inflight == UNBOUNDED


@pytest.mark.parametrize("state", [State.STARTUP, State.PROBE_BW_UP])
def test_07_never_exiting_probe_up_or_startup_when_application_limited_with_no_loss(state: State) -> None:
    flow = Flow(application_bps=2 * MBPS if state is State.STARTUP else None)
    flow.until(state)
    flow.application_bps = 2 * MBPS
    flow.run_for(6 * SECOND)
    assert flow.history[-1][1] is state


def test_08_exiting_probe_down_on_inflight() -> None:
    flow = Flow(queue=20)
    flow.until(State.PROBE_BW_UP)
    flow.until(State.PROBE_BW_DOWN)
    model = flow.bbr.model
    assert flow.bbr.pacing_rate == pytest.approx(0.9 * 0.99 * model.bandwidth, rel=0.001)
    assert flow.recovery.bytes_in_flight > min(flow.filled(), model.long_term.with_headroom)
    flow.while_in(State.PROBE_BW_DOWN)
    assert flow.state() is State.PROBE_BW_CRUISE
    assert flow.history[-1][2] <= min(flow.filled(), model.long_term.with_headroom)


def test_09_exiting_probe_down_after_max_time() -> None:
    flow = Flow(rtt=100 * MILLISECOND)
    flow.until(State.PROBE_BW_UP)
    flow.until(State.PROBE_BW_DOWN)
    began, wait = flow.now, flow.bbr.cycle.wait
    flow.set_rate(8_500_000)
    flow.while_in(State.PROBE_BW_DOWN)
    assert flow.state() is State.PROBE_BW_REFILL
    assert wait < flow.now - began < wait + 2 * flow.rtt
    assert 2 * SECOND <= wait < 3 * SECOND


def test_10_entering_and_exiting_probe_rtt() -> None:
    """SPEC 8.1.3-8.

    A longer path stands in for a standing queue of others: samples before the expiry are inflated.
    """
    flow = Flow()
    flow.until(State.PROBE_BW_CRUISE)
    flow.set_rate(10 * MBPS, delay="40ms")  # the way there, up from 20 ms
    flow.until(State.PROBE_RTT)
    entered, rounds = flow.now, flow.bbr.model.rounds.count
    assert entered > MIN_RTT_WINDOW
    assert GAINS[flow.bbr.state].window == 0.5
    bandwidth, kept = flow.bbr.model.bandwidth, flow.bbr.probe_rtt_window
    assert kept == pytest.approx(bandwidth * 0.5 * RTT / SECOND, rel=0.02)
    assert flow.bbr.model.min_rtt.value is not None
    assert flow.bbr.model.min_rtt.value > 1.4 * RTT  # the inflated sample is in force, and was not used
    windows: list[int] = []
    flow.watch = lambda: windows.append(flow.bbr.probe_rtt_window)
    flow.while_in(State.PROBE_RTT)
    assert set(windows) == {kept}
    assert flow.now - entered > PROBE_RTT_DURATION
    assert flow.bbr.model.rounds.count > rounds
    assert flow.now - entered < PROBE_RTT_DURATION + 6 * RTT
    assert flow.state() is State.PROBE_BW_CRUISE
    before = flow.delivered
    flow.run_for(SECOND)
    assert flow.delivered - before > 0.9 * 10 * MBPS / 8


def test_11_skipping_probe_rtt_due_to_application_limited_sending() -> None:
    flow = Flow()
    flow.until(State.PROBE_BW_CRUISE)
    flow.application_bps = 0
    flow.run_for(11 * SECOND)
    assert flow.recovery.bytes_in_flight == 0
    flow.application_bps = None
    flow.wake()
    assert flow.bbr.idle_restart
    assert flow.bbr.pacing_rate == pytest.approx(0.99 * flow.bbr.model.bandwidth, rel=0.001)
    flow.run_for(2 * SECOND)
    assert State.PROBE_RTT not in flow.states()
    assert not flow.bbr.idle_restart


def test_12_achieving_expected_startup_bandwidth_on_a_link_with_aggregation() -> None:
    flow = Flow(ack_clock=20 * MILLISECOND)
    seen: list[tuple[int, int]] = []
    flow.watch = lambda: seen.append((flow.bbr.congestion_window, flow.bbr.model.bdp()))
    flow.while_in(State.STARTUP)
    # §3.8: samples of clumped acknowledgements overestimate in Startup, up to the rate of sending.
    assert 0.98 * 10 * MBPS < flow.max_bandwidth_bps < 1.5 * 10 * MBPS
    assert flow.bbr.model.aggregation.extra_acked > 10 * SIZE
    assert any(window > 2 * bdp for window, bdp in seen[len(seen) // 2 :])


def test_13_achieving_expected_cruise_bandwidth_on_a_link_with_aggregation() -> None:
    flow = Flow()
    flow.until(State.PROBE_BW_CRUISE)
    flow.run_for(SECOND)
    before = flow.bbr.congestion_window
    flow.ack_clock = 30 * MILLISECOND
    flow.run_for(SECOND)
    model, start = flow.bbr.model, flow.delivered
    assert model.aggregation.extra_acked == pytest.approx(10 * MBPS // 8 * 30 // 1000, rel=0.35)
    assert flow.bbr.congestion_window > before + model.aggregation.extra_acked // 2
    flow.run_for(2 * SECOND)
    assert (flow.delivered - start) * 8 > 0.95 * 2 * 10 * MBPS
    flow.ack_clock = 0
    flow.run_for(50 * RTT)  # ten round trips later the samples are forgotten
    assert model.aggregation.extra_acked < 5 * SIZE


def test_14_correctly_managing_sub_packet_bdps() -> None:
    flow = Flow(rate_bps=100_000, rtt=10 * MILLISECOND)
    flow.until(*PROBE_BW, limit=60 * SECOND)
    flow.run_for(SECOND)
    assert flow.bbr.model.bdp() < 4 * SIZE
    start, windows = flow.delivered, set[int]()
    flow.watch = lambda: windows.add(flow.bbr.congestion_window)
    flow.run_for(20 * SECOND)
    assert min(windows) == 4 * SIZE
    assert (flow.delivered - start) * 8 > 0.95 * 20 * 100_000
    assert flow.bbr.model.bandwidth * 8 == pytest.approx(100_000, rel=0.05)


def test_15_increasing_bandwidth_10x_and_ensuring_full_bandwidth_is_reached() -> None:
    flow = Flow(queue=20)
    flow.until(State.PROBE_BW_UP)
    flow.until(State.PROBE_BW_CRUISE)
    flow.queue = 1000
    flow.set_rate(100 * MBPS)
    bounds: list[tuple[int, int]] = []
    flow.watch = lambda: bounds.append((flow.bbr.model.rounds.count, flow.bbr.model.long_term.inflight))
    flow.until(State.PROBE_BW_UP)
    began = flow.bbr.model.rounds.count
    flow.run_until(lambda: flow.max_bandwidth_bps > 95 * MBPS)
    # 10 times the product is 3.3 doublings; the bound takes another 10 or so to come from one packet to it.
    assert flow.bbr.model.rounds.count - began < 40
    at_round = [
        max(bound for at, bound in bounds if at == count) for count in sorted({at for at, _ in bounds})
    ]
    steps = [after - before for before, after in pairwise(at_round) if after > before]
    growing = steps[1:5]
    assert len(growing) == 4
    assert all(1.5 < later / earlier < 2.6 for earlier, later in pairwise(growing))


def test_16_decreasing_bandwidth_10x_and_ensuring_max_bandwidth_adapts_down() -> None:
    flow = Flow(rate_bps=100 * MBPS, queue=200)
    flow.until(State.PROBE_BW_CRUISE)
    flow.run_for(SECOND // 2)
    flow.set_rate(10 * MBPS)
    flow.run_until(lambda: flow.bbr.model.short_term.loss_in_round)
    began = flow.bbr.model.rounds.count
    flow.run_until(lambda: flow.bbr.model.rounds.count == began + 5)
    assert flow.bbr.model.short_term.bandwidth * 8 < 0.7**3 * 100 * MBPS
    cycles = 0
    while cycles < 3:
        flow.until(State.PROBE_BW_UP)
        flow.while_in(State.PROBE_BW_UP)
        cycles += 1
    flow.run_for(20 * RTT)
    assert flow.max_bandwidth_bps == pytest.approx(10 * MBPS, rel=0.05)


def test_17_handling_token_bucket_policers() -> None:
    flow = Flow(rate_bps=100 * MBPS)
    tokens, since = 50_000.0, 0

    def police(number: int) -> bool:
        nonlocal tokens, since
        tokens = min(50_000.0, tokens + (flow.now - since) * 5 * MBPS / 8 / SECOND)
        since = flow.now
        if tokens < SIZE:
            return True
        tokens -= SIZE
        return False

    flow.drop = police
    flow.until(*PROBE_BW)
    flow.run_until(lambda: flow.bbr.model.short_term.bandwidth < UNBOUNDED)
    assert flow.bbr.model.short_term.inflight < UNBOUNDED
    flow.run_for(4 * SECOND)
    start, sent, dropped = flow.delivered, flow.sent, flow.dropped
    flow.run_for(8 * SECOND)
    assert (flow.delivered - start) * 8 > 0.8 * 8 * 5 * MBPS
    # What is left are the probes: a quarter more for a round trip, every two to three seconds.
    assert (flow.dropped - dropped) / (flow.sent - sent) < 0.06


def test_18_handling_spurious_fast_recovery() -> None:
    flow = Flow(queue=60)
    flow.until(State.PROBE_BW_UP)
    model = flow.bbr.model
    before = (model.short_term.bandwidth, model.short_term.inflight, model.long_term.inflight)
    window = flow.bbr.congestion_window
    flow.hold = lambda number: RTT // 2 if number % 10 < 2 else 0
    flow.while_in(State.PROBE_BW_UP, limit=SECOND)
    assert flow.state() is State.PROBE_BW_DOWN
    undo = flow.bbr.undo
    assert undo.state is State.PROBE_BW_UP
    assert (undo.bandwidth_shortterm, undo.inflight_shortterm, undo.inflight_longterm) == before
    flow.controller.on_spurious_loss()
    assert (model.short_term.bandwidth, model.short_term.inflight, model.long_term.inflight) == before
    assert flow.bbr.congestion_window >= window
    assert flow.state() is State.PROBE_BW_REFILL  # the way back to ProbeBW_UP
    flow.hold = lambda number: 0
    flow.until(State.PROBE_BW_UP, limit=4 * RTT)


def test_19_handling_spurious_rto_recovery() -> None:
    """All that is in flight comes late, and is declared lost over so long a time that it is persistent."""
    flow = Flow(queue=60)
    flow.until(State.PROBE_BW_UP)
    model = flow.bbr.model
    before = (model.short_term.bandwidth, model.short_term.inflight, model.long_term.inflight)
    window = flow.bbr.congestion_window
    flow.controller.on_lost(loss_sample(flow.recovery.bytes_in_flight, sent=flow.now, now=flow.now + SECOND))
    flow.controller.on_persistent_congestion()
    assert flow.bbr.congestion_window == 2 * SIZE
    assert flow.bbr.undo.state is State.PROBE_BW_UP
    undo = flow.bbr.undo
    assert (undo.bandwidth_shortterm, undo.inflight_shortterm, undo.inflight_longterm) == before
    flow.controller.on_spurious_loss()
    assert (model.short_term.bandwidth, model.short_term.inflight, model.long_term.inflight) == before
    assert flow.bbr.congestion_window == window
    flow.until(State.PROBE_BW_UP, limit=4 * RTT)


def test_20_entering_and_exiting_probe_rtt_during_startup() -> None:
    flow = Flow(application_bps=2 * MBPS)
    flow.run_for(SECOND)
    flow.set_rate(10 * MBPS, delay="40ms")  # no sample comes near the old min_rtt again
    flow.until(State.PROBE_RTT)
    assert flow.states() == [State.STARTUP, State.PROBE_RTT]
    assert not flow.bbr.model.full_pipe.reached
    flow.while_in(State.PROBE_RTT, limit=SECOND)
    assert flow.state() is State.STARTUP
    flow.application_bps = None
    flow.wake()
    flow.until(State.DRAIN)
    assert flow.max_bandwidth_bps == pytest.approx(10 * MBPS, rel=0.02)


def test_21_handling_loss_during_probe_up_after_inflight_longterm_is_set() -> None:
    """SPEC 8.1.3-2."""
    flow = Flow(queue=60)
    flow.until(State.PROBE_BW_UP)
    flow.bbr.model.long_term.inflight = bound = 90 * SIZE
    assert not flow.bbr.model.full_pipe.now
    flow.drop = every(8)
    flow.while_in(State.PROBE_BW_UP, limit=SECOND)
    assert flow.state() is State.PROBE_BW_DOWN
    assert not flow.bbr.model.full_pipe.now
    assert flow.bbr.cycle.too_high
    assert BETA * flow.bbr.model.bdp() * 0.99 <= flow.bbr.model.long_term.inflight < bound


def test_22_handling_application_limited_sending_during_probe_refill() -> None:
    flow = Flow()
    flow.until(State.PROBE_BW_REFILL)
    before = flow.bbr.model.max_bandwidth.value
    flow.application_bps = MBPS
    flow.until(State.PROBE_BW_UP, limit=8 * RTT)
    assert flow.bbr.model.max_bandwidth.value == before
    flow.run_for(4 * RTT)
    assert flow.bbr.model.max_bandwidth.value == before
    flow.application_bps = None
    flow.wake()
    flow.until(State.PROBE_BW_DOWN)
    flow.until(State.PROBE_BW_UP)
    assert flow.max_bandwidth_bps == pytest.approx(10 * MBPS, rel=0.02)
