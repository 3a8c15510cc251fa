"""Errors and warnings of one contract, with their lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from catalog.document.yaml_document import Document, YamlPath, show_trail
from runtime.errors import Finding


@dataclass
class Findings:
    """Collects what is wrong with one document; knows the line of each part."""

    document: Document
    found: list[Finding] = field(default_factory=list)

    def error(self, trail: YamlPath, message: str) -> None:
        """Notes something that keeps the contract from being used."""
        self.add(trail, message, "error")

    def warning(self, trail: YamlPath, message: str) -> None:
        """Notes something that Decant will not do, though the contract may be used."""
        self.add(trail, message, "warning")

    def add(self, trail: YamlPath, message: str, severity: str) -> None:
        """Notes a finding at the part of the document that `trail` leads to."""
        self.found.append(
            Finding(self.document.file, self.document.line_of(trail), show_trail(trail), message, severity)
        )


def group_warnings(found: list[Finding]) -> list[Finding]:
    """The findings, with warnings of the same words told once, at the first place, with the number of the others."""
    alike = Counter(words_of(finding) for finding in found if finding.severity == "warning")
    grouped = []
    for finding in found:
        words = words_of(finding)
        count = alike.pop(words, 0) if finding.severity == "warning" else -1
        if count:
            more = f" (and {count - 1} more)" if count > 1 else ""
            grouped.append(replace(finding, message=finding.message + more))
    return grouped


def words_of(finding: Finding) -> tuple[str, str]:
    """What a finding says, and of what kind of part."""
    return finding.message, finding.path.rpartition(".")[2].partition("[")[0]
