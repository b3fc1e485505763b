"""Constants of BBRv3 (draft-ietf-ccwg-bbr §2). Sizes in packets are multiplied by the datagram size."""

from __future__ import annotations

from node.protocol.time import MILLISECOND, SECOND, Duration

#: What is not bounded. An integer, so that sizes and rates stay integers; no path comes near it.
UNBOUNDED = 1 << 62

#: §2.5: pacing goes this much below the estimate, so that queues drain on average.
PACING_MARGIN_PERCENT = 1
#: §2.8: most loss in a round trip that probing for bandwidth may cause.
LOSS_THRESHOLD = 0.02
#: §2.8: never fall below this part of the model in one round trip, as CUBIC does not.
BETA = 0.7
#: §2.8: part of ``inflight_longterm`` left to others while cruising.
HEADROOM = 0.15
#: §2.8: packets that keep the pipe busy when every second one is acknowledged.
MIN_PIPE_PACKETS = 4
#: §2.12: round trips that an aggregation sample counts, once the pipe has been full ...
EXTRA_ACKED_ROUNDS = 10
#: ... and in Startup.
EXTRA_ACKED_STARTUP_ROUNDS = 1
#: §5.3.1.2: growth in a round trip that says the pipe is not full yet, and how many without it that it is.
FULL_BANDWIDTH_GROWTH = 1.25
FULL_BANDWIDTH_ROUNDS = 3
#: §5.3.1.3: BBRStartupFullLossCnt: so many separate runs lost in a round trip end Startup.
STARTUP_LOST_RANGES = 6
#: Round trips from here on are long enough for Startup to jump ahead after the first flight ...
LONG_PATH: Duration = 100 * MILLISECOND
#: ... to at most so much in flight: what a wrong guess can put into a queue.
MAX_JUMP_BYTES = 8 * 1024 * 1024
#: §5.3.2: Drain ends after this many round trips at the latest.
DRAIN_ROUNDS = 3
#: §5.3.3.5.2: longest wait between probes for bandwidth, drawn between these, ...
PROBE_WAIT_MIN: Duration = 2 * SECOND
PROBE_WAIT_SPREAD: Duration = SECOND
#: ... and in round trips, for coexistence with Reno.
RENO_ROUNDS = 63
#: §5.3.3.8: doublings of the growth of ``inflight_longterm`` in ProbeBW_UP.
MAX_PROBE_UP_ROUNDS = 30
#: ... but ProbeBW_DOWN is given the round trips in which its pace, a tenth below the path's, drains what a
#: probe queues. On round trips below 200 ms they are over before the wait is; on longer ones the wait
#: alone would leave a standing queue, and with it no sample of the true round trip.
DOWN_ROUNDS = 10
#: §2.14: how long a min_rtt counts, and so how often ProbeRTT comes; the same for all, to coincide.
MIN_RTT_WINDOW: Duration = 10 * SECOND
#: A sample within this part of min_rtt renews it: one packet before another on a slow link is not a queue
#: to be drained, and ProbeRTT costs such a path a tenth of its time.
MIN_RTT_MARGIN = 20
#: §2.14: how long ProbeRTT holds what is in flight low.
PROBE_RTT_DURATION: Duration = 200 * MILLISECOND
#: §5.6.3: one aggregate is what the path takes in this time ...
QUANTUM_TIME: Duration = MILLISECOND
#: ... but at least this many packets, and at most this many bytes. The draft has 64 KB and lets an
#: implementation choose by what a wake-up costs it: in Python, several segmented sends.
MIN_QUANTUM_PACKETS = 2
MAX_QUANTUM_BYTES = 256 * 1024
