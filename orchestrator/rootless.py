"""Labs without root: the command runs again as root of a user namespace of its own.

That namespace has its own network, mounts and ``/run``. Whatever is made in it is gone with the last process
in it, however that ends; to the machine all of it is this user's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import EnvironmentMissingError
from orchestrator.executor import Executor
from orchestrator.wiring.journal import state_directory

#: Set in the command that runs again: the namespaces that it has left.
VARIABLE = "NARROWS_ROOTLESS"
_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--propagation", "private", "--")
#: iproute2 keeps names of namespaces in /run, and we our sockets.
_OWN_RUN = 'mount -t tmpfs -o mode=755 tmpfs /run && exec "$@"'
#: Settings by which systems forbid user namespaces → which values allow them.
_FORBIDDING: Mapping[str, Callable[[int], bool]] = {
    "user.max_user_namespaces": lambda value: value > 0,
    "kernel.unprivileged_userns_clone": lambda value: value == 1,
    "kernel.apparmor_restrict_unprivileged_userns": lambda value: value == 0,
}


def enter(arguments: Sequence[str]) -> None:
    """Run the command again inside; returns only there.

    Args:
        arguments: the words after ``narrows``.

    Raises:
        EnvironmentMissingError: this machine does not let this user; the message says why.
    """
    if is_inside():
        return
    why = problem()
    if why:
        raise EnvironmentMissingError(why)
    # Where this user's labs are known, not root's: chosen before we seem to be root.
    environment = {**os.environ, VARIABLE: _namespaces(), "NARROWS_STATE": str(state_directory().absolute())}
    command = [sys.executable, "-m", "orchestrator", *arguments]
    os.execvpe(_UNSHARE[0], [*_UNSHARE, "sh", "-c", _OWN_RUN, "sh", *command], environment)


def is_inside() -> bool:
    """Return whether this is the command that runs again: it is in none of the namespaces that were left.

    A variable alone is anybody's word: set by hand, it would have us work on the machine's own network.
    """
    left = os.environ.get(VARIABLE, "").split()
    here = _namespaces().split()
    return len(left) == len(here) and not set(left).intersection(here)


def _namespaces() -> str:
    """Return the identities of those of our namespaces that the command gets anew."""
    return " ".join(os.readlink(f"/proc/self/ns/{kind}") for kind in ("user", "net", "mnt"))


def problem() -> str:
    """Return why this user cannot make labs without root here, by trying; empty: he can."""
    done = Executor().run(
        [*_UNSHARE, "sh", "-c", _OWN_RUN, "sh", "ip", "netns", "add", "narrows"], check=False
    )
    if done.exit_code == 0:
        return ""
    said = done.stderr.strip() or f"exit code {done.exit_code}"
    told = [f"--rootless: no user namespace with a network of its own can be made: {said}"]
    told += [f"sysctl {name} is {value}: it forbids that" for name, value in _forbidding()]
    told.append("let the administrator allow it, run as root, or take --backend simulation")
    return "\n".join(told)


def _forbidding() -> list[tuple[str, int]]:
    found = []
    for name, allows in _FORBIDDING.items():
        try:
            value = int(Path("/proc/sys", name.replace(".", "/")).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if not allows(value):
            found.append((name, value))
    return found
