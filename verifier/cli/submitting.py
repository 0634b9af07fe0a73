"""``verifier verify submit`` at work: whom, how many, submitted once, waited for."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from verifier.cli import importing, talk, userview, waiting, workers_seen
from verifier.cli.user import FAILURES
from verifier.config import config
from verifier.errors import NotFoundError, UsageError
from verifier.identity.errors import InvalidField
from verifier.identity.reference import check_platform, check_reference
from verifier.intake import DEFAULT_PLATFORM, REQUIRED, Person
from verifier.intake.files import RowFile, Unreadable
from verifier.intake.rejects import Rejects
from verifier.outcomes import Lane
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
    deadline_hours: float | None,
    encoding: str,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Submit and return the exit code."""
    _exactly_one(selection, references, file)
    rejected = 0
    keys: list[Key] | None = None
    if references:
        keys = [_key(userview.checked(r), platform) for r in references]
    elif file is not None:
        options = importing.FileOptions(file, encoding=encoding)
        keys, rejected = _keys_of_file(options, platform or DEFAULT_PLATFORM, dry_run=dry_run)
    request = Request(
        selection=selection,
        keys=keys,
        parameters={"platform": platform} if selection and platform else None,
        priority=priority,
        label=label,
        deadline_hours=deadline_hours,
    )
    if dry_run:
        _show_plan(request, as_json=as_json)
        return FAILURES if rejected else 0
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


def tell(submitted: Submitted) -> None:
    """Say what the key and the workers make of the submission."""
    if not submitted.new:
        talk.say(f"this key is known: it belongs to batch {submitted.batch}")
    with transaction() as connection:
        workers_seen.warn_if_none(connection)


def finish(
    submitted: Submitted, rejected: int, *, wait: bool, timeout: float | None, as_json: bool
) -> int:
    """Tell what was submitted, wait if asked to, and return the exit code."""
    _tell_unknown(submitted)
    incomplete = bool(rejected or submitted.unknown_count)
    view: dict[str, Any] = {
        "batch": submitted.batch,
        "new": submitted.new,
        "total": submitted.total,
        "unknown_count": submitted.unknown_count,
        "unknown": [{"platform": p, "reference": r} for p, r in submitted.unknown],
        "rejected": rejected,
    }
    if not wait:
        if as_json:
            talk.out_json(view)
        else:
            talk.out(f"batch {submitted.batch}: {submitted.total:,} users")
            talk.say(f"`verifier batch wait {submitted.batch}` waits for it")
        return FAILURES if incomplete else 0
    if not as_json:
        talk.say(f"batch {submitted.batch}: {submitted.total:,} users")
    state = waiting.wait(submitted.batch, timeout)
    if as_json:
        talk.out_json({**view, **waiting.as_object(state)})
    else:
        waiting.print_outcomes(state)
    return 0 if waiting.all_matched(state) and not incomplete else FAILURES


def _exactly_one(selection: str | None, references: Sequence[str], file: str | None) -> None:
    if (selection is not None) + bool(references) + (file is not None) != 1:
        raise UsageError(
            "Say whom to verify, in exactly one way.",
            fix="Use one of --all, --unverified, --failed, --ref REF, --from FILE.",
        )


def _keys_of_file(
    options: importing.FileOptions, platform: str, *, dry_run: bool
) -> tuple[list[Key], int]:
    """The users a file names, in its order, and how many of its rows were refused."""
    with importing.opened(options, may_be_list=True) as (rows, size):
        if set(REQUIRED) <= set(rows.columns):
            return _import_first(rows, size, options, dry_run=dry_run)
        return _references(rows, options, platform)


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


def _tell_unknown(submitted: Submitted) -> None:
    if submitted.unknown_count:
        talk.warn(
            f"{submitted.unknown_count:,} references name no user; the others went in",
            "Import those users first (`verifier user import`), then submit them.",
        )
        for platform, reference in submitted.unknown:
            talk.say(f"  {talk.printable(reference)} (platform {talk.printable(platform)})")
        if submitted.unknown_count > len(submitted.unknown):
            talk.say(f"  … and {submitted.unknown_count - len(submitted.unknown):,} more")


def _show_plan(request: Request, *, as_json: bool) -> None:
    found = submission.count_selection(request)
    plan = [
        {"lane": str(lane), "users": number, "providers": _providers_of(lane)}
        for lane, number in found.items()
    ]
    if as_json:
        talk.out_json({"dry_run": True, "total": sum(found.values()), "lanes": plan})
        return
    talk.table(
        ("lane", "users", "providers"),
        ((row["lane"], row["users"], _named(row["providers"])) for row in plan),
    )
    talk.say(f"{sum(found.values()):,} users; nothing was submitted (--dry-run)")


def _providers_of(lane: Lane) -> list[str]:
    """Whom the lane's users would be verified by, the first asked first."""
    rows = config().providers.items()
    return [name for _, name in sorted((p.preference, name) for name, p in rows if lane in p.lanes)]


def _named(providers: object) -> str:
    if isinstance(providers, list) and providers:
        return ", ".join(providers)
    return "none: settles UNSUPPORTED_NUMBER" if config().providers else "none configured: waits"
