"""Where properties come from, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from catalog.model.lineage import Lineage, Origin


def show_lineage(traced: Lineage, console: Console) -> None:
    """Prints the lineage as a tree."""
    top = Tree(Text(traced.dataset, style="bold"))
    if traced.source is None:
        top.add(Text("has no input in its contract", style="dim"))
    for prop in traced.properties:
        branch = top.add(Text(prop.name))
        if prop.transform:
            branch.label = Text.assemble(prop.name, (f"  = {' '.join(prop.transform.split())}", "dim"))
        add_origins(branch, prop.origins)
    console.print(top)


def add_origins(branch: Tree, origins: tuple[Origin, ...]) -> None:
    """Adds the origins of a branch, recursively."""
    for origin in origins:
        add_origins(branch.add(Text(f"← {origin.shown}")), origin.origins)
