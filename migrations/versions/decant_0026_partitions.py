"""Copy a table into partitions, and take indexes of partitioned tables away"""

from alembic import op

revision = "decant_0026"
down_revision = "decant_0024"
branch_labels = None
depends_on = None

# pg_get_indexdef writes the index of a partitioned table with ONLY: run again, that makes one without partitions.
DEFINE = """
CREATE FUNCTION decant.define_index(index regclass, called name, place text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  facts record;
  beginning text;
BEGIN
  SELECT c.relname, c.relkind, i.indrelid::regclass::text AS home, pg_get_indexdef(c.oid) AS definition,
    CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END AS kind
  INTO STRICT facts FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indexrelid = index;
  beginning := format('CREATE %sINDEX %I ON %s%s ', facts.kind, facts.relname,
    CASE facts.relkind WHEN 'I' THEN 'ONLY ' ELSE '' END, facts.home);
  IF NOT starts_with(facts.definition, beginning) THEN
    RAISE EXCEPTION 'unexpected definition of an index: %', facts.definition;
  END IF;
  RETURN format('CREATE %sINDEX %I ON %s ', facts.kind, called, place)
    || substr(facts.definition, length(beginning) + 1);
END
$$
"""
PARK = """
CREATE OR REPLACE FUNCTION decant.park_indexes(target regclass) RETURNS void
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
    SELECT i.indexrelid::regclass::text AS name, {definition} AS definition
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = target AND NOT i.indisprimary
  LOOP
    INSERT INTO decant.parked_indexes ("table", name, definition)
    VALUES (target::text, found.name, found.definition) ON CONFLICT DO NOTHING;
    EXECUTE format('DROP INDEX %s', found.name);
  END LOOP;
END
$$
"""
# Copies a table into another one under its name: partitioned by HASH of a column, or in one piece where no partition
# is named. Reads go on until the copy takes the table's place. It runs with the rights of whoever calls it.
REPARTITION = """
CREATE FUNCTION decant.repartition(target regclass, key_column name, parts name[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET row_security = off SET maintenance_work_mem = '256MB' AS $$
DECLARE
  place CONSTANT text := target::text;
  mark CONSTANT text := '_copy_' || target::oid;
  old pg_class%ROWTYPE;
  home text;  -- the schema
  fresh text;  -- the copy
  pieces text[];  -- what will hold the copy's rows
  options text[];
  columns text;
  kept text;
  statement text;
  later text[] := '{}';  -- what has to wait for the old table's names
  found record;
  number integer := 0;
BEGIN
  EXECUTE format('LOCK TABLE %s IN SHARE MODE', place);
  SELECT * INTO STRICT old FROM pg_class WHERE oid = target;
  home := quote_ident((SELECT nspname FROM pg_namespace WHERE oid = old.relnamespace));
  SELECT string_agg(o.what, ', ' ORDER BY o.what) INTO kept FROM (
    SELECT inhrelid AS id FROM pg_inherits WHERE inhparent = target AND old.relkind = 'p' UNION ALL SELECT target::oid
  ) AS t CROSS JOIN LATERAL (
    SELECT 'trigger ' || tgname AS what FROM pg_trigger WHERE tgrelid = t.id AND NOT tgisinternal
    UNION ALL SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = t.id
    UNION ALL SELECT 'foreign key ' || conname FROM pg_constraint WHERE contype = 'f' AND t.id IN (conrelid, confrelid)
    UNION ALL SELECT 'publication ' || pubname FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
      WHERE r.prrelid = t.id
    UNION ALL SELECT 'child ' || inhrelid::regclass FROM pg_inherits WHERE inhparent = t.id AND old.relkind <> 'p'
  ) AS o;
  IF kept IS NOT NULL THEN
    RAISE EXCEPTION '% has what a copy of it would lose: %', place, kept USING ERRCODE = 'dependent_objects_still_exist';
  END IF;

  -- Where one of several partitions was lost, the others have names that the new ones need.
  FOR found IN
    SELECT c.oid, c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = target AND c.relname = ANY (parts)
  LOOP
    EXECUTE format('ALTER TABLE %s.%I RENAME TO %I', home, found.relname, mark || '_' || found.oid);
  END LOOP;
  fresh := format('%s.%I', home, mark);
  EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES)', fresh, place)
    || CASE WHEN cardinality(parts) > 0 THEN format(' PARTITION BY HASH (%I)', key_column) ELSE '' END;
  FOR number IN 1 .. cardinality(parts) LOOP
    EXECUTE format('CREATE TABLE %s.%I PARTITION OF %s FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
      home, parts[number], fresh, cardinality(parts), number - 1);
    pieces := pieces || format('%s.%I', home, parts[number]);
  END LOOP;
  -- What an operator set for one partition counts for the next ones; of the parent there is none.
  SELECT c.reloptions || ARRAY(SELECT 'toast.' || set FROM unnest(t.reloptions) AS set) INTO options
  FROM pg_class AS c LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid WHERE c.oid = coalesce(
    (SELECT min(inhrelid::bigint)::oid FROM pg_inherits WHERE inhparent = target AND old.relkind = 'p'), target);
  FOREACH statement IN ARRAY coalesce(pieces, ARRAY[fresh]) LOOP
    IF cardinality(options) > 0 THEN
      EXECUTE format('ALTER TABLE %s SET (%s)', statement, array_to_string(options, ', '));
    END IF;
  END LOOP;
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns FROM pg_attribute
  WHERE attrelid = target AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
  EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s', fresh, columns, columns, place);

  number := 0;
  FOR found IN
    SELECT c.conname AS name, NULL::regclass AS index, pg_get_constraintdef(c.oid) AS definition FROM pg_constraint AS c
    WHERE c.conrelid = target AND c.contype IN ('p', 'u', 'x')
    UNION ALL SELECT c.relname, i.indexrelid::regclass, NULL FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = target AND NOT EXISTS (
      SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.conrelid = target)
  LOOP
    number := number + 1;
    IF found.index IS NULL THEN
      EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', fresh, mark || '_' || number, found.definition);
      later := later || format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', place, mark || '_' || number, found.name);
    ELSE
      EXECUTE decant.define_index(found.index, mark || '_' || number, fresh);
      later := later || format('ALTER INDEX %s.%I RENAME TO %I', home, mark || '_' || number, found.name);
    END IF;
  END LOOP;
  FOR found IN SELECT * FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped LOOP
    IF coalesce(found.attstattarget, -1) >= 0 THEN
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', fresh, found.attname, found.attstattarget);
    END IF;
    IF found.attoptions IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', fresh, found.attname,
        array_to_string(found.attoptions, ', '));
    END IF;
  END LOOP;
  EXECUTE format('ANALYZE %s', fresh);

  -- Default privileges may have opened the copy to others than those who had the table.
  FOR statement IN
    SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', c.oid::regclass,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
    FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    WHERE c.oid = ANY (fresh::regclass::oid || coalesce(pieces, '{}')::regclass[]::oid[]) AND a.grantee <> c.relowner
  LOOP
    EXECUTE statement;
  END LOOP;
  later := later || ARRAY(
    SELECT format('GRANT %s%s ON %s TO %s%s', a.privilege_type, coalesce(' (' || quote_ident(g.attname) || ')', ''),
      place, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM (
      SELECT NULL::name AS attname, old.relacl AS acl
      UNION ALL SELECT attname, attacl FROM pg_attribute WHERE attrelid = target AND NOT attisdropped
    ) AS g CROSS JOIN LATERAL aclexplode(g.acl) AS a WHERE a.grantee <> old.relowner
  );
  IF old.relrowsecurity THEN
    later := later || format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', place);
  END IF;
  IF old.relforcerowsecurity THEN
    later := later || format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', place);
  END IF;
  later := later || ARRAY(
    SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', polname, place,
        CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
          ELSE 'ALL' END,
        (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ')
          FROM unnest(polroles) AS r))
      || coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', '')
      || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', '')
    FROM pg_policy WHERE polrelid = target
  );
  IF obj_description(target, 'pg_class') IS NOT NULL THEN
    later := later || format('COMMENT ON TABLE %s IS %L', place, obj_description(target, 'pg_class'));
  END IF;
  IF pg_get_userbyid(old.relowner) <> current_user THEN
    FOREACH statement IN ARRAY place || coalesce(pieces, '{}') LOOP
      later := later || format('ALTER TABLE %s OWNER TO %I', statement, pg_get_userbyid(old.relowner));
    END LOOP;
  END IF;

  EXECUTE format('DROP TABLE %s', place);
  EXECUTE format('ALTER TABLE %s RENAME TO %I', fresh, old.relname);
  FOREACH statement IN ARRAY later LOOP
    EXECUTE statement;
  END LOOP;
END
$$
"""


def upgrade() -> None:
    op.execute(DEFINE)
    op.execute(PARK.replace("{definition}", "decant.define_index(i.indexrelid, c.relname, target::text)"))
    op.execute(REPARTITION)
    op.execute("REVOKE ALL ON FUNCTION decant.define_index, decant.repartition FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION decant.repartition")
    op.execute(PARK.replace("{definition}", "pg_get_indexdef(i.indexrelid)"))
    op.execute("DROP FUNCTION decant.define_index")
