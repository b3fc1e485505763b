"""A run of settings: a topology in simulation, all of whose frames the wire probe judges."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from random import Random

from orchestrator.experiment.runner import run
from orchestrator.results import RunResult
from orchestrator.topology.load import parse
from tests.wire_seeds.networks import ACTS, FLOWS, MIDDLES, PLACES, TUNINGS
from tests.wire_seeds.settings import Row, drawn

_BEACON = {"kind": "datagrams", "size": "2kB", "count": 5, "interval": "30ms", "linger": "200ms"}


def topology_of(row: Row, seed: int) -> bytes:
    """Return the topology file of a row; JSON, which is YAML."""
    fec, _, fec_arq = row["fec"].partition(" ")
    place = PLACES[row["place"]]
    transport: dict[str, object] = {
        "arq": row["arq"], "integrity": row["integrity"], "congestion": row["congestion"], "fec": fec,
        "handshake": row["handshake"], "cipher": row["cipher"], "post-quantum": row["hybrid"] == "yes",
        **TUNINGS[row["tuning"]],
    }  # fmt: skip
    if fec_arq:
        transport["fec-arq"] = fec_arq
    timeline: list[dict[str, object]] = [*ACTS[row["act"]]]
    if row["place"] == "forgetful nat":
        timeline.append({"at": "120ms", "nat-flush": "n"})
    workloads = {"main": {**FLOWS[row["flow"]], "from": "a", "to": "b"}}
    if "nat" not in row["place"]:
        # Its target answers at the address that it was given beforehand.
        workloads["beacon"] = {"from": "a", "to": "b", **_BEACON}
    edge = {"netem": {"delay": "1ms", "rate": "50Mbit"}}
    return json.dumps({
        "name": "right-nodes", "seed": seed, "time-limit": "20s",
        "topology": {
            "defaults": {"ip": place["ip"], "transport": transport},
            "nodes": {"a": {"kind": "host"}, "n": place["n"], "r": {"kind": "router"}, "b": {"kind": "host"}},
            "links": [
                {"endpoints": ["a:eth1", "n:eth1"], **edge},
                {"endpoints": ["n:eth2", "r:eth1"], **MIDDLES[row["middle"]]},
                {"endpoints": ["r:eth2", "b:eth1"], **edge},
            ],
        },
        "workloads": workloads,
        "timeline": timeline,
    }).encode()  # fmt: skip


def judged(row: Row, seed: int) -> RunResult:
    """Run a row, and return what came of it."""
    topology = parse(topology_of(row, seed), file="right-nodes.lab.yml")
    with tempfile.TemporaryDirectory(prefix="wire-seeds-") as directory:
        return asyncio.run(run(topology, "simulation", directory=Path(directory)))


def accused(row: Row, seed: int) -> list[str]:
    """Return what a right node is wrongly accused of in a run of a row, or what else is not as it must be."""
    result = judged(row, seed)
    found = list(result.wire.details)
    if not result.wire.checked or not result.wire.complete:
        found.append(f"not checked: {result.notes}")
    # Damage that XOR lets pass hides who sent what: there, and nowhere else, the rules of conduct rest.
    hidden = row["integrity"] == "xor" and "corrupt" in str(MIDDLES[row["middle"]])
    found += [note for note in result.notes if "not checked" in note and not hidden]
    if result.wire.frames < 10:
        found.append(f"{result.wire.frames} frames: {result.reasons}")
    return found


def run_seed(seed: int) -> None:
    """Run the settings that a seed draws (AssertionError: a right node is accused)."""
    row = drawn(Random(f"wire seeds/{seed}"))
    found = accused(row, seed)
    assert not found, f"{dict(row)}: {found[0]} (and {len(found) - 1} more)"
