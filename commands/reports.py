"""Commands about reports: `report lint`, `report list`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.common import AsJson, load_contracts, out

if TYPE_CHECKING:
    from api.portal.reports.folder import ReportFolder
    from catalog.model.catalog import Catalog
    from runtime.errors import Finding

Folder = Annotated[Path | None, typer.Argument(help="A folder of reports, or one report; default: DECANT_REPORTS.")]


def lint(folder: Folder = None, as_json: AsJson = False) -> None:
    """Check reports against the contracts and list all findings of all files; needs no database."""
    from commands.show.findings import show_findings

    settings, catalog = load_contracts()
    findings, count = lint_reports(folder or settings.reports, catalog)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, default=str))
    else:
        show_findings(findings, count, out, "report")
    if findings:
        raise typer.Exit(1)


def list_(folder: Folder = None) -> None:
    """List reports: address, title, and the number of findings."""
    from api.portal.reports.check import check_report
    from commands.show.tables import count_noun, show_table

    settings, catalog = load_contracts()
    reports, _ = open_folder(folder or settings.reports)
    rows = [
        {
            "report": report.slug,
            "title": report.title,
            "findings": count_noun(len(check_report(report, catalog)), "finding"),
        }
        for report in reports.list()
    ]
    show_table(rows, out, keep=("report", "title", "findings"))


def lint_reports(path: Path, catalog: Catalog) -> tuple[list[Finding], int]:
    """Every finding, in order, and the number of reports."""
    from api.portal.reports.check import check_report
    from api.portal.reports.folder import SUFFIX
    from runtime.errors import Finding

    folder, names = open_folder(path)
    if not names:
        message = f"contains no report (a file that ends in {SUFFIX}); set DECANT_REPORTS"
        return [Finding(path, 1, "", message)], 0
    findings = []
    for name in names:
        report = folder.read(name.removesuffix(SUFFIX))
        faults = check_report(report, catalog) if report else []
        findings += [Finding(folder.folder / name, fault.line, fault.path, fault.message) for fault in faults]
    return sorted(findings), len(names)


def open_folder(path: Path) -> tuple[ReportFolder, list[str]]:
    """The folder of a path, and the names of the reports that the path means."""
    from api.portal.reports.folder import ReportFolder

    folder = ReportFolder(path.parent if path.is_file() else path)
    return folder, [path.name] if path.is_file() else folder.names()
