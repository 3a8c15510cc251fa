"""A load is queued unless its writer may say otherwise"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0006"
down_revision = "decant_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("loads", "status", server_default=sa.text("'queued'"), schema="decant")


def downgrade() -> None:
    op.alter_column("loads", "status", server_default=None, schema="decant")
