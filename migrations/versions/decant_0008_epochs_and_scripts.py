"""The database has an epoch, and keeps the scripts that were applied to it"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0008"
down_revision = "decant_0007"
branch_labels = None
depends_on = None

FIRST = """
INSERT INTO decant.epochs (epoch, reason)
VALUES (left(replace(gen_random_uuid()::text, '-', ''), 8), 'the database was made')
"""


def upgrade() -> None:
    op.create_table(
        "epochs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_epochs")),
        sa.UniqueConstraint("epoch", name=op.f("uq_epochs_epoch")),
        schema="decant",
    )
    op.execute(FIRST)
    op.create_table(
        "scripts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_scripts")),
        schema="decant",
    )


def downgrade() -> None:
    op.drop_table("scripts", schema="decant")
    op.drop_table("epochs", schema="decant")
