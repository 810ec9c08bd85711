"""State per key and window: the cells of the group whose rows are being processed.

Rows of one group stand together, so one cell per slot is alive at a time. A cell is loaded when it is first asked for: an
eager slot's from the input frame, another's from the host, a page of groups at a time. Changes are collected and leave
with the result of the call. A row that fails is undone by what its slots were before it.
"""
from typing import Any
from typing import Iterator
from typing import Optional

from . import frame
from .entries import PAGE_BYTES
from .entries import Entries
from .frame import Input
from .frame import Writer
from .moment import place

#: Groups whose cells are read together when a slot that is not eager is first used.
READ_AHEAD = 64

SET, APPEND, CLEAR = 0, 1, 2


class Cell:
    """One slot of the kind value or bag: its cell in the current group, and the changes of the groups before."""

    def __init__(self, state: 'State', slot: int, eager: bool):
        self._state, self._slot, self._eager = state, slot, eager
        self.begin()

    def begin(self) -> None:
        """Begins a call."""
        self._ops: list[tuple[int, int, bytes]] = []
        self._page: list[bytes] = []
        self._page_group = 0
        self._forget()

    def _forget(self) -> None:
        self._base: Optional[bytes] = None
        # what the rows added; the whole cell if `over`
        self._new, self._over = b'', False
        self._saved: Optional[tuple[int, bytes, bool]] = None

    def enter(self, group: int, input: Input) -> None:
        """Moves on to a group."""
        if self._eager:
            cells = input.cells.get(self._slot)
            self._base = cells[group] if cells is not None and group < len(cells) else b''

    def leave(self, group: int) -> None:
        """What the rows of the group changed becomes an operation."""
        if self._over:
            self._ops.append((group, SET if self._new else CLEAR, self._new))
        elif self._new:
            self._ops.append((group, APPEND, self._new))
        self._forget()

    def _touch(self) -> None:
        row = place.row
        if self._saved is None or self._saved[0] != row:
            self._saved = (row, self._new, self._over)

    def undo(self, row: int) -> None:
        """Takes back what the row did."""
        if self._saved is not None and self._saved[0] == row:
            _, self._new, self._over = self._saved
            self._saved = None

    def get(self) -> bytes:
        """What the cell is now."""
        if self._over:
            return self._new
        if self._base is None:
            self._base = self._load()
        return self._base + self._new

    def pages(self) -> Iterator[bytes]:
        """What the cell of a bag is now, a page at a time. What is here already is not fetched again."""
        return self._walk(place.group, None if self._over else self._base, self._new, self._over)

    def _walk(self, group: int, base: Optional[bytes], new: bytes, over: bool) -> Iterator[bytes]:
        if base is not None:
            yield base
        elif not over:
            at: Optional[bytes] = b''
            while at is not None:
                rows, at = self._state.host.state_scan(self._slot, group, at, None, PAGE_BYTES)
                yield b''.join(Input(rows).values)
        yield new

    def _load(self) -> bytes:
        at = place.group - self._page_group
        if not 0 <= at < len(self._page):
            first = place.group
            groups = list(range(first, min(self._state.groups, first + READ_AHEAD)))
            answer = frame.find(self._state.host.state_read(self._slot, groups), frame.CELLS)
            self._page = frame.cells(answer)[1] if answer is not None else []
            self._page_group, at = first, 0
        return self._page[at] if at < len(self._page) else b''

    def replace(self, data: bytes) -> None:
        """Makes the bytes the cell."""
        self._touch()
        self._new, self._over = data, True

    def append(self, data: bytes) -> None:
        """Puts bytes behind the cell."""
        self._touch()
        self._new += data

    def finish(self, writer: Writer) -> None:
        """Adds the section of the changes, if there are any."""
        if not self._ops:
            return
        values = [value for _, _, value in self._ops]
        places = frame.ranges(values)
        entries: list[int] = []
        for i, (group, op, _) in enumerate(self._ops):
            entries += (group, op, places[2 * i], places[2 * i + 1])
        writer.table(frame.CELL_OPS, (self._slot, len(self._ops)), frame.numbers('I', entries), values)


class State:
    """The state of one instance during a call.

    Attributes:
      groups: number of groups of the frame.
      host: has what no row touched.
    """

    def __init__(self, slots: list, host: Any):
        self.groups, self.host = 0, host
        self.slots: list[Cell | Entries] = [
            Cell(self, i, slot.eager) if slot.kind in ('value', 'bag') else Entries(self, i) for i, slot in enumerate(slots)
        ]

    def begin(self, groups: int) -> None:
        """Begins a call."""
        self.groups = groups
        for slot in self.slots:
            slot.begin()

    def enter(self, group: int, input: Input) -> None:
        """Moves on to another group."""
        self._leave()
        place.group = group
        for slot in self.slots:
            slot.enter(group, input)

    def _leave(self) -> None:
        if place.group >= 0:
            for slot in self.slots:
                slot.leave(place.group)

    def undo(self, row: int) -> None:
        """Takes back what the row did."""
        for slot in self.slots:
            slot.undo(row)

    def finish(self, writer: Writer) -> None:
        """Ends the call: the changes of all groups leave with its result."""
        self._leave()
        for slot in self.slots:
            slot.finish(writer)
