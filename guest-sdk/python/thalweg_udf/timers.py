"""Timers of a key and window: families as a function declares them, and the timers that the rows of a call set and clear.
The names are Beam's.
"""
from struct import Struct
from typing import Any
from typing import Optional

from . import frame
from .frame import INHERIT
from .frame import Writer
from .moment import place

_ENTRY = Struct('<IIIIqqII')
SET, CLEAR = 0, 1


class TimeDomain:
    """The clock of a timer family."""
    #: Event time: it fires when the watermark passes its time.
    WATERMARK = 'event'
    #: Processing time: it fires when the clock passes its time.
    REAL_TIME = 'processing'


class TimerSpec:
    """A family of timers."""

    def __init__(self, name: str, time_domain: str):
        if time_domain not in (TimeDomain.WATERMARK, TimeDomain.REAL_TIME):
            raise ValueError(f'{time_domain!r} is no TimeDomain')
        self.name, self.time_domain = name, time_domain

    def describe(self) -> dict[str, Any]:
        """The family in the description of a function."""
        return {'name': self.name, 'domain': self.time_domain}


class Timers:
    """What the rows of a call do to timers."""

    def __init__(self):
        self.begin()

    def begin(self) -> None:
        """Begins a call."""
        self._ops: list[tuple[int, int, int, int, int, int, bytes]] = []
        self._mark = (-1, 0)

    def add(self, family: int, op: int, fire: int, hold: int, tag: str) -> None:
        """Notes what the current row does."""
        if self._mark[0] != place.row:
            self._mark = (place.row, len(self._ops))
        self._ops.append((place.group, family, op, place.row, fire, hold, tag.encode()))

    def undo(self, row: int) -> None:
        """Takes back what the row did."""
        if self._mark[0] == row:
            del self._ops[self._mark[1]:]

    def finish(self, writer: Writer) -> None:
        """Adds the section of the changes, if there are any."""
        if not self._ops:
            return
        tags = [op[6] for op in self._ops]
        places = frame.ranges(tags)
        entries = [_ENTRY.pack(*op[:6], places[2 * i], places[2 * i + 1]) for i, op in enumerate(self._ops)]
        writer.table(frame.TIMER_OPS, (len(self._ops), 0), b''.join(entries), tags)


class Timer:
    """The timers of a family, of the element's key and window: one per tag, and one without."""

    def __init__(self, timers: Timers, family: int):
        self._timers, self._family = timers, family

    def set(self, timestamp: int, *, tag: str = '', hold_timestamp: Optional[int] = None) -> None:
        """Sets the timer; one that is set already moves.

        Args:
          timestamp: when it fires, in milliseconds of its family's clock.
          tag: names one timer of the family.
          hold_timestamp: the time of what it will put out, which holds the watermark back until then. Without it: when it
            fires, or in processing time the time of the element that sets it.
        """
        hold = INHERIT if hold_timestamp is None else hold_timestamp
        self._timers.add(self._family, SET, int(timestamp), hold, tag)

    def clear(self, *, tag: str = '') -> None:
        """Clears the timer."""
        self._timers.add(self._family, CLEAR, 0, INHERIT, tag)
