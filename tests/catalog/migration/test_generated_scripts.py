"""What stands in a contract never becomes Python of a generated migration script: each text is a constant in it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.contract.load import lint_contracts
from catalog.migration.migrate import migrate
from catalog.model.catalog import Catalog
from catalog.model.semantic_version import parse_version
from runtime.settings.settings import PROJECT_ROOT, load_settings
from tests.support.lab import Lab

# Each would write the file {canary} where it ran as Python in a docstring, a text, a comment or a name.
HOSTILE = (
    '1.0.0+"""\nopen({canary!r}, "w")\n"""',
    "1.0.0'''\nopen({canary!r}, 'w')\n'''",
    "1.0.0\nopen({canary!r}, 'w')",
    "1.0.0\u2028open({canary!r}, 'w')",
    '1.0.0\\"""\ropen({canary!r}, "w")  # ',
    "1.0.0 ${{open({canary!r}, 'w')}} <% open({canary!r}, 'w') %>\n% endif\n## \\",
    "1.0.0\0",
)
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: shop
name: "\\"\\"\\"\\nopen('{canary}', 'w')\\n\\"\\"\\""
version: 1.0.0
status: draft
description: {{purpose: "'''\\nopen('{canary}', 'w')\\n'''"}}
schema:
  - name: items
    physicalName: {table}
    description: "\\"\\"\\"\\nopen('{canary}', 'w')"
    properties:
      - {{name: id, logicalType: integer, primaryKey: true}}
      - name: a
        physicalName: {column}
        logicalType: {kind}
        customProperties: [{{property: indexed, value: true}}]
"""
COLUMN = "'a\\\\'')\\nopen(''x'', ''w'')  # {brace} %s :b \"\"\" ${c} <% d %>'"


def read_script(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def odd_parts(tree: ast.Module) -> Iterator[str]:
    """What stands in a script beside constants, imports, the two functions, and calls of Alembic and SQLAlchemy."""
    for part in tree.body:
        match part:
            case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.FunctionDef():
                continue
            case ast.Assign(value=ast.Constant() | ast.Tuple()):
                continue
        yield ast.unparse(part)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        if not name.startswith(("op.", "sa.", "postgresql.")):
            yield name


@pytest.mark.slow
def test_a_version_is_a_constant_of_the_script_whatever_it_holds(
    make_lab: Callable[..., Lab], tmp_path: Path
) -> None:
    canary = str(tmp_path / "canary")
    lab = make_lab(CONTRACT.format(canary=canary, table="items", column="a", kind="string"))
    product = lab.catalog.products["shop", 1]
    dataset = product.datasets["items"]
    for number, hostile in enumerate(HOSTILE):
        # As if no check had stopped it, with one column more each time.
        name = f"b{number}"
        extra = replace(dataset.properties["a"], name=name, column=name)
        dataset = replace(dataset, properties={**dataset.properties, name: extra})
        version = hostile.format(canary=canary).replace("\0", "")
        changed = replace(product, version=version, sha256=f"{number:064}", datasets={"items": dataset})
        report = migrate(lab.settings, lab.urls.owner, Catalog({("shop", 1): changed}))
        assert report.applied == [f"shop_v1_{number + 2:04d}"]
        (path,) = report.written
        tree = read_script(path)
        assert not list(odd_parts(tree))
        assert ast.get_docstring(tree, clean=False) == f"shop {version}"
        assert path.parent == (lab.settings.home / "migrations").resolve()
    assert not (tmp_path / "canary").exists()


@pytest.mark.slow
def test_names_and_words_are_constants_of_the_script_too(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    canary = str(tmp_path / "canary")
    text = CONTRACT.format(canary=canary, table=COLUMN.replace("a", "t", 1), column=COLUMN, kind="string")
    lab = make_lab(text)
    # A second script takes up what stands in the database: another type of the column, another index.
    contract = lab.settings.contracts / "contract0.odcs.yaml"
    contract.write_text(text.replace("logicalType: string", "logicalType: integer"))
    again = Lab(lab.settings, lab.urls)
    assert migrate(again.settings, again.urls.owner, again.catalog).applied == ["shop_v1_0002"]
    contract.write_text(text.partition("      - name: a\n")[0])
    again = Lab(lab.settings, lab.urls)
    assert migrate(again.settings, again.urls.owner, again.catalog).applied == ["shop_v1_0003"]
    scripts = sorted((lab.settings.home / "migrations").glob("*.py"))
    assert len(scripts) == 3
    for script in scripts:
        tree = read_script(script)
        assert not list(odd_parts(tree))
        constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert any("# {brace} %s" in value for value in constants if isinstance(value, str))
    assert not (tmp_path / "canary").exists()
    assert not Path("x").exists()


VERSION_CASES = {
    "1.0.0": True,
    "v2.1.0-rc.1+build.5": True,
    "0.0.0": True,
    "1.0.0-0.alpha.1--": True,
    "1.0.0-01": False,
    "1.0.0-": False,
    "1.0.0+": False,
    "1.0.0+a..b": False,
    "1.0": False,
    "1": False,
    "01.0.0": False,
    "\u0661.0.0": False,
    "1.0.0 ": False,
    "1.0.0\n": False,
    "1.0.0.": False,
    "9999999999.0.0": False,
    "": False,
} | dict.fromkeys((text.format(canary="/x").replace("\0", "+") for text in HOSTILE), False)


@pytest.mark.parametrize(("version", "taken"), VERSION_CASES.items())
def test_the_whole_of_a_version_is_semantic(tmp_path: Path, version: str, taken: bool) -> None:
    text = CONTRACT.format(canary="/x", table="items", column="a", kind="string")
    quoted = '"' + "".join(f"\\u{ord(sign):04x}" for sign in version) + '"'
    (tmp_path / "shop.odcs.yaml").write_text(text.replace("version: 1.0.0", f"version: {quoted}"))
    _, found = lint_contracts(load_settings(contracts=tmp_path, home=tmp_path / "home"))
    errors = [finding for finding in found if finding.severity == "error"]
    assert {finding.path for finding in errors} == (set() if taken else {"version"})
    if taken:
        assert f"{parse_version(version)}".partition("+")[0] == version.removeprefix("v").partition("+")[0]


def test_the_committed_scripts_hold_nothing_else_either() -> None:
    paths = list((PROJECT_ROOT / "migrations" / "versions").glob("*_v[0-9]*.py"))
    assert paths
    for path in paths:
        assert not list(odd_parts(read_script(path)))
