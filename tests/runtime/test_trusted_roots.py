"""The authorities that clients trust are read once, and again when they are others."""

from __future__ import annotations

import os
from pathlib import Path

import certifi
import pytest

from runtime.trusted_roots import trust_context


def test_all_clients_share_the_authorities_until_their_file_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    usual = trust_context()
    assert trust_context() is usual
    assert len(usual.get_ca_certs()) > 1
    end = "-----END CERTIFICATE-----\n"
    pieces = Path(certifi.where()).read_text(encoding="utf-8").split(end)
    own = tmp_path / "own.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    for number in (1, 2):
        other = tmp_path / "new"
        other.write_text("".join(piece + end for piece in pieces[:number]), encoding="utf-8")
        os.replace(other, own)
        assert len(trust_context().get_ca_certs()) == number
        assert trust_context() is trust_context()


def test_a_folder_of_authorities_is_left_to_be_read_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert trust_context().get_ca_certs() == []


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(FileNotFoundError):
        trust_context()
