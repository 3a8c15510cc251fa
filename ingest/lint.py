"""Contracts checked as far as they can be without data: the standard, our rules, and the SQL that they hold."""

from __future__ import annotations

from pathlib import Path

from catalog.contract import lint_contracts
from catalog.errors import Finding
from catalog.settings import Settings
from ingest.check import check_cleaning


def lint(settings: Settings, path: Path | None = None) -> tuple[list[Finding], int]:
    """Every finding, in order, and the number of datasets that could be read."""
    catalog, findings = lint_contracts(settings, path)
    for product in catalog.products.values():
        for dataset in product.datasets.values():
            findings += [
                Finding(product.file, product.dataset_lines.get(dataset.name, 1), dataset.name, problem)
                for problem in check_cleaning(dataset)
            ]
    return sorted(findings), sum(len(product.datasets) for product in catalog.products.values())
