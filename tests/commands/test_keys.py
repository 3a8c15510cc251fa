"""Keys on the command line."""

from __future__ import annotations

import json

from tests.support.command_line import run
from tests.support.lab import Lab


def test_keys_are_made_listed_rotated_and_revoked(lab: Lab) -> None:
    made = run(
        lab, "keys", "create", "partner", "--scope", "people:read", "--days", "30", "--rate", "5/hour", "--json"
    )
    facts = json.loads(made.stdout)
    assert (facts["name"], facts["scopes"], facts["rate_limit"]) == ("partner", ["people:read"], "5/hour")
    listed = run(lab, "keys", "list")
    assert facts["id"] in listed.stdout
    assert facts["key"] not in listed.stdout
    rotated = json.loads(run(lab, "keys", "rotate", facts["id"], "--overlap", "2h", "--json").stdout)
    assert rotated["replaces"] == facts["id"]
    assert f"{facts['id']} is revoked." in run(lab, "keys", "revoke", "--only", facts["id"]).stdout
    states = {
        key["id"]: key["state"] for key in json.loads(run(lab, "keys", "list", "--state", "all", "--json").stdout)
    }
    assert states == {facts["id"]: "revoked", rotated["id"]: "active"}
    operations = [row[0] for row in lab.rows("SELECT operation FROM decant.audit_log ORDER BY id")]
    assert operations == ["keys create", "keys rotate", "keys revoke"]
    assert f"with it {rotated['id']} of the same line" in run(lab, "keys", "revoke", facts["id"]).stdout


def test_what_is_wrong_is_said_in_a_line(lab: Lab) -> None:
    for arguments, message in (
        (("create", "x", "--scope", "people:reed"), "did you mean people:read?"),
        (("create", "x", "--scope", "people:read", "--rate", "often"), "is not a rate such as 600/minute"),
        (("rotate", "nosuchkey"), "The key does not exist."),
        (("rotate", "nosuchkey", "--overlap", "soon"), "is not a duration"),
        (("revoke", "nosuchkey"), "The key does not exist."),
        (("list", "--state", "odd"), "--state must be one of"),
    ):
        found = run(lab, "keys", *arguments)
        assert found.returncode == 1
        assert message in found.stderr, found.stderr
        assert "Traceback" not in found.stderr
