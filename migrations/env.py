"""Runs Alembic on the connection, the metadata and the schema that catalog.migration.migrate hands over."""

from alembic import context

from catalog.migration.table_changes import only_schema
from catalog.model.reserved_names import VERSION_TABLE
from catalog.storage.ledger_tables import SCHEMA

attributes = context.config.attributes
schema = attributes.get("schema", SCHEMA)

context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=only_schema(schema),
    compare_type=True,
    transaction_per_migration=True,
)

with context.begin_transaction():
    context.run_migrations()
