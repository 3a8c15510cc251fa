"""No module imports another that imports it, over however many steps."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp

PACKAGES = ("api", "catalog", "commands", "ingest", "runtime", "bench")


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules of which each imports the one before it, the first again at the end; none where there is no circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_a_circle_is_found():
    assert find_circle({"one": {"two"}, "two": {"three"}, "three": {"one"}, "four": {"one"}})
    assert find_circle({"one": {"two"}, "three": {"one", "two"}}) == []


def test_no_module_is_in_a_circle():
    # Contracts of import-linter order folders; a folder's own __init__ and the modules beside it are in none of them.
    # Imports inside functions count, and those that only types need.
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    # decant.py is no package, so its imports are not in the graph: it may use every part but bench.
    imports["decant"] = {module for module in imports if module.split(".")[0] in PACKAGES[:-1]}
    assert find_circle(imports) == []
