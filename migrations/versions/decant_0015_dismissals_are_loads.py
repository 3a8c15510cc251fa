"""Rejected records are dismissed by loads too"""

from alembic import op

revision = "decant_0015"
down_revision = "decant_0014"
branch_labels = None
depends_on = None

BEFORE = "kind IN ('ingest', 'replay', 'refresh', 'prune')"
AFTER = "kind IN ('ingest', 'replay', 'refresh', 'prune', 'dismiss')"


def upgrade() -> None:
    op.drop_constraint("ck_kind", "loads", schema="decant", type_="check")
    op.create_check_constraint(op.f("ck_kind"), "loads", AFTER, schema="decant", postgresql_not_valid=True)
    op.execute("ALTER TABLE decant.loads VALIDATE CONSTRAINT ck_kind")


def downgrade() -> None:
    op.execute("DELETE FROM decant.loads WHERE kind = 'dismiss'")
    op.drop_constraint("ck_kind", "loads", schema="decant", type_="check")
    op.create_check_constraint(op.f("ck_kind"), "loads", BEFORE, schema="decant")
