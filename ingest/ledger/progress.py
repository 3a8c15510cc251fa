"""Progress reporting of a load."""

from __future__ import annotations


class Progress:
    """Silence; the command line shows bars instead."""

    def start(self, step: str, total: int | None) -> None:
        """A step begins; `total` counts what it will advance by, where that is known."""

    def advance(self, amount: int) -> None:
        """The step has got further."""

    def reject(self, total: int) -> None:
        """So many records are rejected so far."""

    def done(self) -> None:
        """The step has ended."""
