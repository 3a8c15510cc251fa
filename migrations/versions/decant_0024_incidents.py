"""Incidents that people are told of, and what was sent of them"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0024"
down_revision = "decant_0023"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)

# With its owner's rights, for the login that sends reads no keys. It tells which end when, and no secret: of each line
# the newest, since what a rotation has replaced may end.
KEYS = """
CREATE FUNCTION decant.ending_keys(first timestamptz, last timestamptz)
RETURNS TABLE (id text, scopes jsonb, expires_at timestamptz) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT newest.id, newest.scopes, newest.expires_at FROM (
    SELECT DISTINCT ON (coalesce(k.line, k.id)) k.id, k.scopes, k.expires_at, k.revoked_at FROM decant.api_keys AS k
    ORDER BY coalesce(k.line, k.id), k.created_at DESC, k.id
  ) AS newest
  WHERE newest.revoked_at IS NULL AND newest.expires_at BETWEEN ending_keys.first AND ending_keys.last
  ORDER BY newest.expires_at, newest.id;
END
"""


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("major", sa.Integer(), nullable=True),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("load_id", sa.BigInteger(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("next", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
        schema="decant",
    )
    op.create_index(
        "ix_incidents_open",
        "incidents",
        ["kind", "product", "major", "dataset", "subject"],
        unique=True,
        schema="decant",
        postgresql_where=sa.text("ended_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "incident_messages",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("sent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("noted_at", MOMENT, nullable=True),
        sa.Column("tried_at", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["decant.incidents.id"],
            name=op.f("fk_incident_messages_incident_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident_messages")),
        sa.UniqueConstraint("incident_id", "channel", name=op.f("uq_incident_messages_incident_id_channel")),
        schema="decant",
    )
    op.create_index(
        "ix_incident_messages_open",
        "incident_messages",
        ["channel"],
        schema="decant",
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index("ix_incident_messages_tried", "incident_messages", ["channel", "tried_at"], schema="decant")
    op.execute(KEYS)
    op.execute("REVOKE EXECUTE ON FUNCTION decant.ending_keys FROM PUBLIC")
    op.execute("INSERT INTO decant.locks (name) VALUES ('incidents')")


def downgrade() -> None:
    op.execute("DELETE FROM decant.locks WHERE name = 'incidents'")
    op.execute("DROP FUNCTION decant.ending_keys")
    op.drop_table("incident_messages", schema="decant")
    op.drop_table("incidents", schema="decant")
