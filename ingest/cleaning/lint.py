"""Contracts checked as far as they can be without data: the standard, our rules, and the SQL that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from catalog.contract.load import lint_contracts, read_contract
from catalog.model.dataset import Dataset, Product
from ingest.cleaning.check_plan import check_cleaning
from runtime.errors import Finding
from runtime.settings.settings import Settings


def lint(settings: Settings, path: Path | None = None) -> tuple[list[Finding], int]:
    """Every finding, in order, and the number of datasets that could be read."""
    catalog, findings = lint_contracts(settings, path)
    sql: list[Finding] = []
    for product, dataset in [*pick_sound(settings, findings), *pick_all(catalog.products.values())]:
        sql += [
            Finding(product.file, product.dataset_lines.get(dataset.name, 1), dataset.name, problem)
            for problem in check_cleaning(dataset)
        ]
    return sorted([*findings, *sql]), sum(len(product.datasets) for product in catalog.products.values())


def pick_all(products: Iterable[Product]) -> Iterator[tuple[Product, Dataset]]:
    """Every dataset, with its product."""
    for product in products:
        for dataset in product.datasets.values():
            yield product, dataset


def pick_sound(settings: Settings, findings: list[Finding]) -> Iterator[tuple[Product, Dataset]]:
    """The datasets without an error, of contracts that have one elsewhere: their SQL is checked in the same round."""
    errors = [finding for finding in findings if finding.severity == "error"]
    for file in sorted({finding.file for finding in errors if finding.file.is_file()}):
        product, _ = read_contract(file, settings, unsound=True)
        paths = [finding.path for finding in errors if finding.file == file]
        for index, part in enumerate(product.document.get("schema") or [] if product else []):
            dataset = product.datasets.get(str(part.get("name"))) if product and isinstance(part, dict) else None
            if product and dataset and not any(path.startswith(f"schema[{index}]") for path in paths):
                yield product, dataset
