"""Measurements of quality rules say what the rules read"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "decant_0010"
down_revision = "decant_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "quality_results",
        sa.Column("reads", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="decant",
    )


def downgrade() -> None:
    op.drop_column("quality_results", "reads", schema="decant")
