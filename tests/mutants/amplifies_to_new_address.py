"""Believes a new address at once, and sends there what it likes."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.datagrams import SocketAddress
from node.protocol.path import Path
from node.protocol.time import MILLISECOND, SECOND
from tests.mutants.base import MUTANTS, Mutant, write, write_back
from tests.support.recorded import RecordedPair


@MUTANTS.register("amplifies-to-new-address")
class AmplifiesToNewAddress(Mutant):
    """Believes a new address at once, and sends there what it likes."""

    breaks: ClassVar[tuple[str, ...]] = ("13.2-3",)

    def work(self, pair: RecordedPair) -> None:
        """Move while much is on its way back, to where no answer to a challenge comes from."""
        write_back(pair, 2_000_000)
        pair.run_for(40 * MILLISECOND)
        pair.left_address = ("elsewhere", 3)
        write(pair, 100)
        pair.run_for(2 * SECOND)

    def connect(self, pair: RecordedPair) -> None:
        """Set up, then break the responder, which is the one that follows."""
        super().connect(pair)
        accepted = pair.accepted
        assert accepted is not None
        if not self.broken:
            return
        make = accepted.paths._new

        def believe(remote: SocketAddress, our_id: bytes) -> Path:
            path = make(remote, our_id)
            path.validated = True
            return path

        accepted.paths._new = believe  # type: ignore[method-assign]
