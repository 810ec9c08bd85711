"""State with entries: maps, sets, multimaps and ordered lists of the current group.

What the rows change is laid over what the host has, which is asked only for what a row wants to know; every row's changes can
be taken back.
"""
from typing import Any
from typing import Callable
from typing import Iterable
from typing import Optional

from . import frame
from .frame import Input
from .frame import Writer
from .moment import place

#: What is asked for at a time of things that come in pages, in bytes.
PAGE_BYTES = 256 * 1024

PUT, APPEND, REMOVE, CLEAR, REMOVE_RANGE = range(5)


class Entries:
    """The entries of one slot in the current group, and the changes of the groups before."""

    def __init__(self, state: Any, slot: int):
        self._state, self._slot = state, slot
        self.begin()

    def begin(self) -> None:
        """Begins a call."""
        self._ops: list[tuple[int, int, bytes, bytes]] = []
        self._forget()

    def _forget(self) -> None:
        # by key: PUT and the whole entry, APPEND and further values, or REMOVE
        self._over: dict[bytes, tuple[int, bytes]] = {}
        self._cleared = False
        self._removed: list[tuple[bytes, bytes]] = []
        self._base: dict[bytes, Optional[bytes]] = {}
        self._undo: list[Callable[[], None]] = []
        self._row = -1

    def enter(self, group: int, input: Input) -> None:
        """Moves on to a group: nothing arrives with the batch."""

    def leave(self, group: int) -> None:
        """What the rows of the group changed becomes operations."""
        if self._cleared:
            self._ops.append((group, CLEAR, b'', b''))
        for start, end in self._removed:
            self._ops.append((group, REMOVE_RANGE, start, end))
        for key in sorted(self._over):
            op, value = self._over[key]
            if op != REMOVE or not self._cleared:
                self._ops.append((group, op, key, value))
        self._forget()

    def _touch(self) -> None:
        if self._row != place.row:
            self._row = place.row
            self._undo = []

    def undo(self, row: int) -> None:
        """Takes back what the row did."""
        if self._row == row:
            while self._undo:
                self._undo.pop()()
            self._row = -1

    def _lay(self, key: bytes, over: Optional[tuple[int, bytes]]) -> None:
        before = self._over.pop(key, None)
        if over is not None:
            self._over[key] = over

        def back():
            if before is None:
                self._over.pop(key, None)
            else:
                self._over[key] = before

        self._undo.append(back)

    def put(self, key: bytes, value: bytes) -> None:
        """Makes the bytes the entry."""
        self._touch()
        self._lay(key, (PUT, value))

    def append(self, key: bytes, values: bytes) -> None:
        """Adds values to the entry."""
        self._touch()
        op, old = self._over.get(key, (REMOVE, b'') if self._gone(key) else (APPEND, b''))
        self._lay(key, (PUT if op == REMOVE else op, old + values))

    def remove(self, key: bytes) -> None:
        """Removes the entry."""
        self._touch()
        self._lay(key, (REMOVE, b''))

    def clear(self) -> None:
        """Removes all."""
        self._touch()
        over, removed, cleared = self._over, self._removed, self._cleared
        self._over, self._removed, self._cleared = {}, [], True

        def back():
            self._over, self._removed, self._cleared = over, removed, cleared

        self._undo.append(back)

    def remove_range(self, start: bytes, end: bytes) -> None:
        """Removes the entries from a key to before another."""
        self._touch()
        for key in [key for key in self._over if start <= key < end]:
            self._lay(key, None)
        self._removed.append((start, end))
        self._undo.append(lambda: self._removed.pop() and None)

    def _gone(self, key: bytes) -> bool:
        """Whether the host's entry of this key no longer counts."""
        return self._cleared or any(start <= key < end for start, end in self._removed)

    def fetch(self, keys: Iterable[bytes]) -> None:
        """Asks the host for what it has of these keys, in one call."""
        wanted = [
            key for key in dict.fromkeys(keys)
            if not self._gone(key) and key not in self._base and self._over.get(key, (APPEND, ))[0] == APPEND
        ]
        if not wanted:
            return
        group = place.group
        answer = self._state.host.state_lookup(self._slot, frame.questions([(group, key) for key in wanted]))
        payload = frame.find(answer, frame.SUBCELLS)
        found = frame.answers(payload, 0, 'SUBCELLS')[1] if payload is not None else []
        self._base.update(zip(wanted, found))

    def get(self, key: bytes) -> Optional[bytes]:
        """The entry of a key, if there is one."""
        self.fetch((key, ))
        op, value = self._over.get(key, (APPEND, None))
        if op == PUT:
            return value
        base = None if op == REMOVE or self._gone(key) else self._base.get(key)
        return base if value is None or op == REMOVE else (base or b'') + value

    def scan(self, start: bytes = b'', end: Optional[bytes] = None) -> list[tuple[bytes, bytes]]:
        """All entries from a key to before another, by rising key."""
        found: dict[bytes, bytes] = {}
        at = None if self._cleared else start
        while at is not None:
            rows, at = self._state.host.state_scan(self._slot, place.group, at, end, PAGE_BYTES)
            page = Input(rows)
            found.update((key, value) for key, value in zip(page.keys, page.values) if not self._gone(key))
        for key, (op, value) in self._over.items():
            if key < start or end is not None and key >= end:
                continue
            if op == REMOVE:
                found.pop(key, None)
            else:
                found[key] = value if op == PUT else found.get(key, b'') + value
        return sorted(found.items())

    def finish(self, writer: Writer) -> None:
        """Adds the section of the changes, if there are any."""
        if not self._ops:
            return
        data: list[bytes] = []
        for _, _, key, value in self._ops:
            data += (key, value)
        places, entries = frame.ranges(data), []
        for i, (group, op, _, _) in enumerate(self._ops):
            entries += (group, op, *places[4 * i:4 * i + 4])
        writer.table(frame.SUBCELL_OPS, (self._slot, len(self._ops)), frame.numbers('I', entries), data)
