"""The guest's side of ``wit/LAYOUT.md``: an input frame as columns, and the writing of sections.

In: the bytes of a frame. Out: columns whose every range and length was checked, or :class:`BadFrame`. It does not know
what the bytes of a value mean.
"""
from itertools import accumulate
from itertools import chain
from operator import gt
from struct import Struct
from struct import pack
from struct import unpack_from
from typing import Iterable
from typing import Iterator
from typing import Optional
from typing import Sequence

HEADER = 1
KIND = 2
GROUP = 3
TIME = 4
WINDOWS = 5
PANE = 6
KEY = 7
VALUE = 8
ARENA = 9
OUTPUT = 10
SOURCE = 11
FIRE = 12
LARGE = 13
TARGET = 14
WINDOW_SETS = 16
PANES = 17
GROUPS = 18
CELLS = 19
CELL_OPS = 20
TIMER_OPS = 21
SUBKEYS = 22
SUBCELLS = 23
FAILED = 24
METRICS = 25
SUBCELL_OPS = 26
TABLE_CELLS = 27
CLOCK = 32
SEED = 33
CONFIG = 40

#: In the time column of an output frame: the row keeps the time of its source.
INHERIT = -(1 << 63)
#: In the columns SOURCE and WINDOWS of an output frame: from no row; keeps the windows of its source.
NONE = 0xFFFF_FFFF
#: Kind of a row that says that a window is over.
EXPIRES = 255
#: Number of the layout.
LAYOUT = 1
#: The pane of an element that is the only firing.
ONLY_FIRING = b'\x0f'

_SECTION = Struct('<II')
_PADDING = [b'\0' * (-n % 8) for n in range(8)]


class BadFrame(Exception):
    """The frame is not one of layout 1."""


