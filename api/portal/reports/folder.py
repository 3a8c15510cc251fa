"""The folder of reports, as it is now: files may come and change while the service runs."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fastapi import Request

from api.portal.reports.check import check_report
from api.portal.reports.model import Fault, Report, is_slug
from api.portal.reports.parsing import parse_report
from catalog.model.catalog import Catalog
from runtime.plain_text import plain

SUFFIX = ".md"
REPORT_LIMIT_BYTES = 200_000
REPORTS_MAXIMUM = 200
KEPT_REPORTS = 200
NAMING = "its name is no slug of small letters, digits and hyphens, such as delays-by-month.md"


class Stamp(NamedTuple):
    """What changes when a file does."""

    inode: int
    size: int
    changed: int


class ReportFolder:
    """Reads reports; one that has not changed is not parsed again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: OrderedDict[str, tuple[Stamp, Report]] = OrderedDict()
        self.faults: dict[str, tuple[str, int]] = {}

    def names(self) -> list[str]:
        """The names of the files, in order; none where there is no folder."""
        try:
            with os.scandir(self.folder) as entries:
                found = [entry.name for entry in entries if entry.name.endswith(SUFFIX) and entry.name[0] != "."]
        except OSError:
            return []
        return sorted(found)[:REPORTS_MAXIMUM]

    def is_empty(self) -> bool:
        """Whether there is no report."""
        return not self.names()

    def list(self) -> list[Report]:
        """All reports, by title; those that cannot be used too."""
        reports = (self.read(name.removesuffix(SUFFIX)) for name in self.names())
        return sorted((each for each in reports if each), key=lambda report: (report.title.casefold(), report.slug))

    def count_faults(self, reports: Sequence[Report], catalog: Catalog) -> Sequence[int]:
        """How many faults each report has under the service's contracts; counted once for each content of a file."""
        for report in reports:
            if (known := self.faults.get(report.slug)) is None or known[0] != report.version:
                self.faults[report.slug] = (report.version, len(check_report(report, catalog)))
        while len(self.faults) > KEPT_REPORTS:
            self.faults.pop(next(iter(self.faults)))
        return [self.faults[report.slug][1] if report.slug in self.faults else 0 for report in reports]

    def find(self, slug: str) -> Report | None:
        """The report of an address; None where there is none."""
        return self.read(slug) if is_slug(slug) else None

    def read(self, slug: str) -> Report | None:
        """The report of a file; None where the file is gone."""
        try:
            file = (self.folder / f"{slug}{SUFFIX}").resolve(strict=True)
            if not file.is_relative_to(self.folder.resolve(strict=True)):
                return refuse(slug, "is a link that leads out of the folder of reports")
            handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as error:
            return refuse(slug, f"cannot be read: {getattr(error, 'strerror', None) or 'a link leads to itself'}")
        try:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                return refuse(slug, "is no file")
            stamp = Stamp(facts.st_ino, facts.st_size, facts.st_mtime_ns)
            kept = self.kept.get(slug)
            if kept and kept[0] == stamp:
                return kept[1]
            with os.fdopen(handle, "rb", closefd=False) as opened:
                raw = opened.read(REPORT_LIMIT_BYTES + 1)
        finally:
            os.close(handle)
        if len(raw) > REPORT_LIMIT_BYTES:
            return refuse(slug, f"larger than {REPORT_LIMIT_BYTES:,} bytes")
        report = parse_report(slug, raw) if is_slug(slug) else refuse(slug, NAMING)
        self.kept[slug] = (stamp, report)
        while len(self.kept) > KEPT_REPORTS:
            self.kept.popitem(last=False)
        return report


def refuse(slug: str, message: str) -> Report:
    """A report whose file cannot be used."""
    return Report(slug, plain(slug, 80), faults=(Fault(1, "", message),), version=message)


def reports_of(request: Request) -> ReportFolder:
    """The folder of the service that a request came to."""
    found: ReportFolder = request.app.state.reports
    return found
