"""Backups that come back: home, database or both, older and newer than each other. Nothing stale is ever served."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from catalog.migration.migrate import migrate
from decant import app
from runtime.errors import MigrationError
from runtime.postgres.database import ROLES, DatabaseUrls
from runtime.postgres.embedded_postgres import EmbeddedPostgres, run_embedded
from runtime.settings.secret import read_secret
from runtime.settings.settings import PROJECT_ROOT
from tests.support.databases import Databases
from tests.support.documents import read_example
from tests.support.lab import PEOPLE, Lab

BASE = "/data/people/v1/people"
FIRST = "id,name,age,born\n1,Ada,36,1815-12-10\n2,Bob,40,1980-01-01\n"
BORN = "{name: born, logicalType: date}"
OLD = FIRST.replace("Bob", "Old")  # what is published behind the backup, and lost with the restore
NEW = FIRST.replace("Bob", "New")  # what is published after the restore, under the same number


@pytest.fixture
def restore(databases: Databases, lab: Lab) -> Iterator[Callable[[], Callable[[], None]]]:
    """Makes a backup of the lab's database; what it gives puts that backup in the database's place."""
    name = psycopg.conninfo.conninfo_to_dict(lab.urls.owner)["dbname"]
    backups = []

    def backup() -> Callable[[], None]:
        lab.close()  # a database is copied while nobody is connected
        backups.append(databases.create(str(name)))

        def put_back() -> None:
            databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')
            databases.run(f'CREATE DATABASE "{name}" TEMPLATE "{backups[-1]}"')

        return put_back

    yield backup
    for made in backups:
        databases.run(f'DROP DATABASE "{made}" WITH (FORCE)')


class Consumer:
    """What somebody keeps of revision 2: tags, cursors, addresses, and a synced copy."""

    def __init__(self, lab: Lab) -> None:
        self.copy = sqlite3.connect(":memory:")
        self.sync = read_example()
        with lab.serve() as client:
            page = client.get(f"{BASE}/records?limit=1")
            record = client.get(f"{BASE}/records/2")
            export = client.get(f"{BASE}/export?format=csv", follow_redirects=False)
            file = client.get(f"{BASE}/export?format=parquet", follow_redirects=True)
            self.epoch = page.headers["decant-epoch"]
            self.next = page.json()["next"]
            self.tags = {f"{BASE}/records?limit=1": page.headers["etag"], f"{BASE}/records/2": record.headers["etag"]}
            self.tags[str(file.url.raw_path, "ascii")] = file.headers["etag"]
            self.export = export.headers["location"]
            assert record.json()["data"]["name"] == "Old"
            assert self.sync(client, BASE, self.copy) == 2

    def names(self) -> list[str]:
        """The names in the synced copy."""
        return [json.loads(body)["name"] for (body,) in self.copy.execute("SELECT body FROM record ORDER BY key")]

    def check_all_gone(self, client: httpx.Client) -> None:
        """Nothing of what was kept is taken for what is there now."""
        assert client.get(f"{BASE}/records/2").json()["data"]["name"] == "New"
        for url, tag in self.tags.items():
            answer = client.get(url, headers={"If-None-Match": tag})
            assert answer.status_code in {200, 410}, url
        for url in (
            self.next,
            self.export,
            f"{BASE}/changes?since=2&epoch={self.epoch}",
            f"{BASE}/records?at=2&epoch={self.epoch}",
            f"{BASE}/records/2?at=2&epoch={self.epoch}",
            f"{BASE}/aggregate?at=2&epoch={self.epoch}",
        ):
            answer = client.get(url)
            assert (answer.status_code, answer.json()["code"]) == (410, "epoch_ended"), url
        assert self.sync(client, BASE, self.copy) == 2
        assert self.names() == ["Ada", "New"]
        now = client.get(f"{BASE}/records?limit=1")
        assert now.headers["decant-epoch"] != self.epoch
        again = client.get(f"{BASE}/records?limit=1", headers={"If-None-Match": now.headers["etag"]})
        assert (again.status_code, again.headers["decant-epoch"]) == (304, now.headers["decant-epoch"])
        self.copy.close()


def epochs_of(lab: Lab) -> list[str]:
    """Every epoch of the database."""
    return [epoch for (epoch,) in lab.rows("SELECT epoch FROM decant.epochs ORDER BY id")]


def run(lab: Lab, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """A command on the lab's database and home."""
    monkeypatch.setenv("DECANT_HOME", str(lab.settings.home))
    monkeypatch.setenv("DECANT_CONTRACTS", str(lab.settings.contracts))
    monkeypatch.setenv("DECANT_DATA", str(lab.settings.data_folder))
    monkeypatch.setenv("DECANT_DATABASE_URL", lab.urls.owner)
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.mark.slow
def test_a_database_older_than_its_home_begins_a_new_epoch_with_the_next_load(
    lab: Lab, restore: Callable[[], Callable[[], None]]
) -> None:
    lab.ingest("people.people", FIRST)
    put_back = restore()
    assert lab.ingest("people.people", OLD).status == "published"
    consumer = Consumer(lab)
    put_back()
    report = lab.ingest("people.people", NEW)
    assert (report.status, report.outcome.revision if report.outcome else None) == ("published", 2)
    assert any("restored from a backup" in note for note in report.notes)
    assert len(epochs_of(lab)) == 2
    (audit,) = lab.rows("SELECT facts ->> 'before' FROM decant.audit_log WHERE operation = 'new epoch'")
    assert audit == (consumer.epoch,)
    with lab.serve() as client:
        consumer.check_all_gone(client)
    assert lab.ingest("people.people", FIRST).status == "published"
    assert len(epochs_of(lab)) == 2, "one restore, one epoch"


