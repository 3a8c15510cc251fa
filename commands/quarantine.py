"""Quarantine commands: `rejects`, `replay`, `dismiss`, `publish`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from catalog.storage.statuses import REJECT_STATES
from commands.common import AsJson, load_contracts, open_urls, out
from runtime.errors import CatalogError
from runtime.plain_text import NOTE_FORM, is_note, plain

if TYPE_CHECKING:
    from catalog.model.catalog import Catalog
    from catalog.model.dataset import Dataset
    from catalog.model.load_request import LoadRequest

DatasetAddress = Annotated[str, typer.Argument(metavar="PRODUCT.DATASET", help="PRODUCT[@MAJOR].DATASET.")]
Reason = Annotated[str | None, typer.Option(help="Only this reason: a rule, a property, or `property: rule`.")]
Note = Annotated[str | None, typer.Option(help="Why, for the audit log.")]
OneRecord = Annotated[int | None, typer.Option("--id", min=1, help="Only this record.")]
OfLoad = Annotated[int | None, typer.Option("--load", min=1, help="Only records that this load rejected.")]

SHOWN_CHARACTERS = 60  # the longest value in a table
SAMPLED = ("id", "load", "file", "line", "key", "value", "message")  # of each sample


def rejects(
    address: DatasetAddress,
    reason: Reason = None,
    load: OfLoad = None,
    state: Annotated[str, typer.Option(help=f"State of the records: {', '.join(REJECT_STATES)} or all.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Number of reasons, most records first.")] = 20,
    export: Annotated[
        Path | None, typer.Option(help="Write all records as NDJSON to this file; - is standard output.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List rejected records by reason, with samples, or export them."""
    from catalog.model.reject_choice import RejectChoice
    from ingest.ledger.audit import find_dataset_id
    from ingest.quarantine.review import RejectFilter, count_rejects, export_rejects, group_rejects
    from runtime.postgres.database import make_read_engine

    if state not in (*REJECT_STATES, "all"):
        raise CatalogError(f"--state must be one of {', '.join(REJECT_STATES)} or all.")
    settings, catalog = load_contracts()
    dataset = find_one(catalog, address)
    with open_urls(settings) as urls:
        engine = make_read_engine(urls.read)
        choice = RejectChoice(reason=reason, load_id=load)
        wanted = RejectFilter(find_dataset_id(engine, dataset), state, choice)
        if export is not None:
            write_lines(export_rejects(engine, wanted), export)
            return
        total = count_rejects(engine, wanted)
        groups = group_rejects(engine, wanted, limit)
    if as_json:
        facts = {"dataset": dataset.address, "state": state, "records": total}
        typer.echo(json.dumps(facts | {"reasons": [asdict(group) for group in groups]}, indent=2))
        return
    word = "rejected" if state == "all" else f"{state} rejected"
    out.print(f"{dataset.address}: {total:,} {word} record{'' if total == 1 else 's'}", highlight=False)
    show_groups(groups)


