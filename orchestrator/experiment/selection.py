"""Which back end a run takes, and whether it can do what the plan asks."""

from __future__ import annotations

from node.transports.base import STRAIT, TRANSPORTS
from orchestrator.backends.base import BACKENDS, Backend, Problem
from orchestrator.errors import EnvironmentMissingError, NotSupportedError
from orchestrator.faults.base import Need
from orchestrator.topology.model import NodeKind
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.timeline import needs_of, view_of

AUTO = "auto"
#: Most real first; the one inside Compose can only be found where it is the right one.
PREFERENCE = ("compose", "netns", "docker", "simulation")


def select_backend(name: str, plan: DeploymentPlan) -> Backend:
    """Return the back end called ``name``, or for ``auto`` the most real one that can run here.

    Raises:
        UnknownNameError: there is none of that name.
        NotSupportedError: it cannot do what the plan asks, on any machine.
        EnvironmentMissingError: this machine lacks what it needs.
    """
    if name == AUTO:
        return _most_real(plan)
    backend = BACKENDS[name]()
    lacking = missing_impairments(backend, plan)
    if lacking:
        raise NotSupportedError(
            f"back end {name} has no {', '.join(lacking)}; take another with --backend, "
            "or take it out of the topology"
        )
    unable = missing_abilities(backend, plan)
    if unable:
        raise NotSupportedError(
            f"back end {name} cannot {', '.join(unable)}, as the timeline or a node asks; "
            "take another with --backend, or take it out of the topology"
        )
    lacking = missing_transports(backend, plan)
    if lacking:
        raise NotSupportedError(
            f"back end {name} has no transport {', '.join(lacking)}; take another with --backend, "
            "or take it out of the topology"
        )
    uninstalled = _uninstalled(backend, plan)
    problems = [*backend.check(), *uninstalled]
    if problems:
        listed = "\n".join(f"  - {problem.what}\n    {problem.remedy}" for problem in problems)
        raise EnvironmentMissingError(f"back end {name} cannot run here:\n{listed}")
    return backend


def missing_impairments(backend: Backend, plan: DeploymentPlan) -> list[str]:
    """Return the names of impairments that the plan asks for and the back end does not have."""
    sides = [side for link in plan.links for side in (link.forward, link.reverse)]
    asked = {name for side in sides for name in side.to_mapping()}
    return sorted(asked - backend.capabilities().impairments)


def missing_transports(backend: Backend, plan: DeploymentPlan) -> list[str]:
    """Return the transports that flows ask for and the back end does not have."""
    asked = {str(flow.transport.get("protocol", STRAIT)) for flow in plan.workloads}
    return sorted(asked - backend.capabilities().transports)


def _uninstalled(backend: Backend, plan: DeploymentPlan) -> list[Problem]:
    """Return what is to be installed for the transports that flows ask for.

    Raises:
        NotSupportedError: this machine's kernel cannot carry one of them.
    """
    able = backend.capabilities()
    lacking = [] if able.nodes_have_own_rights else _missing_parts(plan, of_kernel=True)
    if lacking:
        raise NotSupportedError("; ".join(lacking))
    if able.brings_transports:
        return []
    return [Problem(*_halves(text)) for text in _missing_parts(plan, of_kernel=False)]


def _missing_parts(plan: DeploymentPlan, *, of_kernel: bool) -> list[str]:
    """Return, by trying, what this machine lacks for the flows' transports: what, and the remedy."""
    asked = (
        (TRANSPORTS[protocol], flow.transport)
        for flow in plan.workloads
        if (protocol := str(flow.transport.get("protocol", STRAIT))) != STRAIT
    )
    missing = (kind.missing(options) for kind, options in asked if kind.needs_kernel == of_kernel)
    return list(dict.fromkeys(text for text in missing if text is not None))


def _halves(text: str) -> tuple[str, str]:
    what, _, remedy = text.partition(": ")
    return what, remedy


def missing_abilities(backend: Backend, plan: DeploymentPlan) -> list[str]:
    """Return in words what the plan's nodes and timeline need, and the back end cannot do."""
    needs = set(needs_of(plan.timeline, view_of(plan)))
    if any(node.kind is NodeKind.NAT for node in plan.nodes):
        needs.add(Need.NAT)
    able = backend.capabilities()
    has = {Need.NODE_STATES: able.node_states, Need.NODES_RETURN: able.nodes_return, Need.NAT: able.nat}
    lacking = [need.value for need in needs if not has[need]]
    if not able.ipv6 and any(node.ipv6 for node in plan.nodes):
        lacking.append("carry IPv6")
    return sorted(lacking)


def _most_real(plan: DeploymentPlan) -> Backend:
    for name in PREFERENCE:
        if name in BACKENDS:
            backend = BACKENDS[name]()
            able = not missing_impairments(backend, plan) and not missing_abilities(backend, plan)
            able = able and not missing_transports(backend, plan)
            if able and not backend.check():
                problems = _uninstalled(backend, plan)
                if problems:
                    raise EnvironmentMissingError(
                        "\n".join(f"{problem.what}: {problem.remedy}" for problem in problems)
                    )
                return backend
    raise EnvironmentMissingError("no back end can run here; `narrows doctor` says what each one lacks")