@pytest.mark.slow
def test_a_publication_of_another_host_does_not_hide_the_restore(
    lab: Lab, restore: Callable[[], Callable[[], None]], tmp_path: Path
) -> None:
    lab.ingest("people.people", FIRST)
    put_back = restore()
    lab.ingest("people.people", OLD)
    consumer = Consumer(lab)
    put_back()
    # Another host, whose home has seen nothing, publishes the number that was lost.
    other = Lab(lab.settings.model_copy(update={"home": tmp_path / "other"}), lab.urls)
    assert other.ingest("people.people", NEW).status == "published"
    assert epochs_of(lab) == [consumer.epoch]
    lab.ingest("people.people", NEW)
    assert len(epochs_of(lab)) == 2
    with lab.serve() as client:
        consumer.check_all_gone(client)


@pytest.mark.slow
def test_a_database_restored_twice_into_an_ended_epoch_begins_another(
    lab: Lab, restore: Callable[[], Callable[[], None]]
) -> None:
    lab.ingest("people.people", FIRST)
    put_back = restore()
    lab.ingest("people.people", OLD)
    first = epochs_of(lab)
    put_back()
    lab.migrate()
    second = epochs_of(lab)
    assert len(second) == 2
    put_back()
    lab.migrate()
    third = epochs_of(lab)
    assert (third[0], len(third)) == (first[0], 2)
    assert third[1] not in second, "nobody may take it for the epoch that was lost with the second restore"


