"""Heads know the transaction that moved them last; each watched input is looked at by one worker"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0012"
down_revision = "decant_0011"
branch_labels = None
depends_on = None

MOVED_BY = "pg_catalog.pg_current_xact_id()::text::bigint"
# A trigger, for a head that moved without its mark would not be seen.
STAMP = f"""
CREATE FUNCTION decant.stamp_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.moved_by := {MOVED_BY};
  RETURN NEW;
END $$
"""
FACTS = ("product", "major", "dataset", "revision", "oldest_revision", "record_count", "published_at")
OLD, NEW = (", ".join(f"{row}.{name}" for name in FACTS) for row in ("OLD", "NEW"))
TRIGGER = f"""
CREATE TRIGGER stamp_head BEFORE UPDATE ON decant.datasets FOR EACH ROW
WHEN (({OLD}) IS DISTINCT FROM ({NEW})) EXECUTE FUNCTION decant.stamp_head()
"""


def upgrade() -> None:
    op.add_column(
        "datasets",
        sa.Column("moved_by", sa.BigInteger(), server_default=sa.text(MOVED_BY), nullable=False),
        schema="decant",
    )
    op.create_index("ix_datasets_moved_by", "datasets", ["moved_by"], schema="decant")
    op.execute(STAMP)
    op.execute(TRIGGER)
    op.create_table(
        "watched_inputs",
        sa.Column("dataset_id", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["decant.datasets.id"], name=op.f("fk_watched_inputs_dataset_id")
        ),
        sa.PrimaryKeyConstraint("dataset_id", name=op.f("pk_watched_inputs")),
        schema="decant",
    )


def downgrade() -> None:
    op.drop_table("watched_inputs", schema="decant")
    op.execute("DROP TRIGGER stamp_head ON decant.datasets")
    op.execute("DROP FUNCTION decant.stamp_head")
    op.drop_index("ix_datasets_moved_by", table_name="datasets", schema="decant")
    op.drop_column("datasets", "moved_by", schema="decant")
