"""Sessions say why they ended before their time, and when a credential was shown"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0020"
down_revision = "decant_0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.TIMESTAMP(timezone=True)
    op.add_column("sessions", sa.Column("shown_at", moment, nullable=True), schema="decant")
    op.add_column("sessions", sa.Column("ended", sa.Text(), nullable=True), schema="decant")
    op.execute("UPDATE decant.sessions SET shown_at = created_at WHERE key_id IS NOT NULL")


def downgrade() -> None:
    op.drop_column("sessions", "ended", schema="decant")
    op.drop_column("sessions", "shown_at", schema="decant")
