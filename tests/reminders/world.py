"""A small world for reminders and audits: the product on real servers, people, and the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text

from verifier import config as config_module
from verifier.clock import at_local
from verifier.identity.keyring import KeyRing
from verifier.intake import put_users
from verifier.reminders import runtime as runtime_module
from verifier.sandbox.people import generate
from verifier.sandbox.server import SandboxServer
from verifier.store import clock, reminders
from verifier.store.engine import transaction

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2026, 11, 23)  # a Monday
TEMPLATES = ("mismatched", "no_record", "invalid_input", "number_inactive", "consent_missing")

_PEOPLE = iter(generate(100_000, seed=7))
_NUMBERS = count(1)


def noon(day: date = DAY) -> datetime:
    """Noon of a business day, when everybody in China may be written to."""
    return at_local(day, time(12, 0), ZONE)


def never() -> bool:
    """A worker that nobody tells to stop."""
    return False


@dataclass
class Someone:
    """A user as put, in clear, for asking the sandbox afterwards."""

    reference: str
    phone: str = field(repr=False)
    id_number: str = field(repr=False)
    name: str = field(repr=False)
    push_token: str = field(repr=False)


class World:
    """Puts people, sets what is known of them, moves the clock, and looks at the outcome."""

    def __init__(self, home: Path, keyring: KeyRing, sandbox: SandboxServer) -> None:
        self.home = home
        self.keyring = keyring
        self.sandbox = sandbox
        self.configure()
        self.at(noon())

    def configure(
        self,
        *,
        extra: str = "",
        gateways: tuple[str, ...] = ("jpush", "sms"),
        qps: int = 1000,
        timeout: float = 1.0,
        endpoint: str | None = None,
    ) -> None:
        """Write the configuration; ``gateways`` named jpush… or sms… are the sandbox's, or stand at
        ``endpoint``."""
        parts = [extra]
        for place, name in enumerate(gateways, start=1):
            parts.append(self._gateway(name, place, qps, timeout, endpoint))
        (self.home / "verifier.toml").write_text("\n".join(parts), "utf-8")
        config_module.config.cache_clear()
        if runtime_module.runtime.cache_info().currsize:
            for gateway in runtime_module.runtime().gateways.values():
                gateway.close()
        runtime_module.reset()

    def _gateway(
        self, name: str, preference: int, qps: int, timeout: float, endpoint: str | None
    ) -> str:
        push = name.startswith("jpush")
        key, secret = (
            ("jpush_app_key", "jpush_master_secret")
            if push
            else ("aliyun_key_id", "aliyun_key_secret")
        )
        url = "http://127.0.0.1:1" if name.endswith("_down") else endpoint or self.sandbox.url
        lines = [
            f"[gateways.{name}]",
            f'kind = "{"jpush" if push else "aliyun_sms"}"',
            f'endpoint = "{url}"',
            f'key_id = "file:{self.sandbox.state / key}"',
            f'key_secret = "file:{self.sandbox.state / secret}"',
            f"preference = {preference}",
            f"qps = {qps}",
            f"timeout = {timeout}",
        ]
        if not push:
            lines += ['sign_name = "Verifier"', f"[gateways.{name}.templates]"]
            lines += [
                f'"{template}.{locale}" = "SMS_1{place:03d}"'
                for place, (template, locale) in enumerate(
                    (t, locale) for t in TEMPLATES for locale in ("zh", "en")
                )
            ]
        return "\n".join(lines) + "\n"

    def at(self, instant: datetime) -> None:
        """Make the business time ``instant``."""
        with transaction() as connection:
            clock.move_to(connection, instant)

    def pass_time(self, by: timedelta) -> None:
        with transaction() as connection:
            clock.move_to(connection, clock.now(connection) + by)

    def put(
        self,
        outcome: str | None = "MISMATCHED",
        detail: str | None = None,
        *,
        push: bool = False,
        like: Someone | None = None,
        share: tuple[str, ...] = (),
        **fields: Any,
    ) -> Someone:
        """A new user whose check ended so (None: unverified). With ``like``, the columns named in
        ``share`` are those of that other user."""
        person = next(p for p in _PEOPLE if p.entry is not None)
        number = next(_NUMBERS)
        values = {
            "reference": f"user-{number}",
            "phone": person.phone,
            "name": person.name,
            "id_number": person.entry.id_number if person.entry else "",
            "push_token": f"sandbox-{number:016x}" if push else "",
            **({name: getattr(like, name) for name in share} if like else {}),
            **fields,
        }
        result = put_users(self.keyring, [values])
        assert result.inserted == 1, result.rejected
        if outcome is not None:
            self.conclude(values["reference"], outcome, detail)
        return Someone(
            values["reference"],
            values["phone"],
            values["id_number"],
            values["name"],
            values["push_token"],
        )

    def conclude(self, reference: str, outcome: str, detail: str | None = None) -> None:
        """Write a verdict as recording does."""
        with transaction() as connection:
            connection.execute(
                text("""
                    UPDATE verifier.users SET outcome = :outcome, detail = :detail,
                           status = CASE :outcome WHEN 'MATCHED' THEN 'verified' ELSE 'failed' END,
                           checked_at = verifier.verifier_now() WHERE reference = :reference
                """),
                {"outcome": outcome, "detail": detail, "reference": reference},
            )
            connection.execute(
                text("""
                    INSERT INTO verifier.verifications
                           (id, settled_at, user_id, data_version, lane, outcome, detail, attempts,
                            created_at)
                    SELECT nextval('verifier.verification_ids'), verifier.verifier_now(), id,
                           version, lane, :outcome, :detail, 1, verifier.verifier_now()
                      FROM verifier.users WHERE reference = :reference
                """),
                {"outcome": outcome, "detail": detail, "reference": reference},
            )

    def change_data(self, someone: Someone) -> None:
        """The person corrects the name: another data version, unverified again."""
        row = {
            "reference": someone.reference,
            "phone": someone.phone,
            "name": someone.name[0] + "一" + someone.name[1:],
            "id_number": someone.id_number,
            "push_token": someone.push_token,
        }
        assert put_users(self.keyring, [row]).changed == 1

    def open(self, someone: Someone, **columns: str) -> None:
        """An open verification of the user; ``columns`` are SQL expressions."""
        values = {
            "due_at": "verifier.verifier_now()",
            "reason": "'new'",
            "deadline_at": "verifier.verifier_now() + interval '1 day'",
            "held": "false",
            **columns,
        }
        with transaction() as connection:
            connection.execute(
                text(f"""
                    INSERT INTO verifier.open_verifications
                           (user_id, lane, priority, turn_at, {", ".join(values)})
                    SELECT id, lane, 2, verifier.verifier_now(), {", ".join(values.values())}
                      FROM verifier.users WHERE reference = :reference
                """),  # noqa: S608 - a test's own words
                {"reference": someone.reference},
            )

    def rows(self, someone: Someone | None = None) -> list[Any]:
        """Reminders, oldest first."""
        with transaction() as connection:
            found = reminders.listing(connection, limit=1000)
        return [
            row for row in reversed(found) if someone is None or row.reference == someone.reference
        ]

    def row(self, someone: Someone | None = None) -> Any:
        """The only reminder."""
        [row] = self.rows(someone)
        return row

    def received(self, *recipients: str) -> list[dict[str, Any]]:
        """What the vendors accepted (for these phones or tokens)."""
        if not recipients:
            return self.sandbox.client.messages()
        return [m for recipient in recipients for m in self.sandbox.client.messages(recipient)]

    def end_leases(self) -> None:
        """As if the lease time, and the time of any call, had passed."""
        self.execute(
            "UPDATE verifier.reminders SET lease_until = '2000-01-01' "
            "WHERE lease_until IS NOT NULL AND state = 'planned'"
        )
        self.execute(
            "UPDATE verifier.reminders SET lease_until = clock_timestamp() "
            "- interval '1 ms' WHERE state = 'sending'"
        )

    def after_settling(self) -> None:
        """As if the call had ended and the vendor's records were complete by now."""
        self.end_leases()
        self.pass_time(timedelta(minutes=15))

    def execute(self, statement: str, **parameters: Any) -> None:
        with transaction() as connection:
            connection.execute(text(statement), parameters)
