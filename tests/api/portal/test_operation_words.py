"""Every action that the audit log has is told in a sentence: a new one without a sentence fails here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.portal.console.operation_words import OPERATION_WORDS, describe_operation
from api.portal.routes import ACTIONS
from tests.support.lab import Lab

ROOT = Path(__file__).resolve().parents[3]
# What writes the audit log, or is told under which operation to write: the place of the operation in its call.
WRITERS = {"AuditEntry": 0, "note": 2, "record_audit": 2, "Once": 1, "LoadOrder": 4, "run_request": 3}
# Who calls the database's function; whatever else did would have to be looked at here.
NOTING = {
    *("api/admin/key_store.py", "api/admin/load_queue.py", "api/admin/subscription_store.py"),
    *(
        "catalog/storage/audit.py",
        "catalog/storage/epoch.py",
        "ingest/delivery/outcomes.py",
        "ingest/ledger/audit.py",
    ),
}
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
# They change nothing that the audit log is about.
NOT_AUDITED = {
    "POST /subscriptions/{subscription}/test",
    "POST /data/{product}/v{major}/{dataset}/events",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The files of the code, by their paths."""
    for folder in ("api", "catalog", "commands", "ingest"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def text_of(node: ast.expr | None) -> str | None:
    """The text that an expression gives, with 1 in the place of what is filled in; None where it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
    return None


def operations_in(module: ast.Module) -> Iterator[str]:
    """The operations that the calls of a file write into the audit log."""
    named = {
        target.id: text
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and (text := text_of(node.value)) is not None
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        name = getattr(node.func, "id", None) if isinstance(node, ast.Call) else None
        if not isinstance(node, ast.Call) or name not in WRITERS:
            continue
        place = WRITERS[name]
        given = next((keyword.value for keyword in node.keywords if keyword.arg == "operation"), None)
        if given is None and len(node.args) > place:
            given = node.args[place]
        text = named.get(given.id) if isinstance(given, ast.Name) else text_of(given)
        if text is not None:
            yield text


def test_every_operation_that_the_code_writes_has_a_sentence() -> None:
    written = {operation for _, module in sources() for operation in operations_in(module)}
    assert len(written) > 15
    assert {operation for operation in written if not describe_operation(operation)} == set()
    words = {text for _, text in OPERATION_WORDS}
    assert words - {describe_operation(operation) for operation in written} <= {"asked for a load"}, "told of nobody"


@pytest.mark.slow
def test_nothing_else_writes_the_audit_log() -> None:
    def calls(module: ast.Module) -> bool:
        names = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
        return bool(names & {"NOTE_AUDIT", "note_audit"})

    assert {path for path, module in sources() if calls(module)} == NOTING


def test_every_request_that_changes_something_has_a_sentence(lab: Lab) -> None:
    forms = {action.path for action in ACTIONS}
    with lab.serve() as client:
        paths = client.get("/openapi.json", headers={"Accept": "application/json"}).json()["paths"]
    asked = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    changing = {each for each in asked if each.partition(" ")[0] in UNSAFE} - NOT_AUDITED
    assert len(changing) > 5
    for each in changing:
        assert each.partition(" ")[2] not in forms
        as_noted = re.sub(r"/\{(key_id|subscription)\}", "", each).replace("/self", "")
        assert describe_operation(re.sub(r"\{\w+\}", "1", as_noted)), each


@pytest.mark.parametrize("operation", ["GET /keys", "POST /keys/rotated", "", "replays"])
def test_what_is_not_known_has_no_sentence(operation: str) -> None:
    assert describe_operation(operation) == ""
