"""``python -m tests.coverage``: print what of the transport no test runs, and the percentages."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.coverage.measure import measure

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        print(measure(Path(directory)))
