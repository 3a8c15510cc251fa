"""Sign-ins to the portal"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "decant_0014"
down_revision = "decant_0013"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("claims", JSONB(none_as_null=True), nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("seen_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("visited_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
        schema="decant",
    )
    op.create_index("ix_sessions_client", "sessions", ["client", "seen_at"], schema="decant")


def downgrade() -> None:
    op.drop_table("sessions", schema="decant")