@pytest.mark.slow
def test_home_and_database_of_one_backup_need_to_be_told(
    lab: Lab, restore: Callable[[], Callable[[], None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.ingest("people.people", FIRST)
    read_secret(lab.settings)  # made with the first start of the service, so before the backup
    put_back = restore()
    shutil.copytree(lab.settings.home, tmp_path / "backup")
    lab.ingest("people.people", OLD)
    consumer = Consumer(lab)
    put_back()
    shutil.rmtree(lab.settings.home)
    shutil.copytree(tmp_path / "backup", lab.settings.home)
    done = run(lab, monkeypatch, "restored")
    assert (done.exit_code, "begins" in done.output) == (0, True), done.output
    lab.ingest("people.people", NEW)
    with lab.serve() as client:
        consumer.check_all_gone(client)


@pytest.mark.slow
def test_a_home_older_than_its_database_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.ingest("people.people", FIRST)
    shutil.copytree(lab.settings.home, tmp_path / "backup")
    lab.ingest("people.people", OLD)
    before = epochs_of(lab)
    shutil.rmtree(lab.settings.home)
    shutil.copytree(tmp_path / "backup", lab.settings.home)
    assert lab.ingest("people.people", NEW).status == "published"
    lab.migrate()
    assert epochs_of(lab) == before
    with lab.serve() as client:
        assert client.get(f"{BASE}/records/2").json()["data"]["name"] == "New"


@pytest.mark.slow
def test_a_lost_home_is_named_and_its_scripts_come_back_from_the_database(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.migrate()
    report = lab.ingest("people.people", FIRST)
    scripts = {path.name: path.read_text() for path in (lab.settings.home / "migrations").glob("*.py")}
    assert scripts
    shutil.rmtree(lab.settings.home)
    (lab.settings.contracts / "contract0.odcs.yaml").write_text(
        PEOPLE.replace("1.0.0", "1.1.0").replace(BORN, f"{BORN}\n      - {{name: town, logicalType: string}}")
    )
    wider = Lab(lab.settings, lab.urls)
    with pytest.raises(MigrationError, match="--rebuild-scripts"):
        wider.migrate()
    done = run(lab, monkeypatch, "migrate", "--rebuild-scripts")
    assert done.exit_code == 0, done.output
    found = {path.name: path.read_text() for path in (lab.settings.home / "migrations").glob("*.py")}
    assert {name: found.get(name) for name in scripts} == scripts
    assert len(found) == len(scripts) + 1
    assert (
        wider.ingest("people.people", NEW.replace("born", "born,town").replace("-01\n", "-01,\n")).status
        == "published"
    )
    # What is lost is named, and nothing else stands still for it.
    again = run(wider, monkeypatch, "replay", "--load", str(report.load_id))
    assert (again.exit_code, "no longer in the landing zone" in " ".join(again.output.split())) == (1, True)
    told = run(wider, monkeypatch, "restored", "--reason", "a drill")
    assert "the raw batches of 1 loads are not in the landing zone" in " ".join(told.output.split())


def test_a_lost_database_is_made_anew_from_the_home(lab: Lab, databases: Databases) -> None:
    lab.ingest("people.people", FIRST)
    lab.ingest("people.people", OLD)
    consumer = Consumer(lab)
    name = psycopg.conninfo.conninfo_to_dict(lab.urls.owner)["dbname"]
    databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')
    databases.run(f'CREATE DATABASE "{name}"')
    migrate(lab.settings, lab.urls.owner, lab.catalog)
    lab.ingest("people.people", FIRST)
    lab.ingest("people.people", NEW)
    with lab.serve() as client:
        consumer.check_all_gone(client)


@pytest.fixture
def other_server() -> Iterator[EmbeddedPostgres]:
    """A server that has never seen Decant: neither its databases nor its roles."""
    folder = Path(tempfile.mkdtemp(prefix="decant-tests-", dir="/tmp"))
    folder.chmod(0o755)  # it is run by another user than root
    try:
        with run_embedded(folder / "postgres") as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_documented(block: str, folder: Path, lab: Lab, server: EmbeddedPostgres) -> str:
    """What the commands of docs/how-to/backup.md print, run as they stand there."""
    text = (PROJECT_ROOT / "docs" / "how-to" / "backup.md").read_text(encoding="utf-8")
    (commands,) = re.findall(rf"^ *```sh {block}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    variables = {
        "PATH": os.pathsep.join([str(server.binaries), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DECANT_HOME": str(lab.settings.home),
        "DECANT_CONTRACTS": str(lab.settings.contracts),
        "DECANT_DATA": str(lab.settings.data_folder),
        "DECANT_DATABASE_URL": lab.urls.owner,
        "DECANT_INGEST_DATABASE_URL": lab.urls.ingest,
        "DECANT_READ_DATABASE_URL": lab.urls.read,
        "DECANT_WRITE_DATABASE_URL": lab.urls.write,
        "SERVER_URL": server.url(),
    }
    done = subprocess.run(
        ["sh", "-euc", commands],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("DECANT_", "PG"))} | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_documented_commands_bring_all_of_it_to_another_server(
    lab: Lab, server: EmbeddedPostgres, other_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    read_secret(lab.settings)  # made with the first start of the service, so before the backup
    lab.ingest("people.people", FIRST)
    run_documented("backup", tmp_path, lab, server)
    assert lab.ingest("people.people", OLD).status == "published"
    consumer = Consumer(lab)
    home = tmp_path / "restored"
    home.mkdir()
    url = other_server.url
    urls = DatabaseUrls(url(database="restored"), *(url(role, "restored") for role in ROLES))
    restored = Lab(lab.settings.model_copy(update={"home": home}), urls)
    run_documented("restore", tmp_path, restored, other_server)
    # Home and database are of one backup: nothing tells by itself that revision 2 was there before.
    assert epochs_of(restored) == [consumer.epoch]
    assert restored.rows("SELECT revision FROM decant.datasets") == [(1,)]
    assert "begins" in run_documented("epoch", tmp_path, restored, other_server)
    assert epochs_of(restored)[0] == consumer.epoch
    assert len(epochs_of(restored)) == 2
    (audit,) = restored.rows("SELECT facts ->> 'reason' FROM decant.audit_log WHERE operation = 'new epoch'")
    assert audit == ("restored the backup of Monday",)
    # What a database itself allows is not in its dump: `decant migrate` takes from everybody what no login needs.
    rights = """
      SELECT r.rolname, p.kind FROM pg_roles AS r, unnest(ARRAY['CONNECT', 'CREATE', 'TEMP']) AS p(kind)
      WHERE r.rolname = ANY(%s) AND has_database_privilege(r.rolname, current_database(), p.kind) ORDER BY 1, 2
    """
    assert set(restored.rows(rights, [*ROLES])) <= {*((role, "CONNECT") for role in ROLES), ("decant_ingest", "TEMP")}
    assert restored.ingest("people.people", NEW).status == "published"
    with restored.serve() as client:
        consumer.check_all_gone(client)
