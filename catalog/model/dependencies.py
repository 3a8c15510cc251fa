"""Which dataset reads which, and the order in which they are loaded."""

from __future__ import annotations

from catalog.model.dataset import Dataset


class DependencyCircleError(ValueError):
    """Datasets need each other in a circle."""

    def __init__(self, circle: list[Dataset]) -> None:
        alone = len({dataset.schema for dataset in circle}) == 1
        super().__init__(" → ".join(dataset.name if alone else dataset.address for dataset in circle))
        self.circle = circle


def order_by_dependency(datasets: list[Dataset]) -> list[Dataset]:
    """The datasets, each after its parents and after what its query reads; a circle is ValueError."""
    by_name = {(d.schema, d.name): d for d in datasets}
    done: dict[tuple[str, str], bool] = {}
    ordered: list[Dataset] = []

    def visit(dataset: Dataset, trail: tuple[Dataset, ...]) -> None:
        key = (dataset.schema, dataset.name)
        if key in done:
            if not done[key]:
                raise DependencyCircleError([*trail[trail.index(dataset) :], dataset])
            return
        done[key] = False
        for needed in needs_of(dataset):
            if needed in by_name and needed != key:
                visit(by_name[needed], (*trail, dataset))
        done[key] = True
        ordered.append(dataset)

    for dataset in datasets:
        visit(dataset, ())
    return ordered


def needs_of(dataset: Dataset) -> list[tuple[str, str]]:
    """The (schema, dataset) pairs that must be loaded before this dataset."""
    needed = [(dataset.schema, key.dataset) for key in dataset.foreign_keys if key.enforced]
    return needed + reads_of(dataset)


def reads_of(dataset: Dataset) -> list[tuple[str, str]]:
    """The (schema, dataset) pairs that the dataset's query reads, in the order of `Input.reads`."""
    return [find_read(dataset, name) for name in (dataset.input.reads if dataset.input else ())]


def find_read(dataset: Dataset, name: str) -> tuple[str, str]:
    """The (schema, dataset) that a name in `Input.reads` means. Schemas hold no dot; datasets may."""
    schema, _, table = name.partition(".") if "." in name else ("", "", name)
    return schema or dataset.schema, table
