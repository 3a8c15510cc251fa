"""DECANT_* variables -> Settings, and the secret that is made where none is set."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.errors import SettingsError
from runtime.settings.secret import read_secret
from runtime.settings.settings import PROJECT_ROOT, Settings, load_settings
from runtime.settings.token_issuers import TokenIssuer

LONG = "x" * 32
MAKE_SECRET = """
import sys
from pathlib import Path
from runtime.settings.secret import read_secret
from runtime.settings.settings import load_settings
settings = load_settings(home=Path(sys.argv[1]))
sys.stdin.readline()
print(read_secret(settings).hex())
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DECANT_{name.upper()}", raising=False)


def test_each_setting_is_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_HOME", "/var/decant")
    monkeypatch.setenv("DECANT_PORT", "9000")
    monkeypatch.setenv("DECANT_DATABASE_URL", "postgresql://here")
    settings = load_settings()
    assert (settings.home, settings.port) == (Path("/var/decant"), 9000)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://here"


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, setting in Settings.model_fields.items() if not setting.description] == []


def test_overrides_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_PORT", "9000")
    assert load_settings(port=9001).port == 9001


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


def test_all_bad_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_PORT", "many")
    monkeypatch.setenv("DECANT_QUERY_TIMEOUT_MS", "0")
    monkeypatch.setenv("DECANT_ENV", "staging")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "DECANT_ENV",
        "DECANT_PORT",
        "DECANT_QUERY_TIMEOUT_MS",
    ]


@pytest.mark.parametrize(
    "name", ["port", "read_pool_size", "duckdb_threads", "source_limit_bytes", "pool_timeout_ms"]
)
def test_a_number_below_what_can_work_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"DECANT_{name.upper()}"):
        load_settings(**{name: -1})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"database_url": "postgresql://db"}, "DECANT_SECRET"),
        ({"database_url": "postgresql://db", "secret": "x" * 31}, "DECANT_SECRET"),
        ({"secret": LONG}, "DECANT_DATABASE_URL"),
        ({"secret": LONG, "database_url": ""}, "DECANT_DATABASE_URL"),
    ],
)
def test_production_refuses_unsafe_defaults(values: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(env="production", **values)


def test_production_starts_with_a_long_secret_and_a_database() -> None:
    assert load_settings(env="production", secret=LONG, database_url="postgresql://db").env == "production"


ISSUER = {"issuer": "https://login.example/one", "audience": "data"}


def test_token_issuers_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    told = ISSUER | {"jwks_url": "https://login.example/keys?p=1", "algorithms": ["ES256"]}
    monkeypatch.setenv("DECANT_TOKEN_ISSUERS", json.dumps([told, ISSUER | {"issuer": "https://other.example"}]))
    one, other = load_settings().token_issuers
    assert one == TokenIssuer(
        issuer="https://login.example/one",
        audience="data",
        jwks_url="https://login.example/keys?p=1",
        algorithms=("ES256",),
    )
    assert (other.jwks_url, other.algorithms) == (None, ("RS256", "PS256", "ES256", "EdDSA"))


def test_there_are_no_token_issuers_where_none_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().token_issuers == ()
    monkeypatch.setenv("DECANT_TOKEN_ISSUERS", "")
    assert load_settings().token_issuers == ()


@pytest.mark.parametrize(
    "text",
    [
        "https://login.example",
        "{}",
        "[{}]",
        "[1]",
        *(
            json.dumps([ISSUER | change])
            for change in (
                {"algorithms": ["HS256"]},
                {"algorithms": ["RS256", "none"]},
                {"algorithms": ["RS256", "NONE"]},
                {"algorithms": []},
                {"audience": ""},
                {"jwksUrl": "https://login.example/keys"},
                {"issuer": ""},
                {"issuer": "login.example"},
                {"issuer": "https://login.example?x=1"},
                {"issuer": "https://login.example#x"},
                {"issuer": "https://login.example\n"},
                {"jwks_url": "file:///etc/keys"},
                {"jwks_url": "https://user:word@login.example/keys"},
                {"jwks_url": "https:///keys"},
                {"jwks_url": "https://login.example:99999/keys"},
                {"jwks_url": "https://[::1/keys"},
                {"token_url": "javascript:alert(1)"},
                {"authorization_url": "//login.example"},
                {"scopes": ["two words"]},
            )
        ),
        json.dumps([ISSUER, ISSUER | {"audience": "other"}]),
    ],
)
def test_a_token_issuer_that_cannot_be_trusted_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DECANT_TOKEN_ISSUERS", text)
    with pytest.raises(SettingsError, match=r"^DECANT_TOKEN_ISSUERS: "):
        load_settings()


@pytest.mark.parametrize("name", ["issuer", "jwks_url", "authorization_url", "token_url"])
def test_only_development_fetches_keys_over_plain_http(name: str) -> None:
    safe = {"secret": LONG, "database_url": "postgresql://db"}
    issuers = [ISSUER | {name: "http://login.example/two"}]
    assert len(load_settings(token_issuers=issuers).token_issuers) == 1
    with pytest.raises(SettingsError, match=r"http://login\.example/two must start with https://"):
        load_settings(env="production", token_issuers=issuers, **safe)
    assert len(load_settings(env="production", token_issuers=[ISSUER], **safe).token_issuers) == 1


def test_secrets_are_never_shown() -> None:
    settings = load_settings(secret=LONG, database_url="postgresql://user:hidden@db")
    assert LONG not in repr(settings)
    assert "hidden" not in repr(settings)


def test_folders_lie_in_home_unless_they_are_set() -> None:
    settings = load_settings(home=Path("/h"))
    assert [settings.data_folder, settings.work_folder] == [
        Path("/h/data"),
        Path("/h/work"),
    ]
    assert load_settings(home=Path("/h"), data=Path("/d")).data_folder == Path("/d")


def test_a_secret_is_made_once_kept_and_closed_to_others(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "new" / "home")
    first = read_secret(settings)
    file = settings.home / "secret"
    assert read_secret(settings) == first
    assert len(first) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in settings.home.iterdir()] == ["secret"]


def test_a_secret_that_is_set_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", secret=LONG)
    assert read_secret(settings) == read_secret(settings)
    assert read_secret(settings) != read_secret(load_settings(secret=LONG + "x"))
    assert not settings.home.exists()


@pytest.mark.slow
def test_processes_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE_SECRET, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=PROJECT_ROOT, **pipes) for _ in range(3)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    secrets = {process.communicate(timeout=30)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 3
    assert len(secrets) == 1
