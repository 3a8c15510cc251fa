"""How far the loads of each stream are behind what its broker holds"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "decant_0023"
down_revision = "decant_0022"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "stream_lags",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partitions", JSONB(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("caught_up_at", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("measured_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["decant.datasets.id"], name=op.f("fk_stream_lags_dataset_id_datasets")
        ),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_stream_lags")),
        schema="decant",
    )


def downgrade() -> None:
    op.drop_table("stream_lags", schema="decant")
