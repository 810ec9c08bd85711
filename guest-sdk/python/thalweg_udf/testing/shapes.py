"""Tests of CombineFns, WindowFns and key selectors: through the same frames as in a pipeline."""
from struct import unpack_from
from typing import Any
from typing import Iterable

from .. import frame
from ..coders import coder_of
from ..component import Function
from ..component import plan
from ..failure import Failure
from ..frame import Writer
from ..windows import IntervalWindow

from .outcome import OutputRows
from .outcome import failed_rows
from .world import World


def _frame(rows: list[tuple[int, int, bytes, bytes]], groups: int) -> bytes:
    """A frame of group, time, key and value."""
    data = [piece for row in rows for piece in row[2:]]
    places = frame.ranges(data)
    pairs = [places[i:i + 2] for i in range(0, len(places), 2)]
    writer = Writer(len(rows))
    writer.section(frame.TIME, frame.numbers('q', [row[1] for row in rows]))
    writer.section(frame.KEY, frame.numbers('I', sum(pairs[::2], [])))
    writer.section(frame.VALUE, frame.numbers('I', sum(pairs[1::2], [])))
    writer.section(frame.ARENA, b''.join(data))
    writer.section(frame.GROUP, frame.numbers('I', [row[0] for row in rows]))
    writer.table(frame.GROUPS, (groups, 0), b'\0' * 16 * groups, [])
    return writer.finish()


def _row(coder: Any, element: Any, group: int = 0, time: int = 0) -> tuple[int, int, bytes, bytes]:
    if coder.keyed:
        return group, time, coder.key.encode(element[0]), coder.value.encode(element[1])
    return group, time, b'', coder.encode(element)


def _good(result: bytes) -> OutputRows:
    """The rows of a frame, unless one of its rows failed."""
    for _, failure in failed_rows(result):
        raise failure
    return OutputRows(result)


class _OpenKit:

    def __init__(self, cls: type, config: Any = None):
        self._cls = cls
        self._instance = Function('it', cls).open(plan(config), World())


class CombineKit(_OpenKit):
    """An open CombineFn."""

    def combine(self, elements: Iterable[Any]) -> Any:
        """Combines values as a pipeline may: whole, one by one, in parts of every length and in falling order, merged and
        compacted; gives the result. All ways have to agree, by their encodings.

        Raises:
          Failure: what the function says; or with the code ``ORDER`` if two ways disagree.
        """
        encode = self._cls.input_coder().encode
        rows = [(0, 0, b'', encode(element)) for element in elements]
        whole = self._by(rows, max(len(rows), 1), False)
        for part in range(1, len(rows)):
            for turned in (False, True):
                if self._by(rows, part, turned) != whole:
                    raise Failure('ORDER', f'in parts of {part} the result is another one than of all values at once')
        return self._cls.output_coder().decode(whole)

    def _call(self, op: int, values: list[bytes], apart: bool) -> list[bytes]:
        rows = [(i if apart else 0, 0, b'', value) for i, value in enumerate(values)]
        return _good(self._instance.call(op, _frame(rows, len(rows) if apart else 1))).values

    def _by(self, rows: list, part: int, turned: bool) -> bytes:
        parts = [(i // part, time, key, value) for i, (_, time, key, value) in enumerate(rows)]
        # no values are a group without rows
        added = _good(self._instance.call(16, _frame(parts, max(-(-len(rows) // part), 1)))).values
        compact = self._call(19, added[::-1] if turned else added, True)
        return self._call(18, self._call(17, compact, False), True)[0]


class WindowKit(_OpenKit):
    """An open WindowFn."""

    def assign(self, timestamp: int, element: Any = b'') -> list[IntervalWindow]:
        """The windows of an element."""
        coder = coder_of(self._cls.input if self._cls.input is not None else bytes)
        result = self._instance.call(32, _frame([_row(coder, element, time=timestamp)], 1))
        rows = _good(result)
        return rows.sets[rows.windows[0]]

    def merge(self, windows: list[IntervalWindow]) -> list[tuple[IntervalWindow, list[int]]]:
        """Merges the windows of a key: the windows that there are afterwards, each with the places of those that went into it."""
        result = self._instance.call(33, _frame([(0, 0, b'', window.encode()) for window in windows], 1))
        merged = [(IntervalWindow.decode(value), []) for value in _good(result).values]
        payload = frame.find(result, frame.TARGET) or b''
        for i, target in enumerate(unpack_from(f'<{len(windows)}I', payload)):
            merged[target][1].append(i)
        return merged


class KeyKit(_OpenKit):
    """An open key selector."""

    def keys(self, elements: Iterable[Any]) -> list[Any]:
        """The keys of some elements, in their order."""
        coder, key = self._instance.coders
        rows = _good(self._instance.call(0, _frame([_row(coder, element) for element in elements], 1)))
        return [key.decode(value) for value in rows.values]


