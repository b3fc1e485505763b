"""quic-portal: quinn (Rust) with a blocking message interface for Python."""

from __future__ import annotations

import functools
import time

from quic_portal import Portal, QuicTransportOptions  # type: ignore[import-not-found,unused-ignore]

from tests.bench.session import arguments, blocking, client, server


def main() -> None:
    """Serve or make one session."""
    asked = arguments()
    options = QuicTransportOptions(congestion_controller_type="cubic", initial_window=1 << 20)
    portal = Portal()
    if asked.role == "server":
        portal.listen(asked.port, options)
        blocking(server, portal.send, portal.recv)
        time.sleep(0.3)  # close() drops what is not acknowledged
    else:
        portal.connect(asked.host, asked.port, asked.port + 1, options)
        blocking(functools.partial(client, asked), portal.send, portal.recv)
    portal.close()


if __name__ == "__main__":
    main()
