"""``provider probe``: one call that costs nothing, and what came back."""

from __future__ import annotations

from typing import Any, Final

from verifier.carriers import registry
from verifier.carriers.base import Probe
from verifier.config import config
from verifier.outcomes import Outcome
from verifier.transport import Deadline

#: What to do about an outcome that is not the documented answer.
_FIXES: Final = {
    Outcome.NOT_SENT: "Nothing was sent: check the endpoint, name resolution, TLS and firewalls.",
    Outcome.TIMEOUT: "No answer in time: the provider may be away; try again later.",
    Outcome.MAINTENANCE: "The provider says it is in maintenance: its work waits by itself.",
    Outcome.RATE_LIMITED: "Too many calls: lower qps, or ask the vendor for more.",
    Outcome.AUTH_CONFIG: "The account or credentials are refused: check the secrets, the clock "
    "of this machine, and that the API is activated.",
    Outcome.ARREARS: "The account is in arrears: pay, then `verifier provider resume NAME`.",
}


def probe(name: str) -> Probe:
    """Make the call. Raises ConfigError when the provider cannot be built."""
    current = config()
    row = current.providers[name]
    provider = registry.build_one(name, row, threads=1)
    try:
        return provider.probe(Deadline.after(row.timeout))
    finally:
        provider.close()


def as_object(name: str, found: Probe) -> dict[str, Any]:
    answer = found.answer
    return {
        "provider": name,
        "asked": found.asked,
        "works": found.works,
        "outcome": str(answer.outcome),
        "detail": answer.detail,
        "code": answer.code,
        "request_id": answer.request_id,
        "http_status": answer.http_status,
        "billed": str(answer.billed),
        "fix": None if found.works else fix_of(found),
    }


def fix_of(found: Probe) -> str:
    """What an operator may do about it."""
    if found.answer.detail == "PROBE_NOT_DESCRIBED":
        return "Describe one: [providers.NAME.probe] with a code that is free (docs/providers.md)."
    if found.answer.http_status is not None and found.answer.outcome is Outcome.NOT_SENT:
        return "What comes before the call was answered in vain: check the token endpoint."
    return _FIXES.get(
        found.answer.outcome,
        "The answer is none that is documented: see that the endpoint is this vendor's, and "
        "docs/providers.md for the kind's options.",
    )
