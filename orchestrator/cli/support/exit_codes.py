"""How a command ends, for shells and CI."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes; the same for every verb."""

    OK = 0
    #: The run went through, and an expectation or the run itself failed.
    FAILED = 1
    #: Wrong options, an unknown name, or a topology file that is not valid.
    USAGE = 2
    #: This machine lacks something; the message says what and how to get it.
    ENVIRONMENT = 3
    #: A lab could not be brought up, or taken down, wholly.
    PARTLY_UP = 4
    #: The back end cannot do what the topology asks.
    NOT_SUPPORTED = 127
    INTERRUPTED = 130


def exit_code_of(error: BaseException) -> ExitCode | None:
    """Return the exit code of an error that a user can meet; None: it is a bug and needs its traceback."""
    # Imported here: most commands end well, and `narrows --help` must not pay for it.
    from node.registry import UnknownNameError
    from orchestrator.errors import (
        BackendError,
        EnvironmentMissingError,
        NotInLabError,
        NotSupportedError,
        TestbedError,
    )
    from orchestrator.topology.errors import TopologyError

    table: tuple[tuple[type[BaseException], ExitCode], ...] = (
        (TopologyError, ExitCode.USAGE),
        (UnknownNameError, ExitCode.USAGE),
        (NotInLabError, ExitCode.USAGE),
        (NotSupportedError, ExitCode.NOT_SUPPORTED),
        (EnvironmentMissingError, ExitCode.ENVIRONMENT),
        (PermissionError, ExitCode.ENVIRONMENT),
        (BackendError, ExitCode.PARTLY_UP),
        (TestbedError, ExitCode.FAILED),
        # A full disk, a directory where a file should be: the system's own words say what is wrong.
        (OSError, ExitCode.FAILED),
    )
    return next((code for kind, code in table if isinstance(error, kind)), None)
