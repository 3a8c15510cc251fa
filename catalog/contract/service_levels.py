"""A contract's slaProperties -> Sla, with a finding for whatever cannot be held."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from croniter import croniter  # type: ignore[import-untyped]
from open_data_contract_standard.model import OpenDataContractStandard, ServiceLevelAgreementProperty

from catalog.document.findings import Findings
from catalog.document.yaml_document import YamlPath
from catalog.model.dataset import Dataset
from catalog.model.service_levels import Schedule, Sla
from runtime.near_misses import find_near

# A month is 30 days and a year 365: promises are counted in days, not by calendars.
UNIT_DAYS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1 / 86_400),
    **dict.fromkeys(("min", "minute", "minutes"), 1 / 1_440),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 1 / 24),
    **dict.fromkeys(("d", "day", "days"), 1.0),
    **dict.fromkeys(("w", "wk", "week", "weeks"), 7.0),
    **dict.fromkeys(("mo", "mon", "month", "months"), 30.0),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 365.0),
}
SHOWN_UNITS = "s, min, h, d, w, mo, y"
ISO_DURATION = re.compile(
    r"P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.ASCII
)
ISO_DAYS = (365.0, 30.0, 7.0, 1.0, 1 / 24, 1 / 1_440, 1 / 86_400)
WITHOUT_END = frozenset({"unlimited", "infinite", "forever", "indefinite"})
# No R, which croniter takes for a random time: a schedule says the same whenever it is read.
FIVE_FIELDS = re.compile(r"(?!(?i:.*\br\b))[^\s@]+( +[^\s@]+){4}")
CRON_NAMES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly"})


def build_sla(contract: OpenDataContractStandard, datasets: Mapping[str, Dataset], findings: Findings) -> Sla:
    """The product's service levels; those that Decant does not act on are left to the documentation."""
    reader = SlaReader(datasets, findings)
    for index, part in enumerate(contract.slaProperties or []):
        read = READERS.get(part.property or "")
        if read:
            read(reader, part, ("slaProperties", index))
        elif near := find_near(part.property or "", READERS):
            findings.error(
                ("slaProperties", index, "property"),
                f"unknown service level {part.property!r}; did you mean {near!r}?",
            )
    return reader.sla


