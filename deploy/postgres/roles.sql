-- The database, and the logins that docs/how-to/production.md names. Run once, by a superuser's psql:
--   OWNER_PASSWORD=… INGEST_PASSWORD=… READ_PASSWORD=… WRITE_PASSWORD=… psql --file=roles.sql postgres
\set ON_ERROR_STOP on
\getenv owner OWNER_PASSWORD
\getenv ingest INGEST_PASSWORD
\getenv read READ_PASSWORD
\getenv write WRITE_PASSWORD

-- Migrates. CREATEROLE: each product's SQL runs with a role of its own, which the migration makes.
CREATE ROLE decant LOGIN CREATEROLE PASSWORD :'owner';
CREATE ROLE decant_ingest LOGIN PASSWORD :'ingest';
CREATE ROLE decant_read LOGIN PASSWORD :'read';
CREATE ROLE decant_write LOGIN PASSWORD :'write';
-- Only a superuser can let a login limit its temporary files (DECANT_QUERY_TEMP_MB).
GRANT SET ON PARAMETER temp_file_limit TO decant_read;

CREATE DATABASE decant OWNER decant TEMPLATE template0 ENCODING 'UTF8';
-- What `decant migrate` grants comes beside this; nobody else connects.
REVOKE ALL ON DATABASE decant FROM PUBLIC;
GRANT CONNECT ON DATABASE decant TO decant_ingest, decant_read, decant_write;

-- Postgres lets everybody make large objects; the logins have no use for them, and only a superuser can say so.
\connect decant
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea),
  lowrite(integer, bytea) FROM PUBLIC;
