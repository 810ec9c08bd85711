"""What the runner would keep and do, in memory: state, timers, side inputs, tables; and the imports over it."""
from struct import Struct
from struct import pack
from struct import unpack_from
from typing import Any
from typing import Callable
from typing import Iterable
from typing import Optional

from .. import frame
from ..coders import IterableCoder
from ..entries import PAGE_BYTES
from ..frame import INHERIT
from ..frame import BadFrame
from ..frame import Writer
from ..windows import IntervalWindow

#: How many rows a page has, so that tests see more than one.
PAGE_ROWS = 3

_TIMER = Struct('<IIIIqqII')

Group = tuple[bytes, Any]
TimerId = tuple[Group, int, str]


def _ops(payload: bytes, count_at: int, words: int) -> tuple[int, list[tuple], bytes]:
    head = unpack_from('<II', payload)
    numbers = unpack_from(f'<{head[count_at] * words}I', payload, 8)
    return head[0], list(zip(*[iter(numbers)] * words)), payload[8 + head[count_at] * words * 4:]


def page(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Rows of key and value."""
    data = [piece for row in rows for piece in row]
    places = frame.ranges(data)
    pairs = [places[i:i + 2] for i in range(0, len(places), 2)]
    writer = Writer(len(pairs) // 2)
    writer.section(frame.KEY, frame.numbers('I', sum(pairs[::2], [])))
    writer.section(frame.VALUE, frame.numbers('I', sum(pairs[1::2], [])))
    writer.section(frame.ARENA, b''.join(data))
    return writer.finish()


def _part(rows: list[tuple[bytes, bytes]], start: Optional[bytes]) -> tuple[bytes, Optional[bytes]]:
    """A page of rows, from where the token says."""
    first = int(start or b'0')
    end = first + PAGE_ROWS
    return page(rows[first:end]), str(end).encode() if end < len(rows) else None


class World:
    """What there is.

    Args:
      bags: the coders of the slots that are bags, by index.

    Attributes:
      timers: when each timer fires, and the time of what it puts out.
      sides: elements of side inputs, key and value, by index.
      tables: entries of tables by index.
      groups: the groups of the running call.
      emitted: early outputs of the running call.
      logs: level and text of the lines of the log.
      calls: questions about state so far.
      now: the clock, in milliseconds since 1970.
      page_bytes: how long a list may be that comes whole.
    """

    def __init__(self, bags: Optional[dict[int, Any]] = None):
        self._bags = bags or {}
        self._cells: dict[tuple[Group, int], bytes] = {}
        self._entries: dict[tuple[Group, int], dict[bytes, bytes]] = {}
        self.timers: dict[TimerId, tuple[int, int]] = {}
        self.sides: dict[int, list[tuple[bytes, bytes]]] = {}
        self.tables: dict[int, dict[bytes, bytes]] = {}
        self.groups: list[Group] = []
        self.emitted: list[bytes] = []
        self.logs: list[tuple[int, str]] = []
        self.calls = self.now = 0
        self.page_bytes = PAGE_BYTES
        self._pages: list[tuple[bytes, bool]] = []

    def begin(self) -> None:
        """Begins a call."""
        self._pages = []

    def cut(self, coder: Any, value: bytes) -> Optional[tuple[bytes, bytes]]:
        """The beginning of a list that is longer than a page, and the token of the rest."""
        if not isinstance(coder, IterableCoder) or len(value) <= self.page_bytes:
            return None
        count, at, start, parts, first = 0, 4, 4, [], 0
        whole = coder.nested(coder.decode(value))  # with a count in front
        while at < len(whole):
            _, at = coder.element.read(whole, at)
            count += 1
            if at - start >= self.page_bytes or at == len(whole):
                parts.append(whole[start:at])
                first, start = first or count, at
        if len(parts) < 2:
            return None
        token = str(len(self._pages)).encode()
        self._pages += [(part, part is not parts[-1]) for part in parts[1:]]
        return pack('>i', first) + parts[0], token

    def cells(self, writer: Writer, slot: int, groups: Iterable[int]) -> None:
        """Adds the cells of a slot for some groups of the call."""
        found = [self._cells.get((self.groups[group], slot), b'') for group in groups]
        writer.dictionary(frame.CELLS, found, (slot, len(found)))

    def table_cells(self, writer: Writer, table: int, keys: list[bytes]) -> None:
        """Adds what a table has for the rows."""
        entries = self.tables.get(table, {})
        writer.optional(frame.TABLE_CELLS, (table, len(keys)), [entries.get(key) for key in keys])

    def apply(self, result: bytes, times: list[int], event: Callable[[int], bool]) -> None:
        """Applies the changes of a call whose rows had these times."""
        for number, payload in frame.sections(result):
            if number == frame.CELL_OPS:
                self._cell_ops(payload)
            elif number == frame.SUBCELL_OPS:
                self._entry_ops(payload)
            elif number == frame.TIMER_OPS:
                self._timer_ops(payload, times, event)

    def _cell_ops(self, payload: bytes) -> None:
        slot, ops, data = _ops(payload, 1, 4)
        for group, op, start, end in ops:
            where = self.groups[group], slot
            self._cells[where] = (self._cells.get(where, b'') if op == 1 else b'') + data[start:end]

    def _entry_ops(self, payload: bytes) -> None:
        slot, ops, data = _ops(payload, 1, 6)
        for group, op, *places in ops:
            key, value = data[places[0]:places[1]], data[places[2]:places[3]]
            entries = self._entries.setdefault((self.groups[group], slot), {})
            if op in (0, 1):
                entries[key] = (entries.get(key, b'') if op else b'') + value
            elif op == 2:
                entries.pop(key, None)
            else:
                for found in [found for found in entries if op == 3 or key <= found < value]:
                    del entries[found]

    def _timer_ops(self, payload: bytes, times: list[int], event: Callable[[int], bool]) -> None:
        count = unpack_from('<I', payload)[0]
        tags = payload[8 + count * _TIMER.size:]
        for group, family, op, row, fire, hold, start, end in _TIMER.iter_unpack(payload[8:8 + count * _TIMER.size]):
            where = self.groups[group], family, tags[start:end].decode()
            usual = fire if event(family) else times[row]
            if op == 0:
                self.timers[where] = fire, usual if hold == INHERIT else hold
            else:
                self.timers.pop(where, None)

    def due(self, to: int, ours: Callable[[int], bool]) -> list[tuple[TimerId, tuple[int, int]]]:
        """Takes the timers of the earliest instant that is due."""
        fires = [fire for (_, family, _), (fire, _) in self.timers.items() if ours(family) and fire <= to]
        first = min(fires, default=None)
        taken = [item for item in self.timers.items() if ours(item[0][1]) and item[1][0] == first]
        for where, _ in taken:
            del self.timers[where]
        return sorted(taken, key=lambda item: (item[0][0][0], repr(item[0][0][1]), item[0][1:]))

    def expired(self, watermark: float) -> list[Group]:
        """The groups that keep something and whose window is over."""
        kept = [group for (group, _), cell in self._cells.items() if cell]
        kept += [group for (group, _), entries in self._entries.items() if entries]
        over = [group for group in dict.fromkeys(kept)
                if (group[1].end <= watermark if isinstance(group[1], IntervalWindow) else watermark == float('inf'))]
        return sorted(over, key=lambda group: (group[0], repr(group[1])))

    def forget(self, group: Group) -> None:
        """Drops what a group keeps."""
        for kept in (self._cells, self._entries, self.timers):
            for where in [where for where in kept if where[0] == group]:
                del kept[where]

    # The imports of a component.

    def log(self, level: int, row: Optional[int], message: str) -> None:
        """``log.write``"""
        self.logs.append((level, message))

    def emit(self, rows: bytes) -> None:
        """``outputs.emit``"""
        self.emitted.append(rows)

    def state_read(self, slot: int, groups: list[int]) -> bytes:
        """``state.read``"""
        self.calls += 1
        writer = Writer(0)
        self.cells(writer, slot, groups)
        return writer.finish()

    def state_lookup(self, slot: int, subkeys: bytes) -> bytes:
        """``state.lookup``"""
        self.calls += 1
        found = [self._entries.get((self.groups[group], slot), {}).get(key) for group, key in _questions(subkeys)]
        return _answer(found)

    def state_scan(self, slot: int, group: int, start: bytes, end: Optional[bytes], max_bytes: int) -> tuple:
        """``state.scan``"""
        self.calls += 1
        if slot in self._bags:
            cell, values = self._cells.get((self.groups[group], slot), b''), []
            while cell:
                _, at = self._bags[slot].read(cell, 0)
                values.append((b'', cell[:at]))
                cell = cell[at:]
            return _part(values, start or None)
        entries = self._entries.get((self.groups[group], slot), {})
        rows = sorted((key, cell) for key, cell in entries.items() if key >= start and (end is None or key < end))
        return page(rows[:PAGE_ROWS]), rows[PAGE_ROWS][0] if len(rows) > PAGE_ROWS else None

    def iterables_read(self, token: bytes, max_bytes: int) -> tuple:
        """``iterables.read``"""
        elements, more = self._pages[int(token)]
        return page([(b'', elements)]), str(int(token) + 1).encode() if more else None

    def side_read(self, index: int, windows: int, key: Optional[bytes], start: Optional[bytes], max_bytes: int) -> tuple:
        """``side-inputs.read``"""
        rows = self.sides.get(index, [])
        return _part(rows if key is None else [(b'', value) for found, value in rows if found == key], start)

    def side_keys(self, index: int, windows: int, start: Optional[bytes], max_bytes: int) -> tuple:
        """``side-inputs.keys``"""
        return _part([(b'', key) for key in sorted({key for key, _ in self.sides.get(index, [])})], start)

    def table_lookup(self, table: int, keys: bytes) -> bytes:
        """``tables.lookup``"""
        return _answer([self.tables.get(table, {}).get(key) for _, key in _questions(keys)])


def _questions(asked: bytes) -> list[tuple[int, bytes]]:
    payload = frame.find(asked, frame.SUBKEYS)
    if payload is None:
        raise BadFrame('a lookup without SUBKEYS')
    _, ops, data = _ops(payload, 0, 4)
    return [(group, data[start:end]) for group, _, start, end in ops]


def _answer(found: list[Optional[bytes]]) -> bytes:
    writer = Writer(0)
    writer.optional(frame.SUBCELLS, (len(found), 0), found)
    return writer.finish()
