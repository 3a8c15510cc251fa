"""Heads know the newest moment of their records, where a contract names the property that says it"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0009"
down_revision = "decant_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("newest_at", sa.TIMESTAMP(timezone=True), nullable=True), schema="decant")


def downgrade() -> None:
    op.drop_column("datasets", "newest_at", schema="decant")
