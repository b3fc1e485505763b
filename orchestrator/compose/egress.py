"""Shaping on a node's own egress, where nothing stands between two nodes (pure).

The same commands as in a link namespace, one level down: GSO hands a burst of up to 64 packets to the root
qdisc as one, which netem would lose, delay and count as one. A tbf whose bucket holds a single frame takes
bursts apart, and netem below it sees packets. Its rate is far above any link's, so it shapes nothing.
"""

from __future__ import annotations

from node.links.settings import Impairments
from orchestrator.tc.commands import set_impairments

SPLITTER_HANDLE = "5:"
#: tbf takes apart what is longer than its bucket, and drops a single frame that is.
_SMALLEST_BUCKET_BYTES = 2048
_FRAME_ROOM_BYTES = 200
_SPLITTER_RATE = "10gbit"
#: Of tbf's first child only, which netem replaces.
_SPLITTER_LIMIT = "100mb"


def set_own_egress(device: str, impairments: Impairments, *, mtu: int = 1500) -> list[list[str]]:
    """Return the commands that make ``impairments`` the whole set on a node's own egress.

    ``orchestrator.tc.readback`` reads it as any other: it goes by handles, not by depth.
    """
    commands = set_impairments(device, impairments, mtu=mtu)
    if not impairments.items:
        return commands
    bucket = max(_SMALLEST_BUCKET_BYTES, mtu + _FRAME_ROOM_BYTES)
    splitter = ["tc", "qdisc", "replace", "dev", device, "root", "handle", SPLITTER_HANDLE, "tbf"]
    splitter += ["rate", _SPLITTER_RATE, "burst", f"{bucket}b", "limit", _SPLITTER_LIMIT]
    return [splitter, *(_below_splitter(command) for command in commands)]


def _below_splitter(command: list[str]) -> list[str]:
    if "root" not in command:
        return command
    place = command.index("root")
    return [*command[:place], "parent", f"{SPLITTER_HANDLE}1", *command[place + 1 :]]
