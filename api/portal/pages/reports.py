"""The reports that there are."""

from __future__ import annotations

import asyncio

from api.portal.asking import Asking
from api.portal.charts.drawing import DRAWER
from api.portal.content import Content
from api.portal.page import Page
from api.portal.reports.folder import reports_of
from api.portal.reports.model import Report


async def build_reports(asking: Asking) -> Content:
    """The page; a report with faults is marked, in words that name none of its datasets."""
    reports = await list_reports(asking)
    if any(block.kind == "chart" for report in reports for block in report.blocks):
        DRAWER.prepare()  # whoever reads of a report here may open it next
    faults = await asyncio.to_thread(reports_of(asking.request).count_faults, reports, asking.context.catalog)
    values = {"reports": list(zip(reports, faults, strict=True))}
    return Content(
        "reports.html",
        "Reports",
        values,
        "Texts whose numbers and charts lead back to their data.",
        version=versions_of(reports),
    )


async def list_reports(asking: Asking) -> list[Report]:
    """The reports of the service."""
    return await asyncio.to_thread(reports_of(asking.request).list)


def versions_of(reports: list[Report]) -> str:
    """What changes when a report comes, changes or goes."""
    return " ".join(f"{report.slug}={report.version}" for report in reports)


REPORTS = Page("portal reports", "/reports", build_reports)
