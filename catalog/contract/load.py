"""Contracts: ODCS YAML in, a catalogue of frozen products out, every error of every file at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import ValidationError

from catalog.contract.derived_queries import check_queries
from catalog.contract.product import build_product
from catalog.document.yaml_document import Document, YamlPath, read_document, show_trail
from catalog.model.catalog import Catalog
from catalog.model.dataset import Product
from runtime.errors import ContractError, Finding
from runtime.settings.settings import Settings

if TYPE_CHECKING:
    import jsonschema

ACCEPTED_VERSIONS = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0")
CONTRACTS_REMEMBERED = 100
CONTRACT_SUFFIXES = (".odcs.yaml", ".odcs.yml", ".yaml", ".yml")


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
                Finding(
                    file, 1, "id", f"its schema {product.schema!r} is also the schema of {schemas[product.schema]}"
                )
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
        message = "contains no contract (a file that ends in .yaml): create one with `decant contract init FILE`"
        findings.append(Finding(path, 1, "", f"{message}, or set DECANT_CONTRACTS"))
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
                "is not a contract: must be a mapping with apiVersion, kind, id, version, status",
            )
        ]
    version = document.data.get("apiVersion")
    if version not in ACCEPTED_VERSIONS:
        message = f"{version!r} is not supported; supported are {', '.join(ACCEPTED_VERSIONS)}"
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
def standard_schema() -> dict[str, object]:
    """The standard's JSON Schema, with its slip mended.

    In 3.2.0 the conditions on `logicalType` also hold where there is none, so that a property without a
    logicalType gets the message that 'map' is missing.
    """
    schema: dict[str, object] = json.loads((files("open_data_contract_standard") / "schema.json").read_text())

    def fix_types(part: object) -> None:
        if isinstance(part, dict):
            condition = part.get("if")
            if isinstance(condition, dict) and "logicalType" in condition.get("properties", {}):
                condition.setdefault("required", ["logicalType"])
            for value in part.values():
                fix_types(value)
        elif isinstance(part, list):
            for value in part:
                fix_types(value)

    fix_types(schema)
    return schema


@dataclass(frozen=True)
class ContractText:
    """What a contract says, told from others by its text."""

    text: str
    data: Any = field(compare=False)


def check_schema(document: Document) -> Iterator[Finding]:
    """What the standard's JSON Schema has against the document."""
    for trail, message in find_violations(ContractText(document.text, document.data)):
        yield Finding(document.file, document.line_of(trail), show_trail(trail), message)


# One command reads a contract several times, and to find what is wrong takes longer than all else that is read.
@lru_cache(maxsize=CONTRACTS_REMEMBERED)
def find_violations(contract: ContractText) -> tuple[tuple[YamlPath, str], ...]:
    """Where the contract violates the standard's JSON Schema, and how; each once."""
    if conforms(contract.data):
        return ()
    errors = [find_cause(error) for error in standard_validator().iter_errors(contract.data)]
    found: dict[tuple[YamlPath, str], None] = {}
    for error in errors:
        trail: YamlPath = tuple(error.absolute_path)
        if error.validator == "unevaluatedProperties" and any(
            other is not error and tuple(other.absolute_path)[: len(trail)] == trail for other in errors
        ):
            # A part that fails for another reason has "evaluated" none of its properties, good ones either.
            continue
        message = (
            error.message if len(error.message) < 300 else f"does not conform to the standard ({error.validator})"
        )
        found[trail, message] = None
    return tuple(found)


def conforms(data: Any) -> bool:
    """Whether a contract certainly conforms to the standard's JSON Schema; what does not is validated once more.

    In hundreds of times fewer instructions than the validator that says what is wrong, which has the last word: the
    two differ where a number is no JSON (NaN), a key is no text, or a text ends with a line end.
    """
    try:
        return quick_validator().is_valid(data)
    except ValueError:
        return False


@cache
def quick_validator() -> jsonschema_rs.Draft201909Validator:
    """The compiled validator of the standard's JSON Schema; formats are no part of it, as in the other one."""
    return jsonschema_rs.Draft201909Validator(standard_schema(), validate_formats=False)


@cache
def standard_validator() -> jsonschema.protocols.Validator:
    """The validator of the standard's JSON Schema that finds every violation."""
    # Imported only where a contract is wrong: that takes as long as reading a hundred datasets.
    import jsonschema

    return jsonschema.validators.validator_for(standard_schema())(standard_schema())


def find_cause(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """Of alternatives that all fail, the one that came nearest: it is what the author meant."""
    from jsonschema.exceptions import relevance

    while error.context:
        error = max(error.context, key=relevance)
    return error
