"""The outbox: what others should know, in order, and how far its readers are"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "decant_0021"
down_revision = "decant_0020"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("event_id", sa.Uuid(), server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("major", sa.Integer(), nullable=True),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("facts", JSONB(none_as_null=True), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("sequence", name=op.f("uq_outbox_sequence")),
        schema="decant",
    )
    op.create_index(
        "ix_outbox_waiting", "outbox", ["id"], schema="decant", postgresql_where=sa.text("sequence IS NULL")
    )
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"], schema="decant")
    op.create_table(
        "outbox_cursors",
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("reader", name=op.f("pk_outbox_cursors")),
        schema="decant",
    )
    op.execute("CREATE SEQUENCE decant.outbox_sequence")
    op.execute("INSERT INTO decant.locks (name) VALUES ('outbox')")


def downgrade() -> None:
    op.execute("DELETE FROM decant.locks WHERE name = 'outbox'")
    op.execute("DROP SEQUENCE decant.outbox_sequence")
    op.drop_table("outbox_cursors", schema="decant")
    op.drop_table("outbox", schema="decant")
