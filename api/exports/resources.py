"""Dependencies of the export endpoints, beside those of every route."""

from __future__ import annotations

from dataclasses import dataclass

from api.exports.kept_files import ExportFiles
from api.exports.snapshot import ExportSource


@dataclass(frozen=True)
class ExportResources:
    """Snapshots of datasets, and the folder of finished files."""

    source: ExportSource
    files: ExportFiles
