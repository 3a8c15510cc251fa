"""Rejected records keep the value by which they are newer or older than good ones of their key"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "decant_0013"
down_revision = "decant_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "rejected_records",
        sa.Column("order_value", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="decant",
    )


def downgrade() -> None:
    op.drop_column("rejected_records", "order_value", schema="decant")
