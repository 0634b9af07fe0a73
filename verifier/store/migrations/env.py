"""Runs migrations on the connection that :mod:`verifier.store.schema` hands over."""

from alembic import context

from verifier.store.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
context.run_migrations()
