"""Workers say that they are alive; loads are found by their start, and those that ended badly"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0018"
down_revision = "decant_0017"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("started_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("seen_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        schema="decant",
    )
    op.create_index("ix_loads_dataset_id_started_at", "loads", ["dataset_id", "started_at"], schema="decant")
    op.create_index(
        "ix_loads_ended_badly",
        "loads",
        ["dataset_id", "id"],
        schema="decant",
        postgresql_where=sa.text("status IN ('failed', 'withheld')"),
    )


def downgrade() -> None:
    op.drop_index("ix_loads_ended_badly", table_name="loads", schema="decant")
    op.drop_index("ix_loads_dataset_id_started_at", table_name="loads", schema="decant")
    op.drop_table("workers", schema="decant")
