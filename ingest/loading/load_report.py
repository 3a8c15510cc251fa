"""The result of one load, for its caller."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.model.dataset import Dataset
from ingest.errors import IngestError
from ingest.ledger.failures import explain_failure, is_outage
from ingest.ledger.running_load import LOGGER
from ingest.publishing.candidate import Outcome
from runtime.errors import DatabaseUnavailableError
from runtime.plain_text import plain


@dataclass(frozen=True)
class LoadReport:
    """The result of one load, for its caller."""

    dataset: str
    load_id: int | None  # None where it could not even be opened
    outcome: Outcome | None
    seconds: float
    step_seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    more: bool = False  # whether the input holds another batch behind this one
    error_code: str | None = None
    error: str | None = None

    @property
    def status(self) -> str:
        """published, unchanged, withheld or failed."""
        return self.outcome.status if self.outcome else "failed"


def report_unopened(dataset: Dataset, error: Exception) -> LoadReport:
    """The report of a load that the ledger has no word of, or not the last: it was not opened, or not closed."""
    code, message = "database_unavailable", str(error)
    if is_outage(error):
        message = f"{DatabaseUnavailableError()} The next load continues where this one stopped."
    else:
        failure = explain_failure(error)
        code, message = failure.code, str(failure)
        if not isinstance(error, IngestError):
            log_crash(dataset, None, error)
    return LoadReport(dataset.address, None, None, 0.0, {}, error_code=code, error=plain(message))


def log_crash(dataset: Dataset, load_id: int | None, error: BaseException) -> None:
    """Writes an exception's trace to the log, where the ledger has only a sentence."""
    facts = {"dataset": dataset.address, "load_id": load_id}
    LOGGER.error("load_crashed", exc_info=error, extra={"facts": facts})
