"""Errors of ingestion.

IngestError                      `code` is what the ledger keeps as a load's error; `passing` ones are tried again
├── SourceError                  the input could not be read as it is
│   ├── SourceUnavailableError   it cannot be reached at the moment
│   ├── SourceMissingError       there is no such file
│   ├── PathOutsideRootError     the path leads out of the server's folder
│   ├── SourceTooLargeError      larger than the cap, or an archive that unpacks to too much
│   ├── UnsafeArchiveError       an archive that holds more than one plain file
│   └── MissingColumnsError      the raw columns that the contract reads are not all there
├── QueryInputError              the query of a derived dataset failed
├── CleaningError                the cleaning statement cannot be run
├── OutOfMemoryError             the load needs more memory than it may use
├── ClusterError                the cluster that judges large batches did not do so
├── StoreUnreachableError        the object store cannot be reached at the moment
├── DiskFullError                a disk here is full
├── SystemFailureError           the operating system refused something else
├── DatabaseBusyError            others were in the way in Postgres
├── DatabaseRefusedError         Postgres refused a statement
├── InterruptedLoadError         its process was asked to stop
├── InternalError                an exception that nothing here knows; its trace is in the log
├── DatasetBusyError             another worker is loading the dataset
├── LoadOverError                the load has ended already
└── LoadSupersededError          a later load took over; this one must not publish
"""

from __future__ import annotations


class IngestError(Exception):
    """A load could not be done."""

    code = "ingest_error"
    transient = False  # whether the same may go well a little later, with nobody doing anything
    after: float | None = None  # seconds that the source asks to be left alone before the next attempt

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SourceError(IngestError):
    """The input cannot be read."""

    code = "source_unreadable"


class SourceUnavailableError(SourceError):
    """The input cannot be reached at the moment."""

    code = "source_unavailable"
    transient = True

    def __init__(self, message: str | None = None, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class SourceMissingError(SourceError):
    """There is no such file."""

    code = "source_missing"


class PathOutsideRootError(SourceError):
    """The path leads out of the server's folder."""

    code = "path_outside_root"


class SourceTooLargeError(SourceError):
    """The source is larger than DECANT_SOURCE_LIMIT_BYTES, or unpacks to over 100 times its size."""

    code = "source_too_large"


class UnsafeArchiveError(SourceError):
    """The archive must hold exactly one plain file."""

    code = "unsafe_archive"


class MissingColumnsError(SourceError):
    """The raw columns that the contract reads are not all there."""

    code = "missing_columns"


class QueryInputError(IngestError):
    """The query of a derived dataset failed."""

    code = "query_failed"


class CleaningError(IngestError):
    """The cleaning statement cannot be run."""

    code = "cleaning_failed"


class OutOfMemoryError(IngestError):
    """The load needs more memory than there is: DECANT_DUCKDB_MEMORY is what cleaning may use of it."""

    code = "out_of_memory"
    transient = True


class DiskFullError(IngestError):
    """No space is left on a disk that the load writes to: the home folder's, or the one for temporary files."""

    code = "disk_full"
    transient = True


class ClusterError(IngestError):
    """The cluster of DECANT_ENGINE did not judge the batch."""

    code = "cluster_failed"
    transient = True


class StoreUnreachableError(IngestError):
    """The object store of DECANT_STORE_URL cannot be reached at the moment."""

    code = "store_unavailable"
    transient = True


class SystemFailureError(IngestError):
    """The operating system refused something that the load needs."""

    code = "system_error"


class DatabaseBusyError(IngestError):
    """Another transaction held what the load needed for too long."""

    code = "database_busy"
    transient = True


class DatabaseRefusedError(IngestError):
    """Postgres refused a statement of the load."""

    code = "database_refused"


class InterruptedLoadError(IngestError):
    """The load was interrupted: whoever ran it was told to stop."""

    code = "interrupted"
    transient = True


class InternalError(IngestError):
    """Something broke that is not the source's fault; the log has the trace."""

    code = "internal_error"
    transient = True


class DatasetBusyError(IngestError):
    """Another worker is loading this dataset. Try again when it is done."""

    code = "dataset_busy"


class LoadOverError(IngestError):
    """The load has ended already."""

    code = "load_over"


class LoadSupersededError(IngestError):
    """A later load took over this dataset while this one was stopped; nothing was published."""

    code = "load_superseded"
