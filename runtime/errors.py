"""Errors shared by all packages.

CatalogError
├── SettingsError           a DECANT_* variable is missing or unusable
│   └── PoolerError         an address that needs a session leads through a pooler
├── ContractError           contracts with errors; carries every Finding
├── UnknownDatasetError     no such product or dataset
├── EmbeddedPostgresError   the embedded server cannot start or be reached (embedded.py)
├── MigrationError          the schema cannot be, or was not, brought to the contracts
├── StoreError              the object store refused, or cannot be used
│   └── StoreUnavailableError      worth trying again later
└── DatabaseError           Postgres could not be reached or refused
    ├── DatabaseUnavailableError   worth trying again later
    │   └── BusyError              others are at it; says at what
    ├── QueryTimeoutError          the statement ran into its time limit
    └── QueryTooExpensiveError     the statement ran into its limit of temporary space
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class CatalogError(Exception):
    """Something in the catalogue is not as it should be."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SettingsError(CatalogError):
    """A setting is missing or unusable."""


class PoolerError(SettingsError):
    """An address that must be the server's own leads through a connection pooler."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a contract gets wrong (`error`) or that Decant will not do (`warning`)."""

    file: Path
    line: int
    path: str
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path or '(root)'}: {self.message}"


class ContractError(CatalogError):
    """One or more contracts cannot be used."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = sorted(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


class UnknownDatasetError(CatalogError):
    """There is no such product or dataset in the contracts."""


class MigrationError(CatalogError):
    """The database's schema does not fit the contracts. Run `decant migrate`."""


class StoreError(CatalogError):
    """The object store of DECANT_STORE_URL refused a request."""


class StoreUnavailableError(StoreError):
    """The object store of DECANT_STORE_URL cannot be reached at the moment."""


class DatabaseError(CatalogError):
    """Postgres refused the statement."""


class DatabaseUnavailableError(DatabaseError):
    """Postgres cannot be reached at the moment."""


class BusyError(DatabaseUnavailableError):
    """All connections that there are for this are busy."""


class QueryTimeoutError(DatabaseError):
    """The statement ran into its time limit."""


class QueryTooExpensiveError(DatabaseError):
    """The statement needed more temporary space than it may use."""
