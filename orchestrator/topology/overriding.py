"""Transport settings given beside the file, for all of its flows: what a matrix varies."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.topology.document import Document, core_scalar


def override_transport(document: Document, settings: Mapping[str, str]) -> None:
    """Give every flow these settings, as if they stood in the file; whatever checks flows sees them.

    Args:
        document: changed in place, before its flows are made of entries for many.
        settings: name → value, as text.
    """
    flows = document.data.get("workloads")
    for flow in flows.values() if isinstance(flows, dict) else flows if isinstance(flows, list) else ():
        if settings and isinstance(flow, dict):
            given = flow.get("transport")
            own = {"protocol": given} if isinstance(given, str) else given if isinstance(given, dict) else {}
            flow["transport"] = {**own, **{name: core_scalar(value) for name, value in settings.items()}}
