"""Everything the testbed raises on purpose; the command line turns each into an exit code."""

from __future__ import annotations


class TestbedError(Exception):
    """Base of all errors a user can meet. The message says what to do."""

    __test__ = False  # not a test class, whatever pytest thinks of its name


class BackendError(TestbedError):
    """A back end could not do what was asked."""


class NotInLabError(BackendError):
    """A lab has no such node or link, or none that fits; the message says which there are (exit code 2)."""


class EnvironmentMissingError(BackendError):
    """This machine lacks something; the message says what and how to get it (exit code 3)."""


class NotSupportedError(TestbedError):
    """A back end cannot do what the topology asks, on any machine (exit code 127)."""


class ProbeError(TestbedError):
    """A probe could not give a verdict."""


class ExpectationError(TestbedError):
    """An expectation cannot be evaluated."""
