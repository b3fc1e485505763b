"""BBRv3 (draft-ietf-ccwg-bbr): sends as fast as the path delivers, with little more in flight than it holds.

This file is the state machine: `node.protocol.bbr.states` has its states and transitions, the other
modules of `node.protocol.bbr` what it knows of the path. Methods keep the order of the draft's steps.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from node.protocol.bbr.constants import (
    BETA,
    DOWN_ROUNDS,
    DRAIN_ROUNDS,
    MAX_QUANTUM_BYTES,
    MIN_PIPE_PACKETS,
    MIN_QUANTUM_PACKETS,
    PACING_MARGIN_PERCENT,
    PROBE_RTT_DURATION,
    QUANTUM_TIME,
    UNBOUNDED,
)
from node.protocol.bbr.cycle import ProbeCycle
from node.protocol.bbr.jump import Jump
from node.protocol.bbr.long_term import inflight_at_loss, is_too_high
from node.protocol.bbr.path_model import PathModel
from node.protocol.bbr.recovery_period import RecoveryPeriod
from node.protocol.bbr.states import GAINS, PROBE_BW, TRANSITIONS, AckPhase, Event, State, volume_cap
from node.protocol.bbr.undo import Undo
from node.protocol.congestion.base import (
    CONTROLLERS,
    MINIMUM_WINDOW_PACKETS,
    initial_window,
    resized_window,
)
from node.protocol.recovery.samples import AckSample, LossSample, LostBurst
from node.protocol.time import SECOND, Duration, Instant


@CONTROLLERS.register("bbr")
class Bbr:
    """The controller (SPEC 8.1.3). Names of the draft are kept where they say what they mean."""

    name: ClassVar[str] = "bbr"

    def __init__(self, max_datagram_size: int, *, rng: Random) -> None:
        self.congestion_window = initial_window(max_datagram_size)
        self.ssthresh: int | None = None
        self.pacing_rate: int | None = None
        self.send_quantum: int | None = None
        self.state = State.STARTUP
        self.model = PathModel(max_datagram_size=max_datagram_size, initial_window=self.congestion_window)
        self.cycle = ProbeCycle(rng)
        self.undo = Undo()
        #: Window that ProbeRTT keeps to: half of what the path held before min_rtt expired.
        self.probe_rtt_window = self.congestion_window
        #: Whether what was sent last was the first after idleness.
        self.idle_restart = False
        self._packet = max_datagram_size
        self._initial_window = self.congestion_window
        self._recovery = RecoveryPeriod()
        #: The window before recovery or ProbeRTT lowered it.
        self._prior_window = 0
        self._drain_start_round = 0
        #: Whether it was loss that ended Startup, and no probe has found the path's limit since.
        self._cut_short = False
        self._probe_rtt_done: Instant | None = None
        self._probe_rtt_round_done = False
        self._marked = False
        self._jump = Jump()

    # -- what loss recovery tells

    @property
    def phase(self) -> str:
        """The state."""
        return self.state.value

    def on_handshake_rtt(self, rtt: Duration, *, now: Instant) -> None:
        """§5.2.1, §5.6.2: the first pacing rate sends the initial window in a part of a round trip."""
        self.model.min_rtt.update(rtt, now)
        self._init_pacing_rate(rtt)

    def on_remembered_path(self, window: int, *, rtt: Duration, now: Instant) -> None:
        """SPEC 8-7: Startup begins there. It lowers neither window nor rate before it has filled the pipe."""
        self._jump.resume(window)
        self.congestion_window = max(self.congestion_window, window)
        self.pacing_rate = max(self.pacing_rate or 1, self._jump.pacing_rate(rtt))
        self._set_send_quantum()

    @property
    def max_datagram_size(self) -> int:
        """Bytes of a full packet; a new size is counted in from then on (SPEC 8.1-3)."""
        return self._packet

    @max_datagram_size.setter
    def max_datagram_size(self, size: int) -> None:
        self.congestion_window = resized_window(self.congestion_window, before=self._packet, size=size)
        self._packet, self._initial_window = size, initial_window(size)
        self.model.resize(size, initial_window=self._initial_window)
        self.probe_rtt_window = max(self.probe_rtt_window, MIN_PIPE_PACKETS * size)
        if self.pacing_rate is not None:
            self._set_send_quantum()

    def on_sent(self, size: int, *, now: Instant, prior_in_flight: int, is_app_limited: bool) -> None:
        """§5.2.2: a flow that was idle paces at what it knows of the path."""
        if not prior_in_flight and is_app_limited:
            self._restart_from_idle(now)
        if prior_in_flight + size + self._packet > self.congestion_window:
            self.model.rounds.note_window_limited()

    def on_ack(self, sample: AckSample) -> None:
        """§5.2.3 UpdateOnACK()."""
        model, now = self.model, sample.now
        if self.pacing_rate is None:
            self._init_pacing_rate(now - sample.newest_sent)
        if self._recovery.note_acknowledged(sample.newest_sent):
            self._restore_window()
        app_limited = sample.is_app_limited or model.is_throttled(sample.prior_delivered)
        rate = 0 if self._jump.over else self._jump.pacing_rate(model.min_rtt.value or 0)
        model.take(
            sample, state=self.state, window=self.congestion_window, app_limited=app_limited, jump_rate=rate
        )
        if self._marked:
            self._handle_marks(sample, app_limited=app_limited)
        if model.short_term.round_started or self.state is State.STARTUP:
            self._check_startup_done(sample)
        if self.state is State.DRAIN:
            self._check_drain_done(sample)
        if model.full_pipe.reached:
            self._update_cycle(sample, app_limited=app_limited)
        self._update_min_rtt(sample)
        if model.min_rtt.expired or self.state is State.PROBE_RTT:
            self._check_probe_rtt(sample)
        self.idle_restart = False
        model.finish(sample)
        self._set_pacing_rate(GAINS[self.state].pacing)
        self._set_window(sample)
        if not self._jump.over:
            self._jump_ahead(sample)
        self._set_send_quantum()

    def on_lost(self, sample: LossSample) -> None:
        """§5.2.4: HandleLostPacket() for each burst with losses."""
        chance = self.model.random_loss
        # What Startup or a probe sent and lost was answered by its end; nor does it say what the path loses.
        unanswered = sum([burst.size for burst in sample.bursts if not self.model.is_answered(burst.sent)])
        chance.note_lost(unanswered)
        if chance.ratio:
            self.model.short_term.note_chance(unanswered)
        ranges = sum([burst.ranges for burst in sample.bursts])
        self._note_loss(sample.now, ranges=ranges, counts=bool(unanswered) and not chance.ratio)
        for burst in sample.bursts:
            if self.cycle.is_probe_sample and self._is_too_high(burst):
                self._handle_inflight_too_high(
                    _inflight_at(burst), app_limited=burst.is_app_limited, now=sample.now
                )

    def on_congestion_experienced(self, *, newest_sent: Instant, now: Instant) -> None:
        """SPEC 8.1.3-5, §3.7: a mark is a loss; what it means waits for the sample of its acknowledgement."""
        self._note_loss(now, marked=True)
        self._marked = True

    def on_spurious_loss(self) -> None:
        """SPEC 8.1.3-7, §5.5.11 HandleSpuriousLossDetection()."""
        model, undo = self.model, self.undo
        self._restore_window()
        model.short_term.loss_in_round = False
        model.full_pipe.reset()
        model.short_term.bandwidth = max(model.short_term.bandwidth, undo.bandwidth_shortterm)
        model.short_term.inflight = max(model.short_term.inflight, undo.inflight_shortterm)
        model.long_term.inflight = max(model.long_term.inflight, undo.inflight_longterm)
        model.bound_bandwidth()
        if undo.state is State.STARTUP and self.state is not State.STARTUP:
            self._search_again()
        elif undo.state is State.PROBE_BW_UP and self.state not in (State.PROBE_BW_UP, State.PROBE_RTT):
            self._start_refill()
        undo.state = None

    def on_persistent_congestion(self) -> None:
        """SPEC 8.1.3-4, §5.6.4.4 OnEnterRTO(): nothing came back, so begin again with the least."""
        self._save_window()
        self.congestion_window = MINIMUM_WINDOW_PACKETS * self._packet

    # -- Startup and Drain (§5.3.1, §5.3.2)

    def _check_startup_done(self, sample: AckSample) -> None:
        model = self.model
        if model.short_term.round_started:
            too_high = self._is_too_high(sample)
            if self._recovery.end_round(is_too_high=too_high) and not model.full_pipe.reached:
                self.undo.state = State.STARTUP
                self._cut_short = True
                model.full_pipe.fill()
                model.long_term.inflight = max(model.bdp(), model.short_term.inflight_latest)
        if self.state is State.STARTUP and self._jump.sees_queue(
            sample.now - sample.newest_sent, model.min_rtt.value or 0
        ):
            model.full_pipe.fill()
        if self.state is State.STARTUP and model.full_pipe.reached:
            self._go(Event.PIPE_FULL)
            self._drain_start_round = model.rounds.count
            self.model.answer_losses(sample.now)

    def _search_again(self) -> None:
        """The loss that ended Startup was spurious, or chance (SPEC 8.1.3-7, 8.1.3-10): go on with it."""
        self._cut_short = False
        self.model.full_pipe.reset()
        self.model.full_pipe.reached = False
        if self.state is not State.PROBE_RTT:
            self._go(Event.SEARCH_AGAIN)

    def _jump_ahead(self, sample: AckSample) -> None:
        """SPEC 8.1.3-9: on a long path the first flight says how large the next may be."""
        jump, rtt = self._jump, self.model.min_rtt.value or 0
        jump.update(sample, round_count=self.model.rounds.count, min_rtt=rtt)
        if jump.over or self.state is not State.STARTUP or self._recovery.active:
            jump.over = True
            return
        self.congestion_window = max(self.congestion_window, jump.window)
        self.pacing_rate = max(self.pacing_rate or 0, jump.pacing_rate(rtt))

    def _check_drain_done(self, sample: AckSample) -> None:
        waited = self.model.rounds.count > self._drain_start_round + DRAIN_ROUNDS
        if waited or sample.bytes_in_flight <= self._inflight(self.model.bandwidth):
            self._start_down(Event.DRAINED, now=sample.now)

    # -- ProbeBW (§5.3.3)

    def _update_cycle(self, sample: AckSample, *, app_limited: bool) -> None:
        """UpdateProbeBWCyclePhase()."""
        if self._adapt_long_term(sample, app_limited=app_limited) or self.state not in PROBE_BW:
            return
        state, model = self.state, self.model
        if state is State.PROBE_BW_REFILL:
            if model.rounds.started:
                self.cycle.is_probe_sample = True
                self._start_up(sample)
        elif state is State.PROBE_BW_UP:
            if self._is_time_to_go_down(sample):
                self.cycle.too_high = self._cut_short = False
                self._start_down(Event.LIMIT, now=sample.now)
        elif model.chance_found and self._cut_short:
            self._jump.watches_queue = True
            self._search_again()
        elif model.chance_found or self._is_time_to_probe(sample.now):
            self._start_refill()
        elif state is State.PROBE_BW_DOWN:
            bdp = self._inflight(model.max_bandwidth.value)
            if not model.is_filled(sample.bytes_in_flight, at_most=bdp):
                self._go(Event.ROOM)

    def _adapt_long_term(self, sample: AckSample, *, app_limited: bool) -> bool:
        """AdaptLongTermModel(): whether it decided on a new state."""
        cycle, model, started = self.cycle, self.model, self.model.rounds.started
        if started and cycle.ack_phase is AckPhase.PROBE_STARTING:
            cycle.ack_phase = AckPhase.PROBE_FEEDBACK
        elif started and cycle.ack_phase is AckPhase.PROBE_STOPPING:
            cycle.is_probe_sample = False
            cycle.ack_phase = AckPhase.INIT
            if self.state in PROBE_BW:
                if not app_limited:
                    model.max_bandwidth.advance()
                if cycle.precautionary and not cycle.too_high:
                    self._start_refill()
                    return True
        long_term = model.long_term
        if long_term.inflight == UNBOUNDED or self._is_too_high(sample):
            return False
        long_term.inflight = max(long_term.inflight, sample.tx_in_flight)
        if self.state is State.PROBE_BW_UP:
            long_term.grow(
                sample.acked_bytes,
                window=self.congestion_window,
                window_limited=model.rounds.window_limited,
                round_started=started,
            )
        return False

    def _is_time_to_probe(self, now: Instant) -> bool:
        rounds = self.model.rounds.since_probe_up
        if self.state is State.PROBE_BW_DOWN and rounds < DOWN_ROUNDS:
            return False
        target = self._target_inflight() // self._packet
        return self.cycle.is_time_to_probe(now=now, rounds=rounds, target_packets=target)

    def _is_time_to_go_down(self, sample: AckSample) -> bool:
        model, longterm = self.model, self.model.long_term.inflight
        if self.cycle.too_high and sample.bytes_in_flight >= longterm:
            self.cycle.precautionary = True
            return True
        if model.rounds.window_limited and self.congestion_window >= longterm:
            model.full_pipe.reset(sample.delivery_rate)  # the bandwidth is not what limits
            return False
        return model.full_pipe.now

    def _start_down(self, event: Event, *, now: Instant) -> None:
        self.model.short_term.reset_signals()
        if self.state is State.PROBE_BW_UP and self.model.random_loss.ratio:
            self.model.answer_losses(now)  # SPEC 8.1.3-10
        self.model.random_loss.end_cycle(self.model.min_rtt.value or 0)
        self.model.long_term.stop_growing()
        self.model.rounds.since_probe_up = self.cycle.begin(now)
        self.model.restart_round()
        self._go(event)

    def _start_refill(self) -> None:
        self.model.short_term.reset()
        self.model.long_term.begin_refill()
        self.cycle.precautionary = False
        self.cycle.ack_phase = AckPhase.REFILLING
        self.model.restart_round()
        self._go(Event.PROBE)

    def _start_up(self, sample: AckSample) -> None:
        self.cycle.ack_phase = AckPhase.PROBE_STARTING
        self.model.restart_round()
        self.model.full_pipe.reset(sample.delivery_rate)
        self._go(Event.REFILLED)
        self.model.long_term.steepen(self.congestion_window)

    # -- loss (§5.5.10)

    def _is_too_high(self, found: AckSample | LostBurst) -> bool:
        chance = self.model.random_loss
        by_chance = chance.allowance(found.tx_in_flight) if chance.ratio else 0
        return is_too_high(lost=found.lost, tx_in_flight=found.tx_in_flight, by_chance=by_chance)

    def _note_loss(self, now: Instant, *, ranges: int = 0, marked: bool = False, counts: bool = True) -> None:
        """NoteLoss(); the state is saved once a recovery period, before it changes anything."""
        if not self._recovery.active:
            self._save_window()
            self._save_state()
        self._recovery.note_loss(now, ranges=ranges, marked=marked)
        if counts:
            self.model.short_term.note_loss()

    def _handle_inflight_too_high(self, inflight: int, *, app_limited: bool, now: Instant) -> None:
        self.cycle.too_high = True
        self.cycle.is_probe_sample = False  # once a probe
        if not app_limited:
            self.model.long_term.inflight = max(inflight, int(BETA * self._target_inflight()))
        if self.state is State.PROBE_BW_UP:
            self.undo.state = State.PROBE_BW_UP
            self._start_down(Event.LIMIT, now=now)

    def _handle_marks(self, sample: AckSample, *, app_limited: bool) -> None:
        self._marked = False
        if self.cycle.is_probe_sample:
            self._handle_inflight_too_high(sample.tx_in_flight, app_limited=app_limited, now=sample.now)

    def _save_state(self) -> None:
        """SaveStateUponLoss()."""
        model = self.model
        self.undo = Undo(
            state=None,
            bandwidth_shortterm=model.short_term.bandwidth,
            inflight_shortterm=model.short_term.inflight,
            inflight_longterm=model.long_term.inflight,
        )

    # -- min_rtt and ProbeRTT (§5.3.4)

    def _update_min_rtt(self, sample: AckSample) -> None:
        min_rtt, now = self.model.min_rtt, sample.now
        if min_rtt.is_expired(now) and self.state is not State.PROBE_RTT:
            half = self.model.bdp(GAINS[State.PROBE_RTT].window)
            self.probe_rtt_window = max(half, MIN_PIPE_PACKETS * self._packet)
        min_rtt.update(now - sample.newest_sent, now)

    def _check_probe_rtt(self, sample: AckSample) -> None:
        # SPEC 8.1.3-8
        if self.state is not State.PROBE_RTT and self.model.min_rtt.expired and not self.idle_restart:
            self._go(Event.MIN_RTT_EXPIRED)
            self._save_window()
            self._probe_rtt_done = None
            self.cycle.ack_phase = AckPhase.PROBE_STOPPING
            self.model.restart_round()
        if self.state is State.PROBE_RTT:
            self._handle_probe_rtt(sample)

    def _handle_probe_rtt(self, sample: AckSample) -> None:
        self.model.throttle(sample.bytes_in_flight)
        if self._probe_rtt_done is None:
            if sample.bytes_in_flight <= self.probe_rtt_window:
                self._probe_rtt_done = sample.now + PROBE_RTT_DURATION
                self._probe_rtt_round_done = False
                self.model.restart_round()
            return
        if self.model.rounds.started:
            self._probe_rtt_round_done = True
        if self._probe_rtt_round_done:
            self._check_probe_rtt_done(sample.now)

    def _check_probe_rtt_done(self, now: Instant) -> None:
        if self._probe_rtt_done is None or now <= self._probe_rtt_done:
            return
        self.model.min_rtt.schedule(now)
        self._restore_window()
        self.model.short_term.reset()
        if self.model.full_pipe.reached:
            self._start_down(Event.RTT_PROBED, now=now)  # and on to CRUISE: what is in flight is low
        else:
            self._go(Event.SEARCH_AGAIN)

    def _restart_from_idle(self, now: Instant) -> None:
        """§5.4.1 HandleRestartFromIdle()."""
        self.idle_restart = True
        self.model.restart_from_idle(now)
        if self.state in PROBE_BW:
            self._set_pacing_rate(1.0)
        elif self.state is State.PROBE_RTT:
            self._check_probe_rtt_done(now)

    # -- what may be sent (§5.6)

    def _init_pacing_rate(self, rtt: Duration) -> None:
        gain = GAINS[State.STARTUP].pacing
        self.pacing_rate = max(1, int(gain * self._initial_window * SECOND) // max(1, rtt))
        self._set_send_quantum()

    def _set_pacing_rate(self, gain: float) -> None:
        # SPEC 8.1.3-6; what the path loses by chance is sent on top: the bandwidth is of what arrives.
        gain /= 1 - self.model.random_loss.ratio
        rate = int(gain * self.model.bandwidth * (100 - PACING_MARGIN_PERCENT)) // 100
        if rate > (self.pacing_rate or 0) or (self.model.full_pipe.reached and rate):
            self.pacing_rate = rate

    def _set_send_quantum(self) -> None:
        in_time = (self.pacing_rate or 0) * QUANTUM_TIME // SECOND
        self.send_quantum = max(min(in_time, MAX_QUANTUM_BYTES), MIN_QUANTUM_PACKETS * self._packet)

    def _set_window(self, sample: AckSample) -> None:
        """SetCwnd(): grow by what is acknowledged towards what the model allows; fall to it at once."""
        model, state = self.model, self.state
        wanted = model.bdp(GAINS[state].window) + model.aggregation.extra_acked
        wanted = model.quantized(wanted, quantum=self.send_quantum or 0, state=state)
        window, least = self.congestion_window, MIN_PIPE_PACKETS * self._packet
        if model.full_pipe.reached:
            window = min(window + sample.acked_bytes, wanted)
        elif window < wanted or sample.delivered < self._initial_window:
            window += sample.acked_bytes
        window = max(window, least)
        if state is State.PROBE_RTT:
            window = min(window, self.probe_rtt_window)
        long_term, cap = model.long_term, UNBOUNDED
        if long_term.inflight != UNBOUNDED:
            cap = volume_cap(state, longterm=long_term.inflight, with_headroom=long_term.with_headroom)
        self.congestion_window = min(window, max(min(cap, model.short_term.inflight), least))

    def _inflight(self, bandwidth: int) -> int:
        """Inflight(): what fills the pipe and makes no queue, bytes."""
        bdp = self.model.bdp(bandwidth=bandwidth)
        return self.model.quantized(bdp, quantum=self.send_quantum or 0, state=self.state)

    def _target_inflight(self) -> int:
        """TargetInflight(): the bandwidth-delay product, unless congestion cut the window below it."""
        return min(self.model.bdp(), self.congestion_window)

    def _save_window(self) -> None:
        """SaveCwnd(): remember the last window that neither recovery nor ProbeRTT held down."""
        held_down = self._recovery.active or self.state is State.PROBE_RTT
        self._prior_window = max(self._prior_window if held_down else 0, self.congestion_window)

    def _restore_window(self) -> None:
        self.congestion_window = max(self.congestion_window, self._prior_window)

    def _go(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]


def _inflight_at(burst: LostBurst) -> int:
    return inflight_at_loss(lost=burst.lost, tx_in_flight=burst.tx_in_flight, size=burst.size)
