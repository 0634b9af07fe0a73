"""The first schema."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    statements = Path(__file__).with_suffix(".sql").read_text("utf-8")
    # The raw cursor: through SQLAlchemy the format() patterns in the file would read as parameters.
    cursor = op.get_bind().connection.cursor()
    cursor.execute(statements)
    cursor.close()
