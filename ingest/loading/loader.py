"""One load, from its opening to its end, whatever it is asked to do.

Each step is timed, traced and named in the ledger. Whatever stops a load, the next one finds it unfinished there and
takes it up again.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

import sqlalchemy as sa

from catalog.model.catalog import Catalog
from catalog.model.dataset import Dataset
from catalog.model.load_request import Dismiss, FromSource, LoadRequest, Withdrawal
from catalog.storage.dataset_tables import CatalogTables, staging_name
from catalog.storage.high_water import note_heads
from ingest.errors import IngestError
from ingest.inputs.variables import make_secret_expander
from ingest.ledger.failures import explain_failure, is_outage
from ingest.ledger.lease import keep_lease, lock_dataset
from ingest.ledger.loads import Ticket, close_load, open_load
from ingest.ledger.progress import Progress
from ingest.ledger.running_load import RunningLoad
from ingest.loading.dismiss_records import dismiss_records
from ingest.loading.load_batch import load_batch
from ingest.loading.load_report import LoadReport, log_crash
from ingest.loading.workspace import drop_staged, load_folder, report_restored, sweep_leftovers
from ingest.publishing.candidate import Outcome
from ingest.retention.withdraw import withdraw
from runtime.plain_text import plain
from runtime.postgres.database import translate_errors
from runtime.private_files import make_private_folder
from runtime.settings.settings import Settings
from runtime.telemetry import TRACER

SOURCE = FromSource()


class Loader:
    """Runs loads."""

    def __init__(self, settings: Settings, catalog: Catalog, tables: CatalogTables, engine: sa.Engine) -> None:
        self.settings = settings
        self.catalog = catalog
        self.tables = tables
        self.engine = engine

    def run(
        self,
        dataset: Dataset,
        progress: Progress | None = None,
        *,
        load_id: int | None = None,
        request: LoadRequest = SOURCE,
        requested_by: str | None = None,
    ) -> LoadReport:
        """Does what is asked for; what fails is in the report.

        `load_id` names a load that the ledger knows already. DatasetBusyError where another worker is at it.
        """
        started = time.perf_counter()
        with (
            TRACER.start_as_current_span("load", attributes={"decant.dataset": dataset.address}),
            translate_errors(),
            lock_dataset(self.engine, dataset) as dataset_id,
        ):
            restored = report_restored(self.settings, self.engine, dataset, requested_by)
            sweep_leftovers(self.settings, self.engine, dataset_id)
            ticket = open_load(self.engine, dataset_id, request.kind(dataset), load_id, request, requested_by)
            ticket.hide = make_secret_expander(dataset, self.settings).hide
            if restored is not None:
                ticket.notes.append(restored.explain())
            outcome, failure = self.attempt(dataset, ticket, progress or Progress())
            with self.engine.connect() as connection, suppress(OSError):
                note_heads(connection, self.settings, [dataset])
        return LoadReport(
            dataset=dataset.address,
            load_id=ticket.load_id,
            outcome=outcome,
            seconds=time.perf_counter() - started,
            step_seconds=ticket.step_seconds,
            notes=tuple(map(plain, ticket.notes)),
            more=ticket.more and outcome is not None and outcome.status != "withheld",
            error_code=failure.code if failure else None,
            error=plain(str(failure)) if failure else None,
        )

    def attempt(
        self, dataset: Dataset, ticket: Ticket, progress: Progress
    ) -> tuple[Outcome | None, IngestError | None]:
        """Runs the load that the ticket is for and closes it, whatever is raised in it.

        A lost database cannot record it: its exception is passed on, and the load is taken up by the next one.
        """
        outcome: Outcome | None = None
        failure: IngestError | None = None
        folder = load_folder(self.settings, ticket)
        load = RunningLoad(self.settings, self.engine, self.tables, dataset, ticket, folder, progress)
        try:
            with keep_lease(self.engine, ticket.load_id, ticket.fencing_token):
                make_private_folder(self.settings.work_folder)
                folder.mkdir(mode=0o700)
                outcome = run_request(load)
        except Exception as error:
            if is_outage(error):
                raise
            failure = explain_failure(error)
            if failure is not error:
                log_crash(dataset, ticket.load_id, error)
        except BaseException as error:  # Ctrl-C, SIGTERM
            with suppress(sa.exc.DBAPIError):
                close_load(self.engine, ticket, explain_failure(error))
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            drop_staged(self.engine, staging_name(ticket.load_id, ticket.fencing_token))
        return outcome, close_load(self.engine, ticket, failure)


def run_request(load: RunningLoad) -> Outcome:
    """How the load ended that did what it was asked to do."""
    match load.ticket.request:
        case Dismiss() as request:
            return dismiss_records(load, request)
        case request if isinstance(request, Withdrawal):
            return withdraw(load)
    return load_batch(load)