def replay(
    address: Annotated[
        str | None, typer.Argument(metavar="[PRODUCT.DATASET]", help="PRODUCT[@MAJOR].DATASET.")
    ] = None,
    reason: Reason = None,
    record: OneRecord = None,
    load: Annotated[int | None, typer.Option(min=1, help="Replay the whole raw batch of this load.")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay rejected records after the contract or the parents were corrected; newer records are not replaced."""
    if (address is None) == (load is None):
        raise CatalogError(
            "`decant replay PRODUCT.DATASET` replays its rejected records, `--load N` a whole raw batch."
        )
    if load is not None and (reason is not None or record is not None):
        raise CatalogError("--reason and --id choose rejected records, --load a whole raw batch: leave one out.")
    from catalog.model.load_request import Replay
    from catalog.model.reject_choice import RejectChoice

    choice = RejectChoice(reason=reason, ids=None if record is None else (record,))
    run_request(address, load, Replay(load, choice), "replay", as_json=as_json)


def publish(
    load: Annotated[int, typer.Argument(min=1, help="Number of the withheld load.")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Confirm the publication despite the failed gates.")
    ] = False,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Publish a withheld load, with an entry in the audit log; gates are measured, but do not withhold it."""
    if not anyway:
        raise CatalogError(
            f"A gate withheld load {load} (`decant loads show {load}` names the gate)."
            " To publish it with an entry in the audit log, add --anyway."
        )
    from catalog.model.load_request import PublishWithheld

    check_note(note)
    run_request(None, load, PublishWithheld(load, note), "publish anyway", as_json=as_json)


def dismiss(
    address: DatasetAddress,
    reason: Reason = None,
    record: OneRecord = None,
    load: OfLoad = None,
    everything: Annotated[bool, typer.Option("--all", help="All open records of the dataset.")] = False,
    note: Note = None,
) -> None:
    """Close rejected records that will not be corrected: they stay in quarantine, and are not replayed."""
    from catalog.model.load_request import Dismiss
    from catalog.model.reject_choice import RejectChoice
    from ingest.ledger.audit import find_dataset_id, who_runs_this
    from ingest.quarantine.review import dismiss_rejects
    from runtime.postgres.database import make_engine

    ids = None if record is None else (record,)
    request = Dismiss(RejectChoice(reason=reason, ids=ids, load_id=load), note)
    if not everything and request.choice.is_everything:
        raise CatalogError("Choose records with --reason, --id or --load; --all dismisses all open records.")
    check_note(note)
    settings, catalog = load_contracts()
    dataset = find_one(catalog, address)
    with open_urls(settings) as urls:
        engine = make_engine(urls.ingest)
        dataset_id = find_dataset_id(engine, dataset)
        with engine.begin() as connection:
            closed = dismiss_rejects(connection, dataset, dataset_id, request, who_runs_this())
    out.print(f"{dataset.address}: {closed:,} dismissed", highlight=False)


def check_note(note: str | None) -> None:
    """CatalogError for a note that is too long, or does not print."""
    if note is not None and not is_note(note):
        raise CatalogError(f"--note must have {NOTE_FORM}.")


def run_request(
    address: str | None, load: int | None, request: LoadRequest, operation: str, *, as_json: bool
) -> None:
    """Queues the request, with an entry in the audit log, and runs it at once."""
    from catalog.storage.dataset_tables import build_tables
    from commands.show.load_reports import reports_as_json, show_reports
    from ingest.ledger.audit import find_dataset_id, record_audit, who_runs_this
    from ingest.loading.loader import Loader
    from ingest.quarantine.replay_batch import dataset_of, recall_note
    from runtime.postgres.database import keep_engine

    settings, catalog = load_contracts()
    with open_urls(settings) as urls, keep_engine(urls.ingest) as engine:
        dataset = find_one(catalog, address or dataset_of(engine, catalog, load or 0))
        dataset_id = find_dataset_id(engine, dataset)
        recall_note(engine, dataset, dataset_id, request)  # an impossible request is rejected before it is recorded
        by = who_runs_this()
        loader = Loader(settings, catalog, build_tables(catalog.products.values()), engine)
        report = loader.run(dataset, request=request, requested_by=by)
        with engine.begin() as connection:
            record_audit(
                connection, by, operation, dataset, facts={"load": report.load_id} | (request.to_json() or {})
            )
    if as_json:
        typer.echo(reports_as_json([report]))
    else:
        show_reports([report], out)
    if report.status in {"failed", "withheld"}:
        raise typer.Exit(1)


def find_one(catalog: Catalog, address: str) -> Dataset:
    """The one dataset at an address."""
    found = catalog.find(address)
    if len(found) != 1:
        names = ", ".join(dataset.address for dataset in found[:10])
        raise CatalogError(f"{address} names {len(found)} datasets; choose one: {names}.")
    return found[0]


def write_lines(lines: Any, target: Path) -> None:
    """Writes lines to standard output, or to a file that appears only when it is complete."""
    if str(target) == "-":
        for line in lines:
            sys.stdout.write((plain(line, None) if sys.stdout.isatty() else line) + "\n")
        return
    draft = target.with_name(f".{target.name}.part")
    number = 0
    try:
        with draft.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(line + "\n")
                number += 1
        draft.replace(target)
    except OSError as error:
        raise CatalogError(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        draft.unlink(missing_ok=True)
    out.print(f"{number:,} records written to {escape(str(target))}", highlight=False)


def truncate(text: str) -> str:
    """A value for a table: an ellipsis marks a truncated one."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def show_groups(groups: list[Any]) -> None:
    """A line for each reason, and the first records below it."""
    if not groups:
        return
    from commands.show.tables import show_table

    rows = []
    for group in groups:
        head = {"reason": escape(group.reason), "records": f"{group.records:,}"}
        for sample in group.samples:
            shown = {name: sample[name] for name in SAMPLED}
            cells = {name: "" if value is None else escape(truncate(str(value))) for name, value in shown.items()}
            rows.append(head | cells)
            head = dict.fromkeys(head, "")
    show_table(rows, out, keep=("reason", "records", *SAMPLED))
