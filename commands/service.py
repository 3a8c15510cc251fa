"""Commands about serving: `serve`, `openapi`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.common import err, given, load_contracts, open_urls, out

if TYPE_CHECKING:
    from fastapi import FastAPI

OPENAPI_FILE = Path("openapi/openapi.json")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: DECANT_HOST or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default: DECANT_PORT or 8000.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes; they share one port.")] = 1,
) -> None:
    """Serve the datasets over HTTP."""
    from api.server import run_server, run_workers
    from ingest.inspection.raw_record import make_raw_lookup
    from runtime.logs import open_logs
    from runtime.settings.production_checks import require_safe

    def announce(url: str) -> None:
        out.print(f"Serving on {url} (docs: {url}/docs)")

    settings, catalog = load_contracts(**given(host=host, port=port))
    open_logs()
    with open_urls(settings) as urls:
        if settings.env == "production":
            require_safe(urls)
        if workers > 1:
            run_workers(settings, urls, announce, workers, f"{__name__}:make_app")
        else:
            run_server(settings, urls, catalog, announce, raw_lookup=make_raw_lookup(settings))


def make_app() -> FastAPI:
    """The service in one of several processes."""
    from api.server import make_app as make_service
    from ingest.inspection.raw_record import make_raw_lookup
    from runtime.logs import open_logs

    open_logs()
    return make_service(make_raw_lookup)


def openapi(
    write: Annotated[bool, typer.Option("--write", help="Write the document to the file.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail if the file is not up to date.")] = False,
    path: Annotated[Path, typer.Option(help="File of the document.")] = OPENAPI_FILE,
) -> None:
    """Print, write or check the OpenAPI document."""
    from api.openapi import build_document, is_current, render_document, write_document

    _, catalog = load_contracts()
    if write:
        write_document(catalog, path)
    elif check:
        if not is_current(catalog, path):
            err.print(f"{path} does not match the contracts: run `decant openapi --write`.")
            raise typer.Exit(1)
    else:
        sys.stdout.write(render_document(build_document(catalog)))
