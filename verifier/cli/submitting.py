"""``verifier verify submit`` at work: whom, how many, submitted once, waited for."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from verifier import doorbell
from verifier.cli import costs, importing, talk, userview, waiting, workers_seen
from verifier.cli.options import FAILURES
from verifier.config import config
from verifier.errors import NotFoundError
from verifier.identity.errors import InvalidField
from verifier.identity.reference import DEFAULT_PLATFORM, check_platform, check_reference
from verifier.intake import REQUIRED, Person
from verifier.intake.files import RowFile, Unreadable
from verifier.intake.rejects import Rejects
from verifier.store import batches
from verifier.store.engine import transaction
from verifier.verification import submit as submission
from verifier.verification.submit import Priority, Request, Submitted

Key = tuple[str, str]


def submit(
    *,
    selection: str | None,
    references: Sequence[str],
    file: str | None,
    platform: str | None,
    priority: Priority,
    key: str | None,
    caller: str,
    label: str | None,
    deadline_hours: int | None,
    budget: str | None,
    encoding: str,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Submit and return the exit code."""
    rejected = 0
    imports = False
    keys: list[Key] | None = None
    if references:
        keys = [_key(userview.checked(r), platform) for r in references]
    elif file is not None:
        options = importing.FileOptions(file, encoding=encoding)
        keys, rejected, imports = _keys_of_file(
            options, platform or DEFAULT_PLATFORM, dry_run=dry_run
        )
    request = Request(
        selection=selection,
        keys=keys,
        parameters={"platform": platform} if selection and platform else None,
        priority=priority,
        label=label,
        deadline_hours=deadline_hours,
        budget=submission.money(budget),
    )
    if dry_run:
        unknown = _show_plan(request, imports=imports, as_json=as_json)
        return FAILURES if rejected or unknown else 0
    if not is_known(caller, key) and submission.is_empty(request):
        return nobody(request, rejected, as_json=as_json)
    submitted = submission.submit(caller, key_or_new(key), request)
    tell(submitted)
    return finish(submitted, rejected, wait=wait, timeout=timeout, as_json=as_json)


def _key(reference: str, platform: str | None) -> Key:
    """Unknown references are submitted all the same: the answer counts and names them."""
    try:
        return userview.platform_of(reference, platform), reference
    except NotFoundError:
        return platform or DEFAULT_PLATFORM, reference


def key_or_new(key: str | None) -> str:
    """``key``, or a new one, told before anything is submitted so that it can be repeated."""
    if key is None:
        key = str(uuid.uuid4())
        talk.say(f"key {key} (repeat with --key {key} after an interruption)")
    return key


def is_known(caller: str, key: str | None) -> bool:
    """Whether the key has a batch already: that one is resumed, whoever is left to verify."""
    if key is None:
        return False
    with transaction() as connection:
        return batches.has_key(connection, caller, key)


def nobody(request: Request, rejected: int, *, as_json: bool) -> int:
    """Say that there is nobody to verify, and who is unknown; returns the exit code."""
    number, unknown = submission.unknown_of(request)
    _tell_unknown(number, unknown, taken=0)
    talk.say("nobody to verify")
    if as_json:
        talk.out_json(_view(Submitted(0, False, 0, number, unknown), rejected))
    return FAILURES if number or rejected else 0


def tell(submitted: Submitted) -> None:
    """Say what the key, the broker and the workers make of the submission."""
    if not submitted.new:
        talk.say(f"this key is known: it belongs to batch {submitted.batch}")
    warn_if_broker_away()
    with transaction() as connection:
        workers_seen.warn_if_none(connection)


def warn_if_broker_away() -> None:
    """Say that nobody could be rung for: everything is stored, and nothing is lost."""
    if doorbell.is_away():
        talk.warn(
            "the broker is away: the work starts when it is back",
            "Check VERIFIER_BROKER_URL and that the server runs (`verifier doctor`).",
        )


def finish(
    submitted: Submitted, rejected: int, *, wait: bool, timeout: float | None, as_json: bool
) -> int:
    """Tell what was submitted, wait if asked to, and return the exit code."""
    _tell_unknown(submitted.unknown_count, submitted.unknown, taken=submitted.total)
    incomplete = bool(rejected or submitted.unknown_count)
    view = _view(submitted, rejected)
    told = f"batch {submitted.batch}: {talk.counted(submitted.total, 'user')}"
    if not wait:
        if as_json:
            talk.out_json(view)
        else:
            talk.out(told)
            talk.say(f"`verifier batch wait {submitted.batch}` waits for it")
        return FAILURES if incomplete else 0
    if not as_json:
        talk.say(told)
    state = waiting.wait(submitted.batch, timeout)
    if as_json:
        # Ours last: `unknown` is the list here, whether one waits or not.
        talk.out_json({**waiting.as_object(state), **view})
    else:
        waiting.print_outcomes(state)
    return 0 if waiting.all_matched(state) and not incomplete else FAILURES


