"""Profiles of datasets; keys that rotate; how often callers may, and did, ask"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = 'decant_0005'
down_revision = 'decant_0004'
branch_labels = None
depends_on = None

# Grants up to `wanted` requests of a window's quota, and says for how long they hold.
#
# The window is cut into slots. What was granted in this slot and in as many before it as the window has is within the
# quota, so that no window, wherever it begins, holds more than the quota. What a caller did not use of an earlier
# grant (`unused`, of `unused_slot`) comes back. Times are the database's: all processes have the same.
LEASE_REQUESTS = """
CREATE FUNCTION decant.lease_requests(
    caller text, quota bigint, window_ms bigint, slot_count integer, wanted bigint, unused bigint, unused_slot bigint,
    OUT granted_now bigint, OUT left_over bigint, OUT slot bigint, OUT slot_ms_left double precision,
    OUT retry_ms double precision
) LANGUAGE plpgsql SET search_path = decant, pg_temp AS $$
DECLARE
    slot_ms double precision := window_ms::double precision / slot_count;
    now_ms double precision;
    held decant.rate_leases;
    kept_slots bigint[];
    kept_grants bigint[];
    used bigint;
BEGIN
    INSERT INTO rate_leases (principal, slots, granted) VALUES (caller, '{}', '{}') ON CONFLICT DO NOTHING;
    SELECT * INTO held FROM rate_leases WHERE principal = caller FOR UPDATE;
    now_ms := extract(epoch FROM clock_timestamp()) * 1000;
    slot := floor(now_ms / slot_ms);
    SELECT coalesce(array_agg(s ORDER BY s), '{}'), coalesce(array_agg(g ORDER BY s), '{}'), coalesce(sum(g), 0)
    INTO kept_slots, kept_grants, used
    FROM (
        SELECT s, greatest(g - CASE WHEN s = unused_slot THEN unused ELSE 0 END, 0) AS g
        FROM unnest(held.slots, held.granted) AS leased (s, g)
        WHERE s >= slot - slot_count
    ) AS counted
    WHERE g > 0;
    granted_now := greatest(least(wanted, quota - used), 0);
    left_over := greatest(quota - used - granted_now, 0);
    IF granted_now > 0 THEN
        IF kept_slots[cardinality(kept_slots)] = slot THEN
            kept_grants[cardinality(kept_grants)] := kept_grants[cardinality(kept_grants)] + granted_now;
        ELSE
            kept_slots := kept_slots || slot;
            kept_grants := kept_grants || granted_now;
        END IF;
    END IF;
    slot_ms_left := (slot + 1) * slot_ms - now_ms;
    -- When the oldest grant no longer counts.
    retry_ms := (coalesce(kept_slots[1], slot) + slot_count + 1) * slot_ms - now_ms;
    UPDATE rate_leases SET slots = kept_slots, granted = kept_grants, touched_at = now() WHERE principal = caller;
END $$
"""


def upgrade() -> None:
    op.create_table('profiles',
    sa.Column('dataset_id', sa.BigInteger(), nullable=False),
    sa.Column('revision', sa.BigInteger(), nullable=False),
    sa.Column('record_count', sa.BigInteger(), nullable=False),
    sa.Column('properties', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('seconds', sa.Double(), nullable=False),
    sa.Column('made_at', sa.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['dataset_id'], ['decant.datasets.id'], name=op.f('fk_profiles_dataset_id')),
    sa.PrimaryKeyConstraint('dataset_id', name=op.f('pk_profiles')),
    schema='decant'
    )
    op.create_table('rate_leases',
    sa.Column('principal', sa.Text(), nullable=False),
    sa.Column('slots', postgresql.ARRAY(sa.BigInteger()), nullable=False),
    sa.Column('granted', postgresql.ARRAY(sa.BigInteger()), nullable=False),
    sa.Column('touched_at', sa.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('principal', name=op.f('pk_rate_leases')),
    schema='decant'
    )
    op.create_table('key_usage',
    sa.Column('principal', sa.Text(), nullable=False),
    sa.Column('day', sa.Date(), nullable=False),
    sa.Column('product', sa.Text(), nullable=False),
    sa.Column('major', sa.Integer(), nullable=False),
    sa.Column('dataset', sa.Text(), nullable=False),
    sa.Column('operation', sa.Text(), nullable=False),
    sa.Column('requests', sa.BigInteger(), nullable=False),
    sa.Column('refused', sa.BigInteger(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False),
    sa.Column('last_at', sa.TIMESTAMP(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('principal', 'day', 'product', 'major', 'dataset', 'operation', name=op.f('pk_key_usage')),
    schema='decant'
    )
    op.add_column('api_keys', sa.Column('rate_limit', sa.Text(), nullable=True), schema='decant')
    op.add_column('api_keys', sa.Column('created_by', sa.Text(), nullable=True), schema='decant')
    op.add_column('api_keys', sa.Column('replaced_by', sa.Text(), nullable=True), schema='decant')
    op.execute(LEASE_REQUESTS)


def downgrade() -> None:
    op.execute('DROP FUNCTION decant.lease_requests')
    op.drop_column('api_keys', 'replaced_by', schema='decant')
    op.drop_column('api_keys', 'created_by', schema='decant')
    op.drop_column('api_keys', 'rate_limit', schema='decant')
    op.drop_table('key_usage', schema='decant')
    op.drop_table('rate_leases', schema='decant')
    op.drop_table('profiles', schema='decant')
