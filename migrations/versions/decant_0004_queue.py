"""The queue of jobs, and what made a load"""

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy.dialects import postgresql

revision = 'decant_0004'
down_revision = 'decant_0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('loads', sa.Column('scheduled_at', sa.TIMESTAMP(timezone=True), nullable=True), schema='decant')
    op.add_column('loads', sa.Column('cause', postgresql.JSONB(astext_type=sa.Text()), nullable=True), schema='decant')
    op.create_unique_constraint(op.f('uq_loads_dataset_id_scheduled_at'), 'loads', ['dataset_id', 'scheduled_at'], schema='decant')
    # Jobs are hints that the ledger can make again: whatever an earlier library left there may go.
    op.execute('DROP SCHEMA IF EXISTS decant_queue CASCADE')
    op.execute('CREATE SCHEMA decant_queue')
    # Several statements at once: only without parameters does the driver send them as they are.
    cursor = op.get_bind().connection.cursor()
    cursor.execute("SELECT current_setting('search_path')")
    before = cursor.fetchone()[0]
    cursor.execute('SET LOCAL search_path TO decant_queue')
    cursor.execute(SchemaManager.get_schema())
    # Its functions find their tables whoever calls them, by hand or by a trigger.
    cursor.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'decant_queue'::regnamespace")
    for (function,) in cursor.fetchall():
        cursor.execute(f'ALTER FUNCTION {function} SET search_path = decant_queue')
    cursor.execute("SELECT set_config('search_path', %s, true)", [before])
    cursor.close()


def downgrade() -> None:
    op.execute('DROP SCHEMA decant_queue CASCADE')
    op.drop_constraint(op.f('uq_loads_dataset_id_scheduled_at'), 'loads', schema='decant', type_='unique')
    op.drop_column('loads', 'cause', schema='decant')
    op.drop_column('loads', 'scheduled_at', schema='decant')
