"""Connections that are kept: lent to one at a time, and closed when they failed or are old."""

from __future__ import annotations

import pytest

from ingest.inputs.kept import KeptConnections


class Line:
    """A connection that knows whether it is closed."""

    closed = False

    def close(self) -> None:
        """Closes it, and says that even this went wrong."""
        self.closed = True
        raise OSError("already gone")


def test_one_connection_serves_one_after_the_other_and_two_at_once_have_their_own() -> None:
    kept: KeptConnections[str, Line] = KeptConnections()
    with kept.lend("a", Line) as first:
        pass
    with kept.lend("a", Line) as again, kept.lend("a", Line) as second, kept.lend("b", Line) as elsewhere:
        assert again is first
        assert len({first, second, elsewhere}) == 3
    kept.close()
    assert first.closed
    assert second.closed
    assert elsewhere.closed
    with kept.lend("a", Line) as new:
        assert new not in {first, second}


def test_what_failed_and_what_is_old_is_closed_and_not_lent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: KeptConnections[str, Line] = KeptConnections()
    with pytest.raises(KeyError), kept.lend("a", Line) as failed:
        raise KeyError
    assert failed.closed
    with kept.lend("a", Line) as first:
        assert first is not failed
    monkeypatch.setattr("ingest.inputs.kept.KEPT_SECONDS", -1.0)
    with kept.lend("b", Line):  # whoever asks for another place finds the old one, too
        assert first.closed
    with kept.lend("a", Line) as second:
        assert second is not first
