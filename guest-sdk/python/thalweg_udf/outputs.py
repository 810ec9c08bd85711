"""Output rows as columns, written into the frame that a call returns or puts out early. A column that all rows so far could do
without is None.
"""
from itertools import chain
from typing import Any
from typing import Iterable
from typing import Optional

from . import frame
from .failure import Failure
from .frame import INHERIT
from .frame import NONE
from .frame import Writer
from .windows import encode_set


class Rows:
    """The rows so far."""

    def __init__(self):
        self.clear()

    def clear(self) -> None:
        """Forgets them."""
        self._source: list[int] = []
        self._value: list[bytes] = []
        self._key: Optional[list[bytes]] = None
        self._output: Optional[list[int]] = None
        self._time: Optional[list[int]] = None
        self._windows: Optional[list[int]] = None
        self._sets: list[bytes] = []
        #: About how many bytes they are.
        self.size = 0

    def push(self, output: int, source: int, coder: Any, element: Any, time: Optional[int], windows: Optional[Iterable]) -> None:
        """Adds a row; ``time`` and ``windows`` are None if it inherits them."""
        if coder.keyed:
            key, value = coder.pair(element)
            key, value = coder.key.encode(key), coder.value.encode(value)
        else:
            key, value = b'', coder.encode(element)
        if time is not None and not isinstance(time, int):
            raise Failure('ENCODE', f'a timestamp is a whole number of milliseconds, and not {time!r:.80}')
        entry = encode_set(windows) if windows is not None else None
        before = len(self._value)
        self._source.append(source)
        self._value.append(value)
        self.size += len(value) + len(key) + 16
        if self._key is not None:
            self._key.append(key)
        elif coder.keyed:
            self._key = [b''] * before + [key]
        if self._output is not None:
            self._output.append(output)
        elif output:
            self._output = [0] * before + [output]
        if self._time is not None:
            self._time.append(INHERIT if time is None else time)
        elif time is not None:
            self._time = [INHERIT] * before + [time]
        if self._windows is not None or entry is not None:
            self._own_windows(before, entry)

    def _own_windows(self, before: int, entry: Optional[bytes]) -> None:
        if self._windows is None:
            self._windows = [NONE] * before
        self._windows.append(NONE if entry is None else len(self._sets))
        if entry is not None:
            self._sets.append(entry)

    def write(self) -> Writer:
        """The frame of the rows."""
        writer = Writer(len(self._value))
        writer.section(frame.SOURCE, frame.numbers('I', self._source))
        if self._key is None:
            data = self._value
            writer.section(frame.VALUE, frame.numbers('I', frame.ranges(data)))
        else:
            data = list(chain.from_iterable(zip(self._key, self._value)))
            places = frame.ranges(data)
            pairs = list(zip(places[::2], places[1::2]))
            writer.section(frame.VALUE, frame.numbers('I', list(chain.from_iterable(pairs[1::2]))))
            writer.section(frame.KEY, frame.numbers('I', list(chain.from_iterable(pairs[::2]))))
        if self._time is not None:
            writer.section(frame.TIME, frame.numbers('q', self._time))
        if self._output is not None:
            writer.section(frame.OUTPUT, frame.numbers('I', self._output))
        if self._windows is not None:
            writer.section(frame.WINDOWS, frame.numbers('I', self._windows))
            writer.dictionary(frame.WINDOW_SETS, self._sets)
        writer.section(frame.ARENA, b''.join(data))
        return writer


def values(data: list[bytes]) -> Writer:
    """A frame of rows that have values alone."""
    writer = Writer(len(data))
    writer.section(frame.VALUE, frame.numbers('I', frame.ranges(data)))
    writer.section(frame.ARENA, b''.join(data))
    return writer


def failed(rows: list[tuple[int, Failure]], writer: Writer) -> None:
    """Adds the section of the rows that failed, if there are any."""
    if not rows:
        return
    texts: list[bytes] = []
    for _, failure in rows:
        texts += (failure.code.encode(), failure.message.encode(errors='replace'))
    places, entries = frame.ranges(texts), []
    for i, (row, _) in enumerate(rows):
        entries += (row, 0, *places[4 * i:4 * i + 4])
    writer.table(frame.FAILED, (len(rows), 0), frame.numbers('I', entries), texts)
