"""Contracts: ODCS YAML in, a catalogue of frozen products out, every error of every file at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import relevance
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import ValidationError

from catalog.contract.derived_queries import check_queries
from catalog.contract.product import build_product
from catalog.document.yaml_document import Document, Trail, read_document, show_trail
from catalog.model.dataset import Dataset, Product, order_by_dependency
from catalog.model.readable_datasets import Readings
from runtime.errors import ContractError, Finding, UnknownDatasetError
from runtime.settings import Settings

ACCEPTED_VERSIONS = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0")
CONTRACT_SUFFIXES = (".odcs.yaml", ".odcs.yml", ".yaml", ".yml")


@dataclass(frozen=True)
class Catalog:
    """Every product of a folder of contracts, by id and major version."""

    products: Mapping[tuple[str, int], Product]

    @cached_property
    def by_address(self) -> Mapping[tuple[str, str], Product]:
        """The products by their ids and majors as addresses have them."""
        return {(name, str(major)): product for (name, major), product in self.products.items()}

    @cached_property
    def readings(self) -> Readings:
        """Which dataset's SQL may read which."""
        return Readings(self.products.values())

    def datasets(self) -> list[Dataset]:
        """Every dataset, in the order in which they can be loaded."""
        return order_by_dependency([d for p in self.products.values() for d in p.datasets.values()])

    def product_of(self, dataset: Dataset) -> Product:
        """The product that declares the dataset."""
        return self.products[dataset.product, dataset.major]

    def find(self, address: str | None) -> list[Dataset]:
        """The datasets of PRODUCT[@MAJOR][.DATASET] in loading order; all where there is no address.

        Without a major the newest active one is meant. UnknownDatasetError lists what there is.
        """
        if not address:
            return self.datasets()
        # A product's id may hold dots: the longest id that fits is meant.
        for (name, major), product in sorted(self.products.items(), key=lambda item: (-len(item[0][0]), -item[0][1])):
            for head in (f"{name}@{major}", name):
                if head == name and major != self.newest_major(name):
                    continue
                rest = address.removeprefix(head)
                if address.startswith(head) and rest == "":
                    return [d for d in self.datasets() if (d.product, d.major) == (name, major)]
                if address.startswith(head) and rest[:1] == "." and rest[1:] in product.datasets:
                    return [product.datasets[rest[1:]]]
        known = ", ".join(sorted(d.address for d in self.datasets())) or "none"
        raise UnknownDatasetError(f"There is no '{address}'. Known datasets: {known}.")

    def newest_major(self, name: str) -> int:
        """The newest active major of a product, or its newest where none is active."""
        majors = [p for (other, _), p in self.products.items() if other == name]
        return max(majors, key=lambda p: (p.status == "active", p.major)).major


def load_catalog(settings: Settings) -> Catalog:
    """The catalogue of the contracts that the settings name; ContractError holds every error found."""
    catalog, findings = lint_contracts(settings)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise ContractError(errors)
    return catalog


def lint_contracts(settings: Settings, path: Path | None = None) -> tuple[Catalog, list[Finding]]:
    """What could be read, and everything that is wrong or not yet done, file by file."""
    findings: list[Finding] = []
    products: dict[tuple[str, int], Product] = {}
    schemas: dict[str, Path] = {}
    for file in find_contract_files(path or settings.contracts, findings):
        product, found = read_contract(file, settings)
        findings += found
        if product is None:
            continue
        if product.schema in schemas:
            findings.append(
                Finding(file, 1, "id", f"its schema {product.schema!r} is also that of {schemas[product.schema]}")
            )
            continue
        schemas[product.schema] = file
        products[product.id, product.major] = product
    checked, found = check_queries(products, alone=path is not None and path.is_file())
    return Catalog(checked), [*findings, *found]


def find_contract_files(path: Path, findings: list[Finding]) -> list[Path]:
    """The contract files in a folder, or the one file; a finding where there is none."""
    if path.is_file():
        return [path]
    files = sorted(p for p in path.glob("*") if p.is_file() and p.name.endswith(CONTRACT_SUFFIXES))
    if not files:
        findings.append(Finding(path, 1, "", "holds no contract (a file that ends in .yaml); set DECANT_CONTRACTS"))
    return files


def read_contract(file: Path, settings: Settings, *, unsound: bool = False) -> tuple[Product | None, list[Finding]]:
    """The product that a contract declares, or None, with every finding; `unsound`: also one that has errors."""
    document, findings = read_document(file)
    if document is None:
        return None, findings
    if not isinstance(document.data, dict):
        return None, [
            Finding(
                file,
                1,
                "",
                "is not a contract: a mapping with apiVersion, kind, id, version, status is expected",
            )
        ]
    version = document.data.get("apiVersion")
    if version not in ACCEPTED_VERSIONS:
        message = f"{version!r} is not accepted; one of {', '.join(ACCEPTED_VERSIONS)} is"
        return None, [Finding(file, document.line_of(("apiVersion",)), "apiVersion", message)]
    findings = list(check_schema(document))
    try:
        contract = OpenDataContractStandard(**document.data)
    except (ValidationError, TypeError) as error:
        return None, findings or [Finding(file, 1, "", f"is not a contract: {error}")]
    sha256 = hashlib.sha256(document.text.encode()).hexdigest()
    product, found = build_product(contract, document, sha256, settings)
    findings += found
    if not unsound and any(finding.severity == "error" for finding in findings):
        return None, findings
    return product, findings


@cache
def standard_schema() -> dict[str, Any]:
    """The standard's JSON Schema, with its slip mended.

    In 3.2.0 the conditions on `logicalType` also hold where there is none, so that a property without a
    logicalType is told that 'map' is missing.
    """
    schema: dict[str, Any] = json.loads((files("open_data_contract_standard") / "schema.json").read_text())

    def mend(part: Any) -> None:
        if isinstance(part, dict):
            condition = part.get("if")
            if isinstance(condition, dict) and "logicalType" in condition.get("properties", {}):
                condition.setdefault("required", ["logicalType"])
            for value in part.values():
                mend(value)
        elif isinstance(part, list):
            for value in part:
                mend(value)

    mend(schema)
    return schema


def check_schema(document: Document) -> Iterator[Finding]:
    """What the standard's JSON Schema has against the document."""
    validator_class = jsonschema.validators.validator_for(standard_schema())
    seen = set()
    errors = [find_cause(error) for error in validator_class(standard_schema()).iter_errors(document.data)]
    for error in errors:
        trail: Trail = tuple(error.absolute_path)
        if error.validator == "unevaluatedProperties" and any(
            other is not error and tuple(other.absolute_path)[: len(trail)] == trail for other in errors
        ):
            # A part that fails for another reason has "evaluated" none of its properties, good ones either.
            continue
        message = error.message if len(error.message) < 300 else f"does not fit the standard ({error.validator})"
        finding = Finding(document.file, document.line_of(trail), show_trail(trail), message)
        if finding not in seen:
            seen.add(finding)
            yield finding


def find_cause(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """Of alternatives that all fail, the one that came nearest: it is what the author meant."""
    while error.context:
        error = max(error.context, key=relevance)
    return error
