"""Migrations: bring a database to this version, and say whether it is there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from verifier.errors import ConfigError, NotFoundError
from verifier.store.engine import make_engine
from verifier.store.tables import SCHEMA, metadata

#: One migration at a time, whoever starts it (transaction-level advisory lock).
_LOCK = 7_301_202_611


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head() -> str:
    """The revision this version of the code needs."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise LookupError("no migrations are installed")
    return found


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at ``url``. Safe to run twice, and twice at once."""
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


#: What a service that talks SQL needs, and nothing else: no table of ours but the clock, which
#: ``verifier_now()`` reads in the name of whoever asks a view.
_FOR_CLIENTS = (
    "GRANT USAGE ON SCHEMA verifier TO {}",
    "GRANT EXECUTE ON FUNCTION verifier.submit TO {}",
    "GRANT SELECT ON verifier.results, verifier.batch_progress, verifier.batch_results, "
    "verifier.changes, verifier.clock TO {}",
)


#: Whether a role has it: PostgreSQL only warns when whoever grants may not.
_CLIENT_MAY = """
    SELECT has_schema_privilege(:role, 'verifier', 'USAGE')
       AND (SELECT bool_and(has_function_privilege(:role, oid, 'EXECUTE')) FROM pg_proc
             WHERE proname = 'submit' AND pronamespace = 'verifier'::regnamespace)
       AND (SELECT bool_and(has_table_privilege(:role, 'verifier.' || name, 'SELECT'))
              FROM unnest(ARRAY['results', 'batch_progress', 'batch_results', 'changes', 'clock'])
                   AS views (name))
"""
#: PostgreSQL's code for "permission denied".
_NOT_ALLOWED = "42501"


def grant(url: str, role: str) -> None:
    """Let the database role ``role`` submit and read results by SQL.

    Raises NotFoundError for no such role, ConfigError when the account of ``url`` may not grant.
    """
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            known = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)")
            if not connection.execute(known, {"role": role}).scalar_one():
                raise _no_role(role)
            try:
                allowed = _grant(connection, role)
            except ProgrammingError as error:
                if getattr(error.orig, "pgcode", None) != _NOT_ALLOWED:
                    raise
                allowed = False
            if not allowed:
                raise ConfigError(
                    "Nothing was granted: the account of VERIFIER_DATABASE_URL may not grant.",
                    fix="Run it with the URL of the account that owns the verifier's tables.",
                )
    finally:
        engine.dispose()


def _grant(connection: Connection, role: str) -> bool:
    """Whether the role then has what it needs."""
    quoted = connection.dialect.identifier_preparer.quote_identifier(role)
    for statement in _FOR_CLIENTS:
        connection.exec_driver_sql(statement.format(quoted))
    return bool(connection.execute(text(_CLIENT_MAY), {"role": role}).scalar_one())


def _no_role(role: str) -> NotFoundError:
    if role.lower() == "public":
        return NotFoundError(
            "PUBLIC is no role: every account of the server would read results. It is refused.",
            fix="Name the role of one service.",
        )
    shown = repr(role)[1:-1]
    quoted = shown.replace('"', '""')
    return NotFoundError(
        f'There is no database role "{shown}"; capitals count in its name.',
        fix=f"Make it first, as a superuser: CREATE ROLE \"{quoted}\" LOGIN PASSWORD '...'",
    )


def current(url: str) -> str | None:
    """The revision the database is at, or None before the first migration."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
            return context.get_current_revision()
    finally:
        engine.dispose()


def differences(url: str) -> list[str]:
    """What the database's tables have otherwise than ``tables.py``. Partitions do not count."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            # For an account of the schema's own name PostgreSQL makes ours the default schema, and
            # Alembic would then look for our tables under no schema at all.
            connection.dialect.default_schema_name = "public"
            partitions = set(
                connection.scalars(
                    text(
                        "SELECT c.relname FROM pg_class c "
                        "JOIN pg_namespace n ON n.oid = c.relnamespace "
                        "WHERE c.relispartition AND n.nspname = :schema"
                    ),
                    {"schema": SCHEMA},
                )
            )

            def ours(name: str | None, kind: str, parents: dict[str, str | None]) -> bool:
                if kind == "schema":
                    return name == SCHEMA
                table = name if kind == "table" else parents.get("table_name")
                return table not in partitions and table != "alembic_version"

            context = MigrationContext.configure(
                connection,
                opts={
                    "version_table_schema": SCHEMA,
                    "include_schemas": True,
                    "include_name": ours,
                },
            )
            return [str(difference) for difference in compare_metadata(context, metadata)]
    finally:
        engine.dispose()