def _view(submitted: Submitted, rejected: int) -> dict[str, Any]:
    """``verify submit --json``, whether one waits or not. ``batch`` is null when none was made."""
    return {
        "batch": submitted.batch or None,
        "new": submitted.new,
        "total": submitted.total,
        "unknown_count": submitted.unknown_count,
        "unknown": _as_objects(submitted.unknown),
        "rejected": rejected,
    }


def _as_objects(keys: Sequence[Key]) -> list[dict[str, str]]:
    return [{"platform": platform, "reference": reference} for platform, reference in keys]


def _keys_of_file(
    options: importing.FileOptions, platform: str, *, dry_run: bool
) -> tuple[list[Key], int, bool]:
    """The users a file names, in its order, how many of its rows were refused, and whether the
    file has the users themselves."""
    with importing.opened(options, may_be_list=True) as (rows, size):
        if set(REQUIRED) <= set(rows.columns):
            return *_import_first(rows, size, options, dry_run=dry_run), True
        return *_references(rows, options, platform), False


def _import_first(
    rows: RowFile, size: int, options: importing.FileOptions, *, dry_run: bool
) -> tuple[list[Key], int]:
    keys: list[Key] = []

    def remember(people: list[Person]) -> None:
        keys.extend(person.key for person in people)

    done = "checked" if dry_run else "imported"
    talk.say(f"the file has the users themselves: they are {done} first")
    imported, rejects = importing.run_import(
        rows, size, options, dry_run=dry_run, on_taken=remember
    )
    importing.tell_rejects(rejects)
    if not dry_run:
        result = imported.result
        talk.say(
            f"{result.inserted:,} inserted, {result.changed:,} changed, "
            f"{result.contact_changed:,} contact changed, {result.unchanged:,} unchanged, "
            f"{rejects.number:,} rejected"
        )
    return keys, rejects.number


def _references(
    rows: RowFile, options: importing.FileOptions, platform: str
) -> tuple[list[Key], int]:
    keys: dict[Key, None] = {}
    with Rejects(options.rejects_path) as rejects:
        for row in rows:
            if isinstance(row, Unreadable):
                rejects.add(row.line, row.fault)
                continue
            try:
                named = row.values.get("platform") or platform
                keys[check_platform(named), check_reference(row.values.get("reference") or "")] = (
                    None
                )
            except InvalidField as fault:
                rejects.add(row.line, fault)
    importing.tell_rejects(rejects)
    return list(keys), rejects.number


def _tell_unknown(number: int, first: Sequence[Key], *, taken: int) -> None:
    if number:
        named = talk.counted(number, "reference")
        talk.warn(
            f"{named} {'names' if number == 1 else 'name'} no user"
            + ("; the others went in" if taken else ""),
            "Import those users first (`verifier user import`), then submit them.",
        )
        for platform, reference in first:
            talk.say(f"  {talk.printable(reference)} (platform {talk.printable(platform)})")
        if number > len(first):
            talk.say(f"  … and {number - len(first):,} more")


def _show_plan(request: Request, *, imports: bool, as_json: bool) -> int:
    """Count per lane. Returns how many references name no user; a file that has the users
    themselves would import them first."""
    found = submission.count_selection(request)
    budget = request.budget or config().budget.per_batch
    number, unknown = submission.unknown_of(request)
    if imports:
        if number:
            talk.say(f"{talk.counted(number, 'user')} of the file would be imported first")
        number, unknown = 0, ()
    _tell_unknown(number, unknown, taken=0)
    plan = [
        {"lane": str(lane), "users": number, "providers": config().providers_of(lane)}
        for lane, number in found.items()
    ]
    if as_json:
        talk.out_json(
            {
                "dry_run": True,
                "total": sum(found.values()),
                "unknown_count": number,
                "unknown": _as_objects(unknown),
                "lanes": plan,
                "estimate": costs.estimate(found),
                "budget": costs.amount(budget),
            }
        )
        return number
    talk.table(
        ("lane", "users", "providers"),
        ((row["lane"], row["users"], _named(row["providers"])) for row in plan),
    )
    for sums in costs.estimate(found):
        talk.say(
            f"about {sums['expected']} {sums['currency']} if each is billed once; at most "
            f"{sums['at_most_a_day']} a day (two billed results a person)"
        )
    if budget is not None:
        enough = all(Decimal(sums["expected"]) <= budget for sums in costs.estimate(found))
        said = f"its budget: {costs.amount(budget)} {config().budget.currency}"
        talk.say(said if enough else f"{said}: not enough for all, it will be paused")
    talk.say(f"{talk.counted(sum(found.values()), 'user')}; nothing was submitted (--dry-run)")
    return number


def _named(providers: object) -> str:
    if isinstance(providers, list) and providers:
        return ", ".join(providers)
    return "none: settles UNSUPPORTED_NUMBER" if config().providers else "none configured: waits"
