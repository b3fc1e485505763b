"""The wire probe: reads the captures of a run and checks every frame against SPEC.md.

``verify`` is pure reading; it imports the dissectors, never the implementation under test.
"""

from orchestrator.probes.wire.report import LinkReport, Violation, WireReport
from orchestrator.probes.wire.verify import verify

__all__ = ["LinkReport", "Violation", "WireReport", "verify"]
