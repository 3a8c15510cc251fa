"""Usage says which problems refused requests were answered with"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0016"
down_revision = "decant_0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_refusals",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "principal", "day", "product", "major", "dataset", "operation", "code", name=op.f("pk_key_refusals")
        ),
        schema="decant",
    )


def downgrade() -> None:
    op.drop_table("key_refusals", schema="decant")
