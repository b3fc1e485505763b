"""Secrets of an endpoint that change with time: what one makes, it and its follower recognise."""

from __future__ import annotations

from random import Random

from node.protocol.time import Duration, Instant

SECRET_BYTES = 32


class RotatingSecret:
    """Makes its first secret when it is first asked for one.

    Args:
        rng: where secrets come from.
        lifetime: how long a secret is the newest; it is kept for as long again.
    """

    def __init__(self, rng: Random, *, lifetime: Duration) -> None:
        self._rng = rng
        self._lifetime = lifetime
        self._kept: tuple[bytes, ...] = ()
        self._renew_at: Instant = 0

    def all(self, now: Instant) -> tuple[bytes, ...]:
        """Return the newest secret, and the one before it while that is kept."""
        if self._kept and now < self._renew_at:
            return self._kept
        if self._kept and now < self._renew_at + self._lifetime:
            before, self._renew_at = self._kept[:1], self._renew_at + self._lifetime
        else:  # the first one, or nobody asked for two lifetimes and both are old
            before, self._renew_at = (), now + self._lifetime
        self._kept = (self._rng.randbytes(SECRET_BYTES), *before)
        return self._kept
