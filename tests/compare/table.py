"""The links and settings that are compared, the measurement of one of each, and the table of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from node.protocol.configuration import Configuration
from node.protocol.time import MILLISECOND, SECOND
from tests.support.scenario import Bottleneck, Path

KBIT, MBIT = 1_000, 1_000_000
MEGABYTE = 1_000_000
#: Stop-and-wait over a long path takes a round trip for each packet: an hour of virtual time.
LIMIT = 10_000 * SECOND


@dataclass(frozen=True, slots=True)
class StandardLink:
    """A link that readers know, and how much is sent over it."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table."""

    name: str
    configuration: Configuration


LINKS = (
    StandardLink("campus", Path(rate=1000 * MBIT, delay=MILLISECOND), 20 * MEGABYTE),
    StandardLink("home", Path(rate=100 * MBIT, delay=10 * MILLISECOND), 10 * MEGABYTE),
    StandardLink(
        "mobile",
        Path(rate=20 * MBIT, delay=35 * MILLISECOND, jitter=10 * MILLISECOND, loss=0.005),
        5 * MEGABYTE,
    ),
    StandardLink("lossy", Path(rate=20 * MBIT, delay=50 * MILLISECOND, loss=0.05), 5 * MEGABYTE),
    StandardLink(
        "satellite", Path(rate=50 * MBIT, back_rate=3 * MBIT, delay=300 * MILLISECOND), 20 * MEGABYTE
    ),
    StandardLink("bloated", Path(rate=10 * MBIT, delay=20 * MILLISECOND, queue=350), 5 * MEGABYTE),
    StandardLink("shallow", Path(rate=50 * MBIT, delay=20 * MILLISECOND, queue=20), 10 * MEGABYTE),
    StandardLink("thin", Path(rate=256 * KBIT, delay=150 * MILLISECOND, loss=0.01), MEGABYTE // 2),
)


def settings() -> Iterator[Setting]:
    """Yield the rows: each controller, then each ARQ mode, then FEC."""
    for controller in ("new-reno", "cubic", "bbr"):
        yield Setting(controller, Configuration(congestion=controller))
    for controller in ("cubic", "bbr"):
        yield Setting(f"{controller}, go-back-n", Configuration(congestion=controller, arq="go-back-n"))
    yield Setting("stop-and-wait", Configuration(arq="stop-and-wait"))
    for scheme in ("xor", "reed-solomon"):
        yield Setting(
            f"bbr, fec {scheme}, on-request",
            Configuration(congestion="bbr", fec=scheme, fec_arq="on-request"),
        )
    yield Setting(
        "cubic, fec reed-solomon, always",
        Configuration(congestion="cubic", fec="reed-solomon", fec_arq="always"),
    )


def measure(link: StandardLink, setting: Setting) -> float:
    """Return how many virtual seconds a transfer takes, handshake included."""
    network = Bottleneck(link.path)
    flow = network.flow(link.size, configuration=setting.configuration)
    network.run(limit=LIMIT)
    return flow.seconds


def cell(link: StandardLink, seconds: float) -> str:
    """Return seconds, and the goodput as a share of the link's rate."""
    share = link.size * 8 / seconds / link.path.rate
    return f"{seconds:.3g} s, {share:.0%}" if seconds < 1000 else f"{seconds:.0f} s, {share:.0%}"


def header() -> list[str]:
    """Return the first two lines of the table."""
    return [
        "| setting | " + " | ".join(link.name for link in LINKS) + " |",
        "| --- |" + " --: |" * len(LINKS),
    ]


def legend() -> list[str]:
    """Return what each link is, a line each."""
    return [f"- **{link.name}**: {describe(link)}" for link in LINKS]


def describe(link: StandardLink) -> str:
    """Return a link in words."""
    path = link.path
    words = [f"{_rate(path.rate)}" + (f" down, {_rate(path.back_rate)} up" if path.back_rate else "")]
    words.append(f"{path.delay // MILLISECOND} ms each way")
    if path.jitter:
        words.append(f"± {path.jitter // MILLISECOND} ms")
    if path.loss:
        words.append(f"{path.loss * 100:g} % lost")
    words.append(
        f"a queue of {path.queue} packets" if path.queue else "a queue of one bandwidth-delay product"
    )
    return ", ".join(words) + f"; {link.size / MEGABYTE:g} MB"


def _rate(rate: int) -> str:
    return f"{rate // MBIT} Mbit/s" if rate >= MBIT else f"{rate // KBIT} kbit/s"
