"""Converts serial numbers of a workbook (dates, timestamps, times) to ISO 8601.

A column's days are written alike: midnight in a column of moments is a moment. What is no day at all, such as a
negative number or 29 February 1900, becomes no other day.
"""

from __future__ import annotations

import datetime as dt
import math
from array import array

from ingest.readers.styles import DAY, DURATION, TIME, TIMESTAMP

DAY_MILLISECONDS = 86_400_000
FICTIVE_DAY = 60  # 29 February 1900, which workbooks count though there was none
LAST_DAY = 2_958_465  # 31 December 9999
LAST_DAY_1904 = 2_957_003


class SerialColumn:
    """The cells of one column that are shown as days or times; read in the order of their rows."""

    def __init__(self) -> None:
        self.rows = array("q")
        self.serials = array("d")
        self.kinds = bytearray()
        self.place = 0

    def add(self, row: int, serial: float, kind: int) -> None:
        """Takes a cell."""
        self.rows.append(row)
        self.serials.append(serial)
        self.kinds.append(kind)

    @property
    def shows_timestamps(self) -> bool:
        """Whether more of its cells are shown as moments than as days."""
        return self.kinds.count(TIMESTAMP) > self.kinds.count(DAY)

    def at(self, row: int) -> tuple[float, int] | None:
        """The cell in this row: its number, and what it is shown as; rows must be asked for in order."""
        while self.place < len(self.rows) and self.rows[self.place] < row:
            self.place += 1
        if self.place < len(self.rows) and self.rows[self.place] == row:
            return self.serials[self.place], self.kinds[self.place]
        return None


def write_serial(serial: float, kind: int, *, timestamps: bool, since_1904: bool) -> str | float:
    """The text of a cell; its number as it is where that is no day or time. `timestamps`: midnight is written out."""
    if kind == DURATION:
        return write_duration(serial)
    if not 0 <= serial < (LAST_DAY_1904 if since_1904 else LAST_DAY) + 1:
        return int(serial) if serial.is_integer() else serial
    day = math.floor(serial)
    milliseconds = round((serial - day) * DAY_MILLISECONDS)
    if milliseconds == DAY_MILLISECONDS:
        day, milliseconds = (day, milliseconds - 1) if kind == TIME else (day + 1, 0)
    if not day and (kind == TIME or (milliseconds and not since_1904)):
        return write_time(milliseconds)
    date = write_day(day, since_1904=since_1904)
    return date if not milliseconds and kind != TIME and not timestamps else f"{date}T{write_time(milliseconds)}"


def write_day(day: int, *, since_1904: bool) -> str:
    """The day of a number."""
    if since_1904:
        return (dt.date(1904, 1, 1) + dt.timedelta(day)).isoformat()
    if day in (0, FICTIVE_DAY):
        return "1900-01-00" if day == 0 else "1900-02-29"
    return (dt.date(1899, 12, 31 if day < FICTIVE_DAY else 30) + dt.timedelta(day)).isoformat()


def write_time(milliseconds: int) -> str:
    """A time of day."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    return dt.time(minutes // 60, minutes % 60, seconds, rest * 1000).isoformat()


def write_duration(days: float) -> str:
    """A number of days as an ISO 8601 duration, in hours."""
    seconds = round(abs(days) * 86_400, 3)
    minutes, rest = divmod(seconds, 60)
    sign = "-" if days < 0 and seconds else ""
    return f"{sign}PT{minutes // 60:.0f}H{minutes % 60:.0f}M{round(rest, 3):g}S"
