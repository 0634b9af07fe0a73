"""One finding: what was looked at, what was found, how to mend it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from verifier.errors import VerifierError


class Verdict(enum.StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and how to mend it."""

    name: str
    verdict: Verdict
    found: str
    fix: str | None = None


def ok(name: str, found: str) -> Check:
    return Check(name, Verdict.OK, found)


def warn(name: str, found: str, fix: str | None = None) -> Check:
    return Check(name, Verdict.WARN, found, fix)


def fail(name: str, found: str, fix: str | None = None) -> Check:
    return Check(name, Verdict.FAIL, found, fix)


def failed(name: str, error: VerifierError) -> Check:
    """The error is the finding."""
    return fail(name, error.message, error.fix)
