"""Take indexes away for a first load, and build them at its end"""

from alembic import op

revision = "decant_0002"
down_revision = "decant_0001"
branch_labels = None
depends_on = None

# The ingest login owns no table, so these two run with the rights of whoever migrates. They take a table, never SQL:
# what they execute is what they read from the catalogue themselves. Only an empty table of Decant's form is touched.
PARK = """
CREATE FUNCTION decant.park_indexes(target regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  filled boolean;
  found record;
BEGIN
  IF (SELECT count(*) FROM pg_attribute WHERE attrelid = target AND attname IN ('_revision', '_load', '_line')) <> 3 THEN
    RAISE EXCEPTION '% is no table of a dataset', target;
  END IF;
  EXECUTE format('SELECT EXISTS (SELECT FROM %s)', target) INTO filled;
  IF filled THEN
    RETURN;
  END IF;
  FOR found IN
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
    FROM pg_index WHERE indrelid = target AND NOT indisprimary
  LOOP
    INSERT INTO decant.parked_indexes ("table", name, definition)
    VALUES (target::text, found.name, found.definition) ON CONFLICT DO NOTHING;
    EXECUTE format('DROP INDEX %s', found.name);
  END LOOP;
END
$$
"""
RESTORE = """
CREATE FUNCTION decant.restore_indexes(target regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET maintenance_work_mem = '256MB' AS $$
DECLARE
  found record;
BEGIN
  FOR found IN DELETE FROM decant.parked_indexes WHERE "table" = target::text RETURNING definition LOOP
    EXECUTE found.definition;
  END LOOP;
END
$$
"""


def upgrade() -> None:
    op.execute(PARK)
    op.execute(RESTORE)
    op.execute("REVOKE ALL ON FUNCTION decant.park_indexes(regclass), decant.restore_indexes(regclass) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION decant.restore_indexes(regclass)")
    op.execute("DROP FUNCTION decant.park_indexes(regclass)")