@dataclass
class SlaReader:
    """Reads one service level after the other."""

    datasets: Mapping[str, Dataset]
    findings: Findings
    sla: Sla = field(default_factory=Sla)

    def read_frequency(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> None:
        """A schedule, where there is one: a frequency alone is a promise, not a time to start."""
        if not part.scheduler and not part.schedule:
            return
        if (part.scheduler or "").lower() != "cron":
            self.findings.warning((*trail, "scheduler"), f"{part.scheduler!r} is not supported; supported is 'cron'")
            return
        cron = (part.schedule or "").strip()
        if problem := check_cron(cron):
            self.findings.error((*trail, "schedule"), problem)
            return
        if not part.element:
            self.sla = replace(self.sla, schedules=(*self.sla.schedules, Schedule(cron)))
            return
        named = [self.find_dataset(element, trail) for element in split_elements(part)]
        schedules = tuple(Schedule(cron, name) for name in dict.fromkeys(named) if name)
        self.sla = replace(self.sla, schedules=self.sla.schedules + schedules)

    def read_latency(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> None:
        """How old the newest record may be, and which property says it."""
        latency = self.read_duration(part, trail)
        if latency is None or not self.is_first("latency", self.sla.latency, trail):
            return
        elements = list(self.find_timestamps(part, trail))
        if len(elements) > 1:
            self.findings.warning((*trail, "element"), f"only {'.'.join(elements[0])} is used")
        self.sla = replace(self.sla, latency=latency, latency_element=elements[0] if elements else None)

    def read_retention(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> None:
        """How long things are kept; records too, where an append dataset's property is named."""
        if str(part.value).strip().lower() in WITHOUT_END:
            return
        retention = self.read_duration(part, trail)
        if retention is None:
            return
        if self.sla.retention not in {None, retention}:
            self.findings.error(trail, "a product has one retention: this one differs from an earlier one")
            return
        elements = dict(self.sla.retention_elements)
        for dataset, prop in self.find_timestamps(part, trail):
            source = self.datasets[dataset].input
            if source is not None and source.mode != "append":
                self.findings.warning(
                    (*trail, "element"),
                    f"only history is pruned: records of {dataset} are kept, since its input's mode is not append",
                )
            elif source is not None:
                elements[dataset] = prop
        self.sla = replace(self.sla, retention=retention, retention_elements=elements)

    def read_end_of_data(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> None:
        """Up to when records are expected: the latency is promised until then."""
        if self.is_first("endOfData", self.sla.end_of_data, trail):
            self.sla = replace(self.sla, end_of_data=self.read_timestamp(part, trail))

    def read_end_of_support(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> None:
        """From when the product is deprecated."""
        if self.is_first("endOfSupport", self.sla.end_of_support, trail):
            self.sla = replace(self.sla, end_of_support=self.read_timestamp(part, trail))

    def read_end_of_life(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> None:
        """From when the product is gone."""
        if self.is_first("endOfLife", self.sla.end_of_life, trail):
            self.sla = replace(self.sla, end_of_life=self.read_timestamp(part, trail))

    def is_first(self, name: str, before: object, trail: YamlPath) -> bool:
        """Whether nothing was said of it yet; a warning where there was."""
        if before is not None:
            self.findings.warning(trail, f"duplicate {name}: not applied")
        return before is None

    def read_duration(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> timedelta | None:
        """The length of time that value and unit name; None and an error where they name none."""
        text, unit = str(part.value).strip(), (part.unit or "").strip().lower()
        if match := ISO_DURATION.fullmatch(text):
            days = sum(int(n) * size for n, size in zip(match.groups(default="0"), ISO_DAYS, strict=True))
        elif unit == "m":
            self.findings.error((*trail, "unit"), "'m' is ambiguous: use min or mo")
            return None
        elif unit not in UNIT_DAYS:
            said = f"{part.unit!r} is not a unit of time" if part.unit else "a unit of time is missing"
            self.findings.error((*trail, "unit") if part.unit else trail, f"{said}; units are {SHOWN_UNITS}")
            return None
        else:
            days = read_number(text) * UNIT_DAYS[unit]
        try:
            duration = timedelta(days=round(days * 86_400) / 86_400) if math.isfinite(days) else timedelta(0)
        except OverflowError:
            duration = timedelta(0)
        if duration <= timedelta(0) or duration.days > 3_650_000:
            self.findings.error(
                (*trail, "value"), f"{part.value!r} is not a duration such as 90 with unit d, or P90D"
            )
            return None
        return duration

    def read_timestamp(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> datetime | None:
        """The moment of a value, in UTC where it names no offset; None and an error where it is none."""
        try:
            timestamp = datetime.fromisoformat(str(part.value))
            return timestamp.astimezone(UTC) if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.findings.error((*trail, "value"), f"{part.value!r} is not a date such as 2027-01-31")
            return None

    def find_timestamps(self, part: ServiceLevelAgreementProperty, trail: YamlPath) -> Iterator[tuple[str, str]]:
        """The (dataset, property) pairs that the elements name; an error where one holds no moments."""
        for element in split_elements(part):
            head, _, name = element.rpartition(".")
            dataset = self.find_dataset(head, trail, element)
            if dataset is None:
                continue
            prop = self.datasets[dataset].properties.get(name)
            if prop is None:
                self.note_unknown(element, [f"{dataset}.{p}" for p in self.datasets[dataset].properties], trail)
            elif not prop.type.is_dated:
                self.findings.error(
                    (*trail, "element"), f"{element} is a {prop.type.name}: must be a date or timestamp"
                )
            else:
                yield dataset, name

    def find_dataset(self, name: str, trail: YamlPath, element: str | None = None) -> str | None:
        """The name of the dataset that an element speaks of, by its name or its table's; a warning where none is."""
        for text in (name, name.rpartition(".")[0]) if element is None else (name,):
            for dataset in self.datasets.values():
                if text and text in {dataset.name, dataset.table}:
                    return dataset.name
        self.note_unknown(element or name, self.datasets, trail)
        return None

    def note_unknown(self, element: str, known: Mapping[str, object] | list[str], trail: YamlPath) -> None:
        """A warning that an element is none of this contract's."""
        close = difflib.get_close_matches(element, list(known), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        self.findings.warning((*trail, "element"), f"unknown element {element!r}: not applied{hint}")


READERS: dict[str, Callable[[SlaReader, ServiceLevelAgreementProperty, YamlPath], None]] = {
    "frequency": SlaReader.read_frequency,
    "latency": SlaReader.read_latency,
    "retention": SlaReader.read_retention,
    "endOfData": SlaReader.read_end_of_data,
    "endOfSupport": SlaReader.read_end_of_support,
    "endOfLife": SlaReader.read_end_of_life,
}


def split_elements(part: ServiceLevelAgreementProperty) -> list[str]:
    """The elements that a service level names, separated by commas."""
    return [element.strip() for element in (part.element or "").split(",") if element.strip()]


def read_number(text: str) -> float:
    """A number as a contract writes it; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def check_cron(cron: str) -> str | None:
    """Why a text is no schedule, or None: five fields, or a name such as @daily, that some moment fits."""
    if not FIVE_FIELDS.fullmatch(cron) and cron not in CRON_NAMES:
        return f"{cron!r} is not a cron expression: expected five fields such as '0 6 * * *', in UTC"
    try:
        croniter(cron, datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        return f"{cron!r} is not a cron expression: {error}"
    return None
