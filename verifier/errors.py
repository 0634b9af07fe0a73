"""The errors that reach a person or a caller, each with its exit code.

A message says what went wrong, why, and how to mend it. ``exit_code`` is what the command line
returns: 1 error, 2 usage, 3 not found, 5 finished with failures, 7 wait timed out,
10 already running, 130 interrupted, 141 reader gone (``docs/reference.md``).
"""

from __future__ import annotations


class VerifierError(Exception):
    """Something failed that the caller can understand and mend."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class ConfigError(VerifierError):
    """A setting, the configuration file or the key ring is missing or wrong."""


class UsageError(VerifierError):
    """The caller asked for something that cannot be meant."""

    exit_code = 2


class NotFoundError(VerifierError):
    """No user, batch, provider or lane has this name."""

    exit_code = 3


class ConflictError(VerifierError):
    """The request contradicts what is already stored, such as a reused idempotency key."""


class WaitTimeoutError(VerifierError):
    """The result did not arrive in the time the caller gave; the work goes on."""

    exit_code = 7


class AlreadyRunningError(VerifierError):
    """Another process holds this state or this job."""

    exit_code = 10


class StoreUnavailableError(VerifierError):
    """PostgreSQL cannot be reached, so nothing durable could be done."""
