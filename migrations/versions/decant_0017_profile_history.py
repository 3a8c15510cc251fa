"""Profiles of earlier revisions are kept, without values and histograms"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "decant_0017"
down_revision = "decant_0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "profile_history",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("record_count", sa.BigInteger(), nullable=False),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("made_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["decant.datasets.id"], name=op.f("fk_profile_history_dataset_id")),
        sa.PrimaryKeyConstraint("dataset_id", "revision", name=op.f("pk_profile_history")),
        schema="decant",
    )


def downgrade() -> None:
    op.drop_table("profile_history", schema="decant")
