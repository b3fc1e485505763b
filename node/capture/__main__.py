"""``python -m node.capture``: capture interfaces of this network namespace into one pcapng file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from node.capture.pcapng import MAX_SNAPLEN, CaptureError
from node.capture.process import RING_MIB, CaptureSettings, run_capture
from node.capture.ring import RETIRE_MS
from node.shaper.process import die_with_parent

DESCRIPTION = """\
Each frame is recorded once, where it comes in (--direction both: where it goes out, too; that is behind the
queueing discipline). Ends on SIGTERM or SIGINT with everything written, and reports received and dropped
frames as one JSON line on stderr."""


def main() -> int:
    """Capture until told to stop; return the exit code."""
    settings, dies_with_parent = _arguments()
    if dies_with_parent:
        die_with_parent()
    try:
        report = run_capture(settings)
    except CaptureError as error:
        sys.stderr.write(json.dumps({"error": str(error)}) + "\n")
        return 1
    sys.stderr.write(json.dumps(report) + "\n")
    return 0


def _arguments() -> tuple[CaptureSettings, bool]:
    parser = argparse.ArgumentParser(prog="python -m node.capture", description=DESCRIPTION)
    parser.add_argument("--interface", action="append", required=True, help="may be given several times")
    parser.add_argument("--output", required=True, help="the pcapng file to write; -: standard output")
    parser.add_argument("--seconds", type=float, help="end by itself after so long")
    parser.add_argument("--snaplen", type=_positive, default=MAX_SNAPLEN, help="bytes kept of each frame")
    parser.add_argument("--direction", choices=("in", "both"), default="in")
    parser.add_argument("--ring-mib", type=_positive, default=RING_MIB, help="memory for each interface")
    parser.add_argument(
        "--retire-ms", type=_positive, default=RETIRE_MS, help="frames reach the file after so long at most"
    )
    parser.add_argument("--comment", default="", help="text stored in the file")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the starter has ended")
    given = parser.parse_args()
    settings = CaptureSettings(
        interfaces=tuple(given.interface),
        output=None if given.output == "-" else Path(given.output),
        seconds=given.seconds,
        snaplen=given.snaplen,
        direction=given.direction,
        ring_mib=given.ring_mib,
        retire_ms=given.retire_ms,
        comment=given.comment,
    )
    return settings, given.die_with_parent


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
