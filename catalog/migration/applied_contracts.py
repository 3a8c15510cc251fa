"""The contracts that were applied to the database last, and whether the next ones are compatible."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import insert

from catalog.contract.product import build_product
from catalog.document.yaml_document import read_document
from catalog.migration.compare_contracts import Comparison, compare_contracts, match_names
from catalog.migration.compare_promises import PROMISED_STATUSES
from catalog.model.catalog import Catalog
from catalog.model.dataset import Product
from catalog.storage.ledger_tables import AppliedContract, DatasetHead
from runtime.errors import MigrationError
from runtime.settings.settings import Settings


@dataclass(frozen=True)
class ContractStep:
    """A contract that is not the one applied last."""

    product: Product
    comparison: Comparison
    renamed: Mapping[str, str]  # datasets: the name that was -> the one that is
    promised: bool  # whether somebody may rely on the contract applied last

    @property
    def problem(self) -> str | None:
        """Why the contract is not applied; None where it may be."""
        return self.comparison.problem if self.promised else None

    def lines(self) -> list[str]:
        """The step and its changes in words, one line each."""
        head, *changes = self.comparison.lines()
        free = "" if self.promised else " (nothing was published yet, or only a draft: any version is accepted)"
        refused = [f"  error: {self.problem}"] if self.problem else []
        return [f"{self.product.id} {head}{free}", *changes, *refused]


def find_steps(connection: sa.Connection, settings: Settings, catalog: Catalog) -> list[ContractStep]:
    """One step for each product whose contract says something else than the one applied last."""
    if not connection.scalar(sa.select(sa.func.to_regclass(str(AppliedContract.__table__)))):
        return []
    rows = connection.execute(sa.select(AppliedContract.__table__)).mappings()
    applied = {(row["product"], row["major"]): row for row in rows}
    steps = []
    for product in catalog.products.values():
        row = applied.get((product.id, product.major))
        if row is None or row["sha256"] == product.sha256:
            continue
        old = rebuild_product(row["source"], settings)
        if old is None:
            continue  # written for an older Decant: there is nothing to compare with
        comparison = compare_contracts(old, product)
        if comparison.changes or comparison.problem or comparison.old_version != comparison.new_version:
            promised = old.status in PROMISED_STATUSES and was_published(connection, product)
            steps.append(ContractStep(product, comparison, find_renamed(old, product), promised))
    return steps


def find_renamed(old: Product, new: Product) -> dict[str, str]:
    """The datasets that have another name and the table that they had."""
    tables = ({name: dataset.table for name, dataset in side.datasets.items()} for side in (old, new))
    return {before: after for before, after in match_names(*tables) if before and after and before != after}


def rename_heads(connection: sa.Connection, step: ContractStep) -> None:
    """Lets renamed datasets keep their revisions, loads and rejected records."""
    for before, after in step.renamed.items():
        of_product = (DatasetHead.product == step.product.id, DatasetHead.major == step.product.major)
        if connection.scalar(sa.select(DatasetHead.id).where(*of_product, DatasetHead.dataset == after)):
            raise MigrationError(
                f"{before} cannot be renamed to {after}: an earlier dataset had that name. Choose another name."
            )
        connection.execute(
            sa.update(DatasetHead).where(*of_product, DatasetHead.dataset == before).values(dataset=after)
        )


def was_published(connection: sa.Connection, product: Product) -> bool:
    """Whether any dataset of the product ever had a revision."""
    heads = sa.select(DatasetHead.id).where(
        DatasetHead.product == product.id, DatasetHead.major == product.major, DatasetHead.revision > 0
    )
    return bool(connection.scalar(sa.select(heads.exists())))


def rebuild_product(source: str, settings: Settings) -> Product | None:
    """The product of a contract's text, whatever lint would say of it today; None where it cannot be read at all."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "applied.odcs.yaml"
        file.write_text(source, encoding="utf-8")
        document, _ = read_document(file)
    if document is None or not isinstance(document.data, dict):
        return None
    try:
        contract = OpenDataContractStandard(**document.data)
    except (ValidationError, TypeError):
        return None
    return build_product(contract, document, hashlib.sha256(source.encode()).hexdigest(), settings)[0]


def register_contract(connection: sa.Connection, product: Product) -> None:
    """Keeps the text of the contract that the database fits now."""
    facts = {
        "version": product.version,
        "sha256": product.sha256,
        "source": product.source,
        "applied_at": sa.func.now(),
    }
    statement = insert(AppliedContract).values(product=product.id, major=product.major, **facts)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["product", "major"], set_=facts, where=AppliedContract.sha256 != product.sha256
        )
    )
