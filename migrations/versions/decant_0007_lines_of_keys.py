"""Keys that rotations made belong to the line of the first one"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0007"
down_revision = "decant_0006"
branch_labels = None
depends_on = None

# Each key names the one that took its place, so lines are followed from their first keys.
FOLLOW = """
WITH RECURSIVE lines (id, line) AS (
  SELECT first.id, first.id FROM decant.api_keys AS first
  WHERE NOT EXISTS (SELECT 1 FROM decant.api_keys AS before WHERE before.replaced_by = first.id)
  UNION ALL
  SELECT k.replaced_by, lines.line FROM lines JOIN decant.api_keys AS k ON k.id = lines.id
  WHERE k.replaced_by IS NOT NULL
)
UPDATE decant.api_keys AS k SET line = lines.line FROM lines WHERE lines.id = k.id AND lines.line <> k.id
"""


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("line", sa.Text(), nullable=True), schema="decant")
    op.execute(FOLLOW)


def downgrade() -> None:
    op.drop_column("api_keys", "line", schema="decant")
