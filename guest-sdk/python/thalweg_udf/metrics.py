"""Counters and distributions, summed up in the guest and sent as deltas with the call's result. The names are Beam's.

What a failed element counted is taken back.
"""
from struct import Struct
from typing import Optional

from . import frame
from .frame import Writer

_ENTRY = Struct('<IIIIqqqq')
_SIGN = 1 << 63

# The deltas of the running call: a guest has one thread and runs one call at a time.
_deltas: dict[tuple[int, str], list[int]] = {}
#: What the current row found before it changed them; None for those that were not there. Cleared before each row.
changed: dict[tuple[int, str], Optional[list[int]]] = {}


def _wrapped(number: int) -> int:
    return (number + _SIGN) % (1 << 64) - _SIGN


def _delta(name: tuple[int, str]) -> Optional[list[int]]:
    """A delta that is about to change."""
    delta = _deltas.get(name)
    if name not in changed:
        changed[name] = None if delta is None else delta[:]
    return delta


class Counter:
    """A number that grows."""

    def __init__(self, name: str):
        self._id = (0, name)

    def inc(self, n: int = 1) -> None:
        """Adds to it."""
        delta = _delta(self._id)
        if delta is None:
            _deltas[self._id] = [n, 0, 0, 0]
        else:
            delta[0] += n

    def dec(self, n: int = 1) -> None:
        """Takes from it."""
        self.inc(-n)


class Distribution:
    """Count, sum, minimum and maximum of reported values."""

    def __init__(self, name: str):
        self._id = (1, name)

    def update(self, value: int) -> None:
        """Reports a value."""
        delta = _delta(self._id)
        if delta is None:
            _deltas[self._id] = [1, value, value, value]
        else:
            count, total, low, high = delta
            delta[:] = (count + 1, total + value, min(low, value), max(high, value))


class Metrics:
    """Makes metrics by name."""

    @staticmethod
    def counter(name: str) -> Counter:
        """A counter."""
        return Counter(name)

    @staticmethod
    def distribution(name: str) -> Distribution:
        """A distribution."""
        return Distribution(name)


def begin() -> None:
    """Begins a call."""
    _deltas.clear()
    changed.clear()


def undo() -> None:
    """Takes back what the row counted."""
    for name, values in changed.items():
        if values is None:
            _deltas.pop(name, None)
        else:
            _deltas[name] = values
    changed.clear()


def drain(writer: Writer) -> None:
    """Adds the section of the deltas, if there are any, and starts again from nothing."""
    if not _deltas:
        return
    names = [name.encode() for _, name in _deltas]
    places = frame.ranges(names)
    entries = []
    for i, ((kind, _), values) in enumerate(_deltas.items()):
        entries.append(_ENTRY.pack(kind, 0, places[2 * i], places[2 * i + 1], *map(_wrapped, values)))
    writer.table(frame.METRICS, (len(entries), 0), b''.join(entries), names)
    _deltas.clear()
