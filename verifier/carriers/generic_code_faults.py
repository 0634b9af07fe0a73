"""What is wrong with the tables of codes of a described call.

A code means one of the outcomes (or facts) of the vocabulary, with a detail that it declares. Only
``codes`` can say that a person matches or does not. An error may be any other thing; an error known
by its beginning, or an HTTP status, nothing about a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from verifier.carriers.generic_call import Call, said
from verifier.outcomes import Check, Fact, Outcome, details_of

Where = tuple[str, ...]
Fault = tuple[Where, str]

_NO_VERDICTS: Final = frozenset(Outcome) - {Outcome.MATCHED, Outcome.MISMATCHED}
_REFUSALS: Final = frozenset({Outcome.INVALID_INPUT})


def code_faults(call: Call, check: Check | None) -> Iterator[Fault]:
    """Everything that is wrong with how the answer to a call is read."""
    found: set[Outcome] = set()
    broken = False
    for code, text in call.codes.items():
        try:
            meaning = said(text, check)
        except ValueError as error:
            yield ("codes", code), str(error)
            broken = True
            continue
        found.add(meaning.outcome)
        if meaning.fact is Fact.CARRIER and not (call.carrier and call.carriers):
            yield ("codes", code), "CARRIER needs carrier, where it stands, and carriers"
    if not broken and check is None and Outcome.MATCHED not in found:
        yield ("codes",), "no code means MATCHED: nobody could ever be verified"
    if not broken and check is not None and Outcome.CHECKED not in found:
        yield ("codes",), "no code is an answer to the check"
    yield from _errors(call, check)
    for status, text in call.http.items():
        yield from _refusal(("http", status), text, check, results=frozenset())
    for table, known in (("billed", call.codes), ("errors_billed", call.errors)):
        for code in getattr(call, table):
            if code not in known:
                yield (table, code), f"is no code of {'codes' if table == 'billed' else 'errors'}"
    yield from _refinements(call, check)


def _errors(call: Call, check: Check | None) -> Iterator[Fault]:
    if call.errors and call.error_path is None:
        yield ("errors",), "needs error, where the code stands, or success"
    for code, text in call.errors.items():
        if "*" in code[:-1] or code == "*":
            yield ("errors", code), "a * stands at the end of a code's beginning, and nowhere else"
        # A code that nobody has listed, known by its beginning, says nothing about a person.
        results = _REFUSALS if code.endswith("*") else _NO_VERDICTS
        yield from _refusal(("errors", code), text, check, results)


def _refusal(
    where: Where, text: str, check: Check | None, results: frozenset[Outcome]
) -> Iterator[Fault]:
    try:
        meaning = said(text, check)
    except ValueError as error:
        yield where, str(error)
        return
    if not meaning.outcome.is_answer:
        return
    may = results is _NO_VERDICTS or not meaning.is_about_the_person
    if meaning.outcome not in results or not may:
        yield where, f"{text} is a verdict: only a code that stands in codes may give it"


def _refinements(call: Call, check: Check | None) -> Iterator[Fault]:
    if call.carriers and call.carrier is None:
        yield ("carriers",), "needs carrier, where it stands"
    if call.details and call.detail is None:
        yield ("details",), "needs detail, where it stands"
    possible: set[str] = set()
    for text in call.codes.values():
        try:
            possible.update(details_of(said(text, check).outcome))
        except ValueError:
            continue  # told already
    for value, word in call.details.items():
        if word not in possible:
            known = ", ".join(sorted(possible)) or "none"
            yield ("details", value), f"is no detail of an outcome in codes; there are {known}"
