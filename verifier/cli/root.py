"""The table of commands: every noun with its one-line help and the module it is loaded from."""

from __future__ import annotations

from typing import Final

import click

from verifier.cli.lazy import Entry, LazyGroup

_COMMANDS: Final = {
    "user": Entry("verifier.cli.user:group", "Import users, show how they stand."),
    "verify": Entry("verifier.cli.verify:group", "Submit users for verification."),
    "batch": Entry("verifier.cli.batch:group", "Watch, pause, cancel, re-run, export batches."),
    "provider": Entry("verifier.cli.provider:group", "Providers: list, try, cost, pause, resume."),
    "gateway": Entry("verifier.cli.gateway:group", "Gateways of messages: list, pause, resume."),
    "webhook": Entry("verifier.cli.webhook:group", "Who is told results: list, pause, retry."),
    "lane": Entry("verifier.cli.lane:group", "Lanes: list, pause, resume."),
    "queue": Entry("verifier.cli.queue:group", "What waits, why, and until when."),
    "stop": Entry("verifier.cli.control:stop", "Stop all calls and messages (the global stop)."),
    "start": Entry("verifier.cli.control:start", "End the global stop."),
    "audit": Entry("verifier.cli.audit:group", "The nightly self-audit: run it, show its report."),
    "reminder": Entry("verifier.cli.reminder:group", "Reminders: plan, send, list."),
    "status": Entry("verifier.cli.status:status", "The whole at a glance."),
    "doctor": Entry("verifier.cli.doctor:doctor", "Check the installation; faults with their fix."),
    "config": Entry("verifier.cli.configuration:group", "Show and check the configuration."),
    "db": Entry("verifier.cli.db:group", "Migrate and check the database."),
    "keys": Entry("verifier.cli.keys:group", "The key ring: make, rotate, show ids."),
    "sandbox": Entry("verifier.cli.sandbox:group", "Carriers and gateways to try things with."),
    "dev": Entry("verifier.cli.dev:group", "Run the whole stack on this machine."),
    "demo": Entry("verifier.cli.demo:demo", "See the whole system at work, start to end."),
}  # fmt: skip


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from verifier import __version__

        click.echo(f"verifier {__version__}")
        context.exit()


@click.group(
    cls=LazyGroup,
    entries=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Batch verification of phone numbers, nightly self-audit and reminders.

    Exit codes: 0 done, 1 error, 2 usage, 3 not found, 5 finished with failures, 7 wait timed out,
    10 already running, 130 interrupted, 141 the reader of the output went away.
    """
