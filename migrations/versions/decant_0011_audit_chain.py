"""Audit entries are written by one function, each chained to the one before it; the sweep locks a row"""

import sqlalchemy as sa
from alembic import op

revision = "decant_0011"
down_revision = "decant_0010"
branch_labels = None
depends_on = None

# What an entry's hash covers, beside the hash before it. Moments as numbers: their text depends on the session.
ENTRY = """
CREATE FUNCTION decant.audit_text(entry decant.audit_log) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
RETURN jsonb_build_array(entry.id, extract(epoch FROM entry.at), entry.login, entry.principal, entry.operation,
  entry.product, entry.dataset, entry.records, entry.facts)::text
"""
# With its owner's rights, for no login may write the table. `session_user` is the login, whatever the caller claims.
NOTE = """
CREATE FUNCTION decant.note_audit(
  principal text, operation text, product text, dataset text, records bigint, facts jsonb
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  entry decant.audit_log;
  before bytea;
BEGIN
  SELECT c.hash INTO before FROM decant.audit_chain AS c WHERE c.id = 1 FOR UPDATE;
  entry.id := nextval(pg_get_serial_sequence('decant.audit_log', 'id'));
  entry.at := clock_timestamp();
  entry.login := session_user;
  entry.principal := note_audit.principal;
  entry.operation := note_audit.operation;
  entry.product := note_audit.product;
  entry.dataset := note_audit.dataset;
  entry.records := note_audit.records;
  entry.facts := note_audit.facts;
  entry.hash := sha256(before || convert_to(decant.audit_text(entry), 'UTF8'));
  INSERT INTO decant.audit_log (id, at, login, principal, operation, product, dataset, records, facts, hash)
  VALUES (entry.id, entry.at, entry.login, entry.principal, entry.operation, entry.product, entry.dataset,
    entry.records, entry.facts, entry.hash);
  UPDATE decant.audit_chain AS c SET hash = entry.hash WHERE c.id = 1;
  RETURN entry.id;
END $$
"""
# Entries of before the chain have no hash.
BROKEN = """
CREATE FUNCTION decant.broken_audit() RETURNS SETOF bigint LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT id FROM (
    SELECT e.id, e.hash IS DISTINCT FROM sha256(
      lag(e.hash, 1, sha256(''::bytea)) OVER (ORDER BY e.id)
      || convert_to(decant.audit_text(e.*::decant.audit_log), 'UTF8')) AS broken
    FROM decant.audit_log AS e WHERE e.hash IS NOT NULL
  ) AS judged WHERE broken
  UNION ALL
  SELECT 0 FROM decant.audit_chain AS c
  WHERE c.hash IS DISTINCT FROM coalesce(
    (SELECT e.hash FROM decant.audit_log AS e WHERE e.hash IS NOT NULL ORDER BY e.id DESC LIMIT 1), sha256(''::bytea))
  ORDER BY 1;
END
"""


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("login", sa.Text(), nullable=True), schema="decant")
    op.add_column("audit_log", sa.Column("hash", sa.LargeBinary(), nullable=True), schema="decant")
    op.create_table(
        "audit_chain",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chain")),
        schema="decant",
    )
    op.execute("INSERT INTO decant.audit_chain (id, hash) VALUES (1, sha256(''::bytea))")
    op.create_table(
        "locks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_locks")),
        schema="decant",
    )
    op.execute("INSERT INTO decant.locks (name) VALUES ('sweep')")
    for statement in (ENTRY, NOTE, BROKEN):
        op.execute(statement)
    op.execute("REVOKE EXECUTE ON FUNCTION decant.note_audit FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION decant.broken_audit, decant.note_audit, decant.audit_text")
    op.drop_table("locks", schema="decant")
    op.drop_table("audit_chain", schema="decant")
    op.drop_column("audit_log", "hash", schema="decant")
    op.drop_column("audit_log", "login", schema="decant")
