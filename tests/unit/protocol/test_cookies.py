"""Cookies of RETRY: for one INITIATION from one place, for a short time (SPEC 3.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from node.protocol.cookies import SECRET_LIFETIME, Cookies
from node.protocol.wire.setup import INITIATION, SetupPacket

ASKED = SetupPacket(INITIATION, 0x01, 1, 2, bytes(8), b"12345678", 0, b"noise")
HERE = ("192.0.2.1", 4433)


def with_cookie(cookies: Cookies, *, now: int) -> SetupPacket:
    return replace(ASKED, cookie=cookies.make(ASKED, HERE, now=now))


@pytest.mark.parametrize("start", [0, 1, 10**18])
def test_a_cookie_verifies_for_one_to_two_lifetimes_of_its_secret(start: int) -> None:
    """SPEC 3.4-3, at the best and at the worst moment to be made."""
    cookies = Cookies(Random(1))
    early = with_cookie(cookies, now=start)
    late = with_cookie(cookies, now=start + SECRET_LIFETIME - 1)
    for moment, good in ((SECRET_LIFETIME, (True, True)), (2 * SECRET_LIFETIME - 1, (True, True))):
        assert (
            cookies.verifies(early, HERE, now=start + moment),
            cookies.verifies(late, HERE, now=start + moment),
        ) == good
    assert not cookies.verifies(early, HERE, now=start + 2 * SECRET_LIFETIME)


def test_a_cookie_is_old_after_a_long_silence() -> None:
    cookies = Cookies(Random(1))
    packet = with_cookie(cookies, now=5)
    assert not cookies.verifies(packet, HERE, now=5 + 2 * SECRET_LIFETIME)


def test_asking_late_does_not_make_a_cookie_live_longer() -> None:
    cookies = Cookies(Random(1))
    packet = with_cookie(cookies, now=0)
    assert cookies.verifies(packet, HERE, now=2 * SECRET_LIFETIME - 1)
    assert not cookies.verifies(packet, HERE, now=2 * SECRET_LIFETIME)


@pytest.mark.parametrize(
    ("change", "source"),
    [
        (lambda p: p, ("192.0.2.2", 4433)),
        (lambda p: p, ("192.0.2.1", 4434)),
        (lambda p: replace(p, source_address=3), HERE),
        (lambda p: replace(p, source_connection_id=b"12345679"), HERE),
        (lambda p: replace(p, cookie=b""), HERE),
        (lambda p: replace(p, cookie=bytes(16)), HERE),
        (lambda p: replace(p, cookie=p.cookie[:-1] + bytes((p.cookie[-1] ^ 1,))), HERE),
    ],
)
def test_a_cookie_is_good_for_nothing_else(
    change: Callable[[SetupPacket], SetupPacket], source: tuple[str, int]
) -> None:
    """SPEC 3.4-2: another address, another node, another connection, no cookie or a made-up one."""
    cookies = Cookies(Random(1))
    assert not cookies.verifies(change(with_cookie(cookies, now=0)), source, now=0)
    assert not Cookies(Random(2)).verifies(with_cookie(cookies, now=0), HERE, now=0)