def sections(frame: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and payload of each section, in the order they stand.

    Raises:
      BadFrame: when a section does not lie inside the frame.
    """
    at, size = 0, len(frame)
    while at < size:
        if size - at < 8:
            raise BadFrame('a section header is cut')
        number, length = _SECTION.unpack_from(frame, at)
        end = at + 8 + length
        following = end + (-length % 8)
        if following > size:
            raise BadFrame(f'section {number} is cut')
        yield number, frame[at + 8:end]
        at = following


def find(frame: bytes, number: int) -> Optional[bytes]:
    """The payload of the first section of this number."""
    return next((payload for found, payload in sections(frame) if found == number), None)


def _column(payload: bytes, rows: int, form: str, width: int, name: str) -> Sequence[int]:
    if len(payload) != rows * width:
        raise BadFrame(f'{name} has another number of rows')
    return unpack_from(f'<{rows}{form}', payload)


def cut(ranges: Sequence[int], data: bytes, name: str) -> list[bytes]:
    """The pieces of ``data`` that pairs of start and end name.

    Raises:
      BadFrame: when a range falls, or lies outside.
    """
    if not ranges:
        return []
    starts, ends = ranges[::2], ranges[1::2]
    if max(ends) > len(data) or any(map(gt, starts, ends)):
        raise BadFrame(f'a range of {name} lies outside')
    return list(map(data.__getitem__, map(slice, starts, ends)))


def _entries(payload: bytes, count_at: int, words: int, name: str) -> tuple[int, tuple, bytes]:
    """The first number of a section, the numbers of its entries, and the bytes behind them."""
    if len(payload) < 8:
        raise BadFrame(f'{name} is cut')
    head = _SECTION.unpack_from(payload)
    count = head[count_at] * words
    if 8 + count * 4 > len(payload):
        raise BadFrame(f'{name} is cut')
    return head[0], unpack_from(f'<{count}I', payload, 8), payload[8 + count * 4:]


def dictionary(payload: bytes, name: str) -> list[bytes]:
    """The entries of a dictionary."""
    _, ranges, data = _entries(payload, 0, 2, name)
    return cut(ranges, data, name)


def cells(payload: bytes) -> tuple[int, list[bytes]]:
    """Slot and cells of a section CELLS."""
    slot, ranges, data = _entries(payload, 1, 2, 'CELLS')
    return slot, cut(ranges, data, 'CELLS')


def answers(payload: bytes, count_at: int, name: str) -> tuple[int, list[Optional[bytes]]]:
    """The first number of SUBCELLS or TABLE_CELLS, and its entries; those that are absent are None."""
    head, numbers, data = _entries(payload, count_at, 4, name)
    ranges = list(chain.from_iterable(zip(numbers[2::4], numbers[3::4])))
    found = cut(ranges, data, name)
    return head, [entry if there else None for there, entry in zip(numbers[::4], found)]


def large(payload: bytes) -> dict[int, bytes]:
    """By row, the token of what follows in its value."""
    _, numbers, data = _entries(payload, 0, 4, 'LARGE')
    return dict(zip(numbers[::4], cut(list(chain.from_iterable(zip(numbers[2::4], numbers[3::4]))), data, 'LARGE')))


class Input:
    """An input frame. Columns that are absent stand here with what their absence means.

    Attributes:
      rows: number of rows.
      kind: of each row 0 (element), 1 + timer family, or :data:`EXPIRES`; empty if all are elements.
      group, windows, pane: index of each row; empty if all have the first.
      time, fire: milliseconds of each row; fire is empty without timers.
      keys, values: bytes of each row.
      groups: key and window set of each group.
      window_sets, panes: dictionaries.
      cells: by slot, the cells of the groups.
      tables: by table, what it has for each row.
      large: by row, the token of what follows in its value.
      now: processing time of the call in milliseconds.
      seed: of pseudo-random numbers.
      config: text of the configuration, in the plan of an open call.
    """

    __slots__ = ('rows', 'kind', 'group', 'windows', 'pane', 'time', 'fire', 'keys', 'values', 'groups', 'window_sets', 'panes',
                 'cells', 'tables', 'large', 'now', 'seed', 'config')

    def __init__(self, frame: bytes):
        known: dict[int, bytes] = {}
        self.cells: dict[int, list[bytes]] = {}
        self.tables: dict[int, list[Optional[bytes]]] = {}
        for number, payload in sections(frame):
            if number == CELLS:
                slot, found = cells(payload)
                self.cells[slot] = found
            elif number == TABLE_CELLS:
                table, entries = answers(payload, 1, 'TABLE_CELLS')
                self.tables[table] = entries
            else:
                known[number] = payload
        header = known.get(HEADER, b'')
        if len(header) != 8:
            raise BadFrame('there is no header')
        layout, self.rows = _SECTION.unpack(header)
        if layout != LAYOUT:
            raise BadFrame(f'layout {layout} is not known')
        self._rows(known)
        self.large = large(known[LARGE]) if LARGE in known else {}
        self.config = known.get(CONFIG, b'')
        self.now = self._number(known, CLOCK, '<q')
        self.seed = self._number(known, SEED, '<Q')

    def _rows(self, known: dict[int, bytes]) -> None:
        rows, arena = self.rows, known.get(ARENA, b'')

        def column(number: int, form: str, width: int, name: str) -> Sequence[int]:
            return _column(known[number], rows, form, width, name) if number in known else ()

        self.kind = column(KIND, 'B', 1, 'KIND')
        self.time = column(TIME, 'q', 8, 'TIME')
        self.fire = column(FIRE, 'q', 8, 'FIRE')
        values = self._pieces(known.get(VALUE), arena, 'VALUE')
        keys = self._pieces(known.get(KEY), arena, 'KEY')
        self.group = column(GROUP, 'I', 4, 'GROUP')
        self.windows = column(WINDOWS, 'I', 4, 'WINDOWS')
        self.pane = column(PANE, 'I', 4, 'PANE')
        self.groups = self._group_entries(known.get(GROUPS), arena)
        self.window_sets = dictionary(known[WINDOW_SETS], 'WINDOW_SETS') if WINDOW_SETS in known else []
        self.panes = dictionary(known[PANES], 'PANES') if PANES in known else []
        self._check_indexes()
        # a number of rows that no column bears out may be any number
        if rows and not (self.time or self.group or values or keys):
            raise BadFrame('rows without a column')
        self.values = [b''] * rows if values is None else values
        of_groups = [key for key, _ in self.groups]
        self.keys = keys if keys is not None else [of_groups[i] for i in self.group] if self.group else [b''] * rows
        self.time = self.time or (0, ) * rows

    def _pieces(self, payload: Optional[bytes], arena: bytes, name: str) -> Optional[list[bytes]]:
        if payload is None:
            return None
        if len(payload) != self.rows * 8:
            raise BadFrame(f'{name} has another number of rows')
        return cut(unpack_from(f'<{self.rows * 2}I', payload), arena, name)

    @staticmethod
    def _group_entries(payload: Optional[bytes], arena: bytes) -> list[tuple[bytes, int]]:
        if payload is None:
            return []
        _, numbers, rest = _entries(payload, 0, 4, 'GROUPS')
        if rest:
            raise BadFrame('GROUPS is too long')
        keys = cut(list(chain.from_iterable(zip(numbers[::4], numbers[1::4]))), arena, 'GROUPS')
        return list(zip(keys, numbers[2::4]))

    def _check_indexes(self) -> None:
        for column, size, name in ((self.group, len(self.groups), 'GROUP'), (self.windows, len(self.window_sets), 'WINDOWS'),
                                   (self.pane, len(self.panes), 'PANE')):
            if column and max(column) >= size:
                raise BadFrame(f'{name} names an entry that is not there')

    @staticmethod
    def _number(known: dict[int, bytes], number: int, form: str) -> int:
        payload = known.get(number)
        if payload is None:
            return 0
        if len(payload) != 8:
            raise BadFrame('a number is cut')
        return unpack_from(form, payload)[0]


def ranges(pieces: Sequence[bytes], start: int = 0) -> list[int]:
    """Start and end of pieces that stand one after the other."""
    ends = list(accumulate(map(len, pieces), initial=start))
    return list(chain.from_iterable(zip(ends, ends[1:])))


def numbers(form: str, column: Sequence[int]) -> bytes:
    """A column of numbers."""
    return pack(f'<{len(column)}{form}', *column)


class Writer:
    """Puts sections one after the other into a frame."""

    def __init__(self, rows: int):
        self._parts: list[bytes] = []
        self.section(HEADER, pack('<II', LAYOUT, rows))

    def section(self, number: int, payload: bytes) -> None:
        """Adds a section."""
        length = len(payload)
        self._parts += (_SECTION.pack(number, length), payload, _PADDING[length % 8])

    def table(self, number: int, head: tuple[int, int], entries: bytes, data: Iterable[bytes]) -> None:
        """Adds a section of entries that point into bytes of their own."""
        self.section(number, b''.join((_SECTION.pack(*head), entries, *data)))

    def dictionary(self, number: int, entries: Sequence[bytes], head: Optional[tuple[int, int]] = None) -> None:
        """Adds a dictionary; cells of a slot are one with another head."""
        self.table(number, head or (len(entries), 0), numbers('I', ranges(entries)), entries)

    def optional(self, number: int, head: tuple[int, int], entries: Sequence[Optional[bytes]]) -> None:
        """Adds a section of entries that may be absent."""
        data = [entry or b'' for entry in entries]
        places = ranges(data)
        columns = zip((int(entry is not None) for entry in entries), (0 for _ in entries), places[::2], places[1::2])
        self.table(number, head, numbers('I', list(chain.from_iterable(columns))), data)

    def finish(self) -> bytes:
        """The frame."""
        return b''.join(self._parts)


def questions(pairs: Sequence[tuple[int, bytes]]) -> bytes:
    """The frame of a lookup: group and key of each entry."""
    places = ranges([key for _, key in pairs])
    columns = chain.from_iterable(zip((group for group, _ in pairs), (0 for _ in pairs), places[::2], places[1::2]))
    writer = Writer(0)
    writer.table(SUBKEYS, (len(pairs), 0), numbers('I', list(columns)), [key for _, key in pairs])
    return writer.finish()
