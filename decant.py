"""The command line: the only module that registers all commands."""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType
from typing import Annotated

import typer
from rich.markup import escape

from commands import (
    contracts,
    demo,
    forgetting,
    keys,
    lineage,
    loads,
    notify,
    quarantine,
    replication,
    reports,
    restoring,
    service,
    store,
    streams,
    subscriptions,
    worker,
)
from commands.common import err
from ingest.errors import IngestError
from runtime.errors import CatalogError, DatabaseError
from runtime.garbage import collect_seldom
from runtime.logs import open_logs
from runtime.private_files import keep_private

LOGGER = logging.getLogger("decant.command")


def show_version(wanted: bool) -> None:
    """Prints the version and exits, where it is requested."""
    if wanted:
        from runtime.version import read_version

        typer.echo(f"decant {read_version()}")
        raise typer.Exit


def make_app() -> typer.Typer:
    """The commands and their groups, in the order in which `--help` lists them."""
    app = make_group("Load, publish and serve datasets from data contracts.")
    app.callback()(choose_options)
    contract_app = make_group("Check, compare and draft contracts.")
    report_app = make_group("Check and list reports.")
    keys_app = make_group("Manage API keys.")
    store_app = make_group("Try, compare and fill the object store that hosts share.")
    replication_app = make_group("Make and drop the slots that replicated tables are read from.")
    for command in (
        demo.demo,
        contracts.migrate,
        loads.ingest,
        service.serve,
        worker.worker,
        loads.status,
        loads.loads,
        quarantine.rejects,
        quarantine.replay,
        quarantine.dismiss,
        quarantine.publish,
        forgetting.prune,
        forgetting.erase,
        restoring.restored,
        streams.seek,
        lineage.lineage,
        service.openapi,
    ):
        app.command()(command)
    app.add_typer(contract_app, name="contract")
    contract_app.command()(contracts.lint)
    contract_app.command()(contracts.diff)
    contract_app.command()(contracts.init)
    app.add_typer(report_app, name="report")
    report_app.command()(reports.lint)
    report_app.command("list")(reports.list_)
    app.add_typer(store_app, name="store")
    store_app.command()(store.check)
    store_app.command()(store.copy)
    app.add_typer(replication_app, name="replication")
    replication_app.command()(replication.create)
    replication_app.command()(replication.drop)
    app.add_typer(keys_app, name="keys")
    keys_app.command()(keys.create)
    keys_app.command("list")(keys.list_)
    keys_app.command()(keys.rotate)
    keys_app.command()(keys.revoke)
    webhooks_app = make_group("Manage webhooks.")
    app.add_typer(webhooks_app, name="subscriptions")
    for name, webhook_command in subscriptions.COMMANDS.items():
        webhooks_app.command(name)(webhook_command)
    notify_app = make_group("Tell people what is wrong.")
    app.add_typer(notify_app, name="notify")
    notify_app.command("test")(notify.try_channels)
    notify_app.command()(notify.now)
    return app


def choose_options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Load, publish and serve datasets from data contracts."""


def make_group(help_text: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Runs a command; a known error is one message and exit status 1."""
    # A service manager's SIGTERM shuts down in order, as Ctrl-C does.
    signal.signal(signal.SIGTERM, end_in_order)
    collect_seldom()
    keep_private()
    open_logs(logging.WARNING)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        report(translate(error))
        sys.exit(1)


def translate(error: Exception) -> Exception:
    """The error as an error of Decant, where a database driver raised it."""
    if "runtime.postgres.database" not in sys.modules:
        return error  # no driver is loaded, so that help prints fast
    from runtime.postgres.database import translate_errors

    try:
        with translate_errors():
            raise error
    except Exception as translated:
        return translated


def report(error: Exception) -> None:
    """Reports an error: a known one as a message, any other one in the log."""
    if not isinstance(error, CatalogError | IngestError):
        # The log's formatter escapes control characters in an exception's text; Python's own does not.
        LOGGER.error("command_crashed", exc_info=error)
        return
    err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    if isinstance(error, DatabaseError) and error.__cause__ is not None:
        # The owner of the database may see the message of Postgres; callers of the API never do.
        err.print(f"[dim]{escape(str(error.__cause__).splitlines()[0])}[/]", highlight=False, soft_wrap=True)


def end_in_order(_signal: int, _frame: FrameType | None) -> None:
    """Turns SIGTERM into an exit that closes what is open."""
    raise SystemExit(143)


app = make_app()


if __name__ == "__main__":
    main()
