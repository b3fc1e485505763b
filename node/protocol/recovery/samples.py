"""What loss recovery tells a congestion controller of each acknowledgement, and of each loss found."""

from __future__ import annotations

from dataclasses import dataclass

from node.protocol.recovery.rtt import RttEstimator
from node.protocol.time import Duration, Instant


@dataclass(slots=True, kw_only=True)
class AckSample:
    """One acknowledgement that acknowledges packets for the first time. Sizes are UDP payload bytes.

    From ``delivered`` on: the rate sample of draft-ietf-ccwg-bbr §4.1, whose names stand in brackets. P is
    the newest packet acknowledged (strictly: its burst, whose packets share one sending time).
    """

    now: Instant
    #: The estimates, with this acknowledgement's sample taken in.
    rtt: RttEstimator
    #: The round trip measured with this acknowledgement, ns; 0: it gave none.
    rtt_sample: Duration
    #: Bytes newly acknowledged [RS.newly_acked] and newly declared lost [RS.newly_lost].
    acked_bytes: int
    lost_bytes: int
    #: Bytes in flight before this acknowledgement, and after it and the losses it led to.
    prior_in_flight: int
    bytes_in_flight: int
    #: When P was sent.
    newest_sent: Instant
    #: Whether the sender was limited by the window, not by what it had to send (RFC 9002 §7.8).
    window_used: bool
    #: Bytes delivered on the connection so far [C.delivered].
    delivered: int
    #: What that was when P was sent [RS.prior_delivered]: a round trip begun before is over.
    prior_delivered: int
    #: Bytes a second [RS.delivery_rate].
    delivery_rate: int
    #: Over this time, ns [RS.interval].
    interval: Duration
    #: Whether P was sent while there was less to send than might have been sent [RS.is_app_limited].
    is_app_limited: bool
    #: Bytes in flight when P was sent, P included [RS.tx_in_flight].
    tx_in_flight: int
    #: Bytes declared lost between the sending of P and now [RS.lost].
    lost: int
    #: Packets newly reported as marked with ECN-CE.
    ce_packets: int = 0


@dataclass(slots=True, kw_only=True)
class LostBurst:
    """The packets of one burst that were newly declared lost, with what was known when it was sent."""

    #: When it was sent.
    sent: Instant
    #: Bytes newly lost, in so many separate runs of packets.
    size: int
    ranges: int
    #: Bytes in flight when it was sent, itself included [P.tx_in_flight].
    tx_in_flight: int
    #: Bytes declared lost between its sending and now, these included [C.lost - P.lost].
    lost: int
    #: Whether it was sent while there was less to send than might have been sent [P.is_app_limited].
    is_app_limited: bool


@dataclass(slots=True, kw_only=True)
class LossSample:
    """One detection of losses."""

    now: Instant
    lost_bytes: int
    #: When the newest of the lost packets was sent.
    newest_sent: Instant
    #: Bytes in flight before anything was declared lost, and after.
    prior_in_flight: int
    bytes_in_flight: int
    #: Oldest first.
    bursts: tuple[LostBurst, ...]
