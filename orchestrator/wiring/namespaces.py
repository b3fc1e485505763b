"""Network namespaces: their names and paths, and doing things inside one from a thread."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from orchestrator.errors import BackendError

T = TypeVar("T")

#: Where iproute2 keeps names of namespaces; ours appear in `ip netns`.
DIRECTORY = Path("/run/netns")
#: Settings that name users or groups which a user namespace may not have: `ping` is root's there.
_NOT_IN_USER_NAMESPACES = frozenset({"net/ipv4/ping_group_range"})
_CLONE_NEWNET = 0x40000000
_MNT_DETACH = 2
#: Names are files: far below the limit, and still readable in a table.
_NAME_LIMIT = 40


def node_namespace(run_id: str, node: str) -> str:
    """Return the name of a node's namespace: two nodes never have the same."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", node)[:_NAME_LIMIT]
    mark = "" if safe == node else f"-{zlib.crc32(node.encode()):08x}"
    return f"nw-{run_id}-node-{safe}{mark}"


def link_namespace(run_id: str, index: int) -> str:
    """Return the name of the namespace in the middle of a link."""
    return f"nw-{run_id}-link-{index}"


def path_of(name: str) -> Path:
    """Return the file of a named namespace."""
    return DIRECTORY / name


def adopt(name: str, namespace: Path) -> None:
    """Give somebody else's namespace (``/proc/<pid>/ns/net``) a name, as a symbolic link.

    Raises:
        BackendError: the name is taken or the directory cannot be written.
    """
    try:
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        path_of(name).symlink_to(namespace)
    except OSError as error:
        raise BackendError(f"cannot name the namespace {namespace}: {error}") from error


def remove(name: str) -> None:
    """Remove a namespace or the name of an adopted one; nothing happens if it is not there.

    Raises:
        BackendError: it is there and cannot be removed.
    """
    path = path_of(name)
    if not os.path.lexists(path):
        # Nor may we ask the kernel everywhere: without root, of a lab that had a /run of its own.
        return
    if not path.is_symlink():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
            number = ctypes.get_errno()
            # EINVAL: the file is there and nothing is mounted: `ip netns add` was cut short.
            if number not in (errno.EINVAL, errno.ENOENT):
                raise BackendError(f"namespace {name} cannot be removed: {os.strerror(number)}")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BackendError(f"namespace {name} cannot be removed: {error.strerror}") from error


def identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode, by which processes in a namespace are known; None: there is no such."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_namespace(path: Path) -> bool:
    """Return whether a network namespace is to be had at a path (its file alone is not enough)."""
    try:
        inside({path: lambda: None})
    except BackendError:
        return False
    return True


def inside(work: Mapping[Path, Callable[[], T]]) -> dict[Path, T]:
    """Call functions, each inside its network namespace, one after the other.

    A thread enters the namespaces and then ends: no thread that goes on is ever in the wrong one.
    Sockets and files that a function opens stay in that namespace.

    Raises:
        BackendError: a namespace cannot be entered.
        Exception: whatever a function raised.
    """
    results: dict[Path, T] = {}
    failures: list[BaseException] = []

    def enter_each() -> None:
        try:
            for path, function in work.items():
                _enter(path)
                results[path] = function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=enter_each, name="namespaces")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results


def write_settings(settings: Mapping[str, str]) -> None:
    """Write kernel settings (``net/ipv4/ip_forward`` → ``1``) of the namespace this thread is in.

    One that this kernel does not have is left out: it has nothing to switch off.

    Raises:
        BackendError: one is there and refuses the value.
    """
    for name, value in settings.items():
        try:
            Path("/proc/sys", name).write_text(value, encoding="ascii")
        except FileNotFoundError:
            continue
        except OSError as error:
            if name in _NOT_IN_USER_NAMESPACES and error.errno == errno.EINVAL:
                continue
            raise BackendError(f"/proc/sys/{name} = {value}: {error.strerror}; are you root?") from error


def _enter(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise BackendError(f"no namespace {path}: {error.strerror}") from error
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise BackendError(f"cannot enter namespace {path}: {os.strerror(number)}; are you root?")
    finally:
        os.close(descriptor)
