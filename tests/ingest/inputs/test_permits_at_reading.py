"""What a contract may use is asked again when it is read: files, variables, databases may be others by then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from catalog.inputs.permits import Permits
from catalog.model.sources import DatabaseSource
from ingest.errors import SourceError
from ingest.inputs.database.input import make_source_engine
from ingest.inputs.variables import VariableExpander
from runtime.settings.settings import load_settings
from tests.support.databases import Databases
from tests.support.lab import PEOPLE, Lab

PRODUCTION = {"env": "production", "secret": "x" * 32, "database_url": "postgresql://own@db.example/decant"}
CANARY = "s3cret-canary-7f"
RECORDS = "id,name,age,born\n1,Ann,30,2000-01-31\n"
FOLDERS = PEOPLE.replace('"${DECANT_DATA}"', '"${DECANT_DATA}/in"')
SHOP = """
apiVersion: v3.1.0
kind: DataContract
id: shop
version: 1.0.0
status: active
servers:
  - {server: erp, type: custom, customProperties: [{property: url, value: "${ERP_URL}"}]}
schema:
  - name: keys
    customProperties: [{property: input, value: {server: erp, sql: "select id, secret_hash from decant.api_keys"}}]
    properties:
      - {name: id, logicalType: string, primaryKey: true}
      - {name: secret_hash, logicalType: string}
"""


@pytest.mark.parametrize("pattern", ["people.csv", "*.csv", "**"])
def test_a_link_that_comes_later_opens_nothing(make_lab: Callable[..., Lab], pattern: str) -> None:
    lab = make_lab(FOLDERS.replace("path: people.csv", f"path: '{pattern}'"))
    (lab.settings.home / "people.csv").write_text(RECORDS.replace("Ann", CANARY))
    folder = lab.settings.data_folder / "in"
    folder.mkdir()
    assert lab.ingest("people.people", RECORDS, "in/people.csv").status == "published"
    # The file becomes a link into the home, then its folder does.
    (folder / "people.csv").unlink()
    (folder / "people.csv").symlink_to(lab.settings.home / "people.csv")
    report = lab.loader().run(lab.dataset("people.people"))
    assert (report.status, report.error_code) == ("failed", "path_outside_root")
    shutil.rmtree(folder)
    folder.symlink_to(lab.settings.home)
    report = lab.loader().run(lab.dataset("people.people"))
    assert (report.status, report.error_code) == ("failed", "path_outside_root"), report
    assert "DECANT_HOME" in (report.error or "")
    assert lab.rows("SELECT name FROM people_v1.people") == [("Ann",)]
    assert not [path for path in lab.landing.rglob("*") if path.is_file() and CANARY in path.read_text()]


def test_a_variable_is_asked_for_again_when_it_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(**PRODUCTION, input_variables="shop=SHOP_TOKEN")
    for name in ("SHOP_TOKEN", "OTHER_TOKEN", "DECANT_SECRET_FILE"):
        monkeypatch.setenv(name, CANARY)  # the last one behind the settings, which would refuse it
    expander = VariableExpander(Permits(settings, "shop"))
    assert expander.expand("Bearer ${SHOP_TOKEN} below ${DECANT_DATA}") == f"Bearer {CANARY} below .decant/data"
    for name in ("OTHER_TOKEN", "DECANT_SECRET_FILE", "DECANT_SECRET"):
        with pytest.raises(SourceError, match=name) as refused:
            expander.expand(f"${{{name}}}")
        assert CANARY not in str(refused.value)


SPELLINGS = {
    "as it is": "{url}",
    "of another login": "{read}",
    "of SQLAlchemy": "postgresql+psycopg://decant@/{database}?host={socket}&port={port}",
    "by the environment": "postgresql://decant@/{database}",
    "by a service": "postgresql://?service=own",
    "as one of several": "postgresql://decant@/{database}?host=/nowhere:{port}&host={socket}:{port}",
}


@pytest.mark.sampled
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_decants_own_database_is_not_read_however_it_is_reached(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spelling: str
) -> None:
    lab = make_lab(SHOP)
    url = urlsplit(lab.urls.owner)
    facts = {"database": url.path.strip("/"), **{name: value[0] for name, value in parse_qs(url.query).items()}}
    facts |= {"socket": facts["host"], "url": lab.urls.owner, "read": lab.urls.read}
    monkeypatch.setenv("PGHOST", facts["socket"])
    monkeypatch.setenv("PGPORT", facts["port"])
    service = tmp_path / "services.conf"
    service.write_text(
        f"[own]\nhost={facts['socket']}\nport={facts['port']}\ndbname={facts['database']}\nuser=decant\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv("ERP_URL", SPELLINGS[spelling].format(**facts))
    report = lab.loader().run(lab.dataset("shop.keys"))
    assert report.status == "failed"
    assert report.error == "The database erp is Decant's own, which contracts must not read."
    assert not any(path.is_file() for path in lab.landing.rglob("*"))


def test_no_password_of_the_machine_goes_to_a_host_that_a_contract_names(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = databases.create()
    source = DatabaseSource("erp", url=databases.urls(name).owner)
    passwords = tmp_path / "passwords"
    passwords.write_text(f"*:*:*:*:{CANARY}\n")
    passwords.chmod(0o600)

    def password_of(**settings: str) -> bytes:
        engine = make_source_engine(source, VariableExpander(Permits(load_settings(**settings), "shop")))
        try:
            with engine.connect() as connection:
                return connection.connection.driver_connection.pgconn.password  # type: ignore[union-attr]
        finally:
            engine.dispose()

    for variable, value in (("PGPASSWORD", CANARY), ("PGPASSFILE", str(passwords))):
        with monkeypatch.context() as context:
            context.setenv(variable, value)
            assert password_of() == CANARY.encode()
            assert password_of(**PRODUCTION) == b""
            assert password_of(**PRODUCTION, input_variables="shop=PGPASSWORD") == CANARY.encode()
    databases.run(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize(
    "place", ["/etc/hostname", "{home}/secret", "{home}/data/../secret", "../secret.db", "link.db"]
)
def test_a_database_that_is_a_file_is_read_from_open_folders_only(
    make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    lab = make_lab(SHOP)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("link.db").symlink_to(lab.settings.home / "secret")
    for file in (lab.settings.home / "secret", tmp_path / "secret.db"):
        file.write_text(CANARY)
    monkeypatch.setenv("ERP_URL", f"sqlite:///{place.format(home=lab.settings.home)}")
    report = lab.loader().run(lab.dataset("shop.keys"))
    assert report.status == "failed"
    assert "DECANT_HOME" in (report.error or "") or "DECANT_INPUT_ROOTS" in (report.error or "")
