"""Webhooks: subscriptions to the outbox, and what was sent to them"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "decant_0022"
down_revision = "decant_0021"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)
JSON = JSONB(none_as_null=True)


# With its owner's rights, for the login that sends reads no keys. It tells of owners of webhooks alone, and no secret.
SCOPES = """
CREATE FUNCTION decant.webhook_scopes(subscription text, at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT k.scopes FROM decant.api_keys AS k
  WHERE coalesce(k.line, k.id) = (SELECT s.owner FROM decant.subscriptions AS s WHERE s.id = webhook_scopes.subscription)
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > webhook_scopes.at)
  ORDER BY k.created_at DESC, k.id LIMIT 1;
END
"""


def upgrade() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("datasets", JSON, nullable=True),
        sa.Column("kinds", JSON, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("secrets", JSON, nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("disabled_at", MOMENT, nullable=True),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("conflate_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("asked", JSON, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failing_since", MOMENT, nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        schema="decant",
    )
    op.create_index("ix_subscriptions_owner", "subscriptions", ["owner", "created_at"], schema="decant")
    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sent_at", MOMENT, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["decant.subscriptions.id"],
            name=op.f("fk_deliveries_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        schema="decant",
    )
    op.create_index("ix_deliveries_subscription_id_id", "deliveries", ["subscription_id", "id"], schema="decant")
    op.create_index("ix_deliveries_sent_at", "deliveries", ["sent_at"], schema="decant")
    op.execute(SCOPES)
    op.execute("REVOKE EXECUTE ON FUNCTION decant.webhook_scopes FROM PUBLIC")
    op.create_index("ix_outbox_product_sequence", "outbox", ["product", "major", "sequence"], schema="decant")
    op.create_index("ix_outbox_event_id", "outbox", ["event_id"], unique=True, schema="decant")


def downgrade() -> None:
    op.drop_index("ix_outbox_event_id", table_name="outbox", schema="decant")
    op.drop_index("ix_outbox_product_sequence", table_name="outbox", schema="decant")
    op.execute("DROP FUNCTION decant.webhook_scopes")
    op.drop_table("deliveries", schema="decant")
    op.drop_table("subscriptions", schema="decant")
