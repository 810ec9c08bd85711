"""Side inputs and tables: as a function declares them, read in pages from the host, kept for the rest of the call."""
from typing import Any
from typing import Callable
from typing import Iterable
from typing import Optional

from . import frame
from .coders import KvCoder
from .coders import coder_of
from .entries import PAGE_BYTES
from .frame import Input
from .moment import place


class AsList:
    """A side input that is read as a list."""
    access = 'iterable'

    def __init__(self, name: str, element: Any):
        self.name, self.coder = name, coder_of(element)

    def describe(self) -> dict[str, Any]:
        """The side input in the description of a function."""
        return {'name': self.name, 'access': self.access, 'coder': self.coder.describe()}


class AsMultiMap(AsList):
    """A side input that is read by key."""
    access = 'multimap'

    def __init__(self, name: str, key: Any, value: Any):
        super().__init__(name, KvCoder(coder_of(key), coder_of(value)))


class Table:
    """A table: entries by key, which change while the job runs.

    Attributes:
      by_key: whether it is looked up by the element's key before the call.
    """

    def __init__(self, name: str, key: Any, value: Any, by_key: bool = False):
        self.name, self.key, self.value, self.by_key = name, coder_of(key), coder_of(value), by_key

    def describe(self) -> dict[str, Any]:
        """The table in the description of a function."""
        lookup = 'key' if self.by_key else 'none'
        return {'name': self.name, 'key': self.key.describe(), 'value': self.value.describe(), 'lookup': lookup}


def _pages(read: Callable[[Optional[bytes]], tuple[bytes, Optional[bytes]]]) -> list[tuple[bytes, bytes]]:
    """Key and value of all rows of all pages."""
    found: list[tuple[bytes, bytes]] = []
    start = None
    while True:
        rows, start = read(start)
        page = Input(rows)
        found.extend(zip(page.keys, page.values))
        if start is None:
            return found


class Reads:
    """What was read in a call.

    Attributes:
      input: the frame.
    """

    def __init__(self, host: Any):
        self._host = host
        self.begin(None)

    def begin(self, input: Optional[Input]) -> None:
        """Begins a call."""
        self.input = input
        self._sides: dict[tuple, list] = {}
        self._entries: dict[tuple[int, bytes], Optional[bytes]] = {}

    def side(self, index: int, key: Optional[bytes], decode: Callable[[bytes, bytes], Any]) -> list[Any]:
        """The elements of a side input, or its values of a key."""
        question = (index, place.windows, key)
        if question not in self._sides:
            rows = _pages(lambda start: self._host.side_read(index, question[1], key, start, PAGE_BYTES))
            self._sides[question] = [decode(k, v) for k, v in rows]
        return self._sides[question]

    def side_keys(self, index: int, decode: Callable[[bytes], Any]) -> list[Any]:
        """The keys of a side input."""
        question = (index, place.windows)
        if question not in self._sides:
            rows = _pages(lambda start: self._host.side_keys(index, question[1], start, PAGE_BYTES))
            self._sides[question] = [decode(value) for _, value in rows]
        return self._sides[question]

    def fetch(self, table: int, keys: Iterable[bytes]) -> None:
        """Asks a table for several keys in one call to the host."""
        wanted = [key for key in dict.fromkeys(keys) if (table, key) not in self._entries]
        if wanted:
            answer = self._host.table_lookup(table, frame.questions([(0, key) for key in wanted]))
            payload = frame.find(answer, frame.SUBCELLS)
            found = frame.answers(payload, 0, 'SUBCELLS')[1] if payload is not None else [None] * len(wanted)
            self._entries.update(((table, key), entry) for key, entry in zip(wanted, found))

    def entry(self, table: int, key: bytes) -> Optional[bytes]:
        """What a table has for a key."""
        self.fetch(table, (key, ))
        return self._entries.get((table, key))

    def joined(self, table: int) -> Optional[bytes]:
        """What a table has for the element's key, which arrived with the batch."""
        cells = self.input.tables.get(table) if self.input is not None else None
        return cells[place.row] if cells is not None and place.row < len(cells) else None


class SideList:
    """A side input in the element's window: an iterable of its elements, which may be walked over again."""

    def __init__(self, reads: Reads, index: int, spec: AsList):
        self._reads, self._index, coder = reads, index, spec.coder
        if isinstance(coder, KvCoder):
            self._decode = lambda key, value: (coder.key.decode(key), coder.value.decode(value))
        else:
            self._decode = lambda _, value: coder.decode(value)

    def read(self) -> list[Any]:
        """The elements. They are the call's: not to be changed."""
        return self._reads.side(self._index, None, self._decode)

    def __iter__(self):
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())


class SideMultiMap:
    """A side input in the element's window, by key."""

    def __init__(self, reads: Reads, index: int, spec: AsMultiMap):
        self._reads, self._index, self._coder = reads, index, spec.coder

    def __getitem__(self, key: Any) -> list[Any]:
        """The values of a key; none for one that is not there."""
        decode = self._coder.value.decode
        return self._reads.side(self._index, self._coder.key.encode(key), lambda _, value: decode(value))

    def keys(self) -> list[Any]:
        """The keys."""
        return self._reads.side_keys(self._index, self._coder.key.decode)


class TableReader:
    """A table."""

    def __init__(self, reads: Reads, index: int, spec: Table):
        self._reads, self._index, self._spec = reads, index, spec

    def __getitem__(self, key: Any) -> Any:
        entry = self._reads.entry(self._index, self._spec.key.encode(key))
        if entry is None:
            raise KeyError(key)
        return self._spec.value.decode(entry)

    def get(self, key: Any, default: Any = None) -> Any:
        """What the table has for a key. It may wait for the table."""
        entry = self._reads.entry(self._index, self._spec.key.encode(key))
        return default if entry is None else self._spec.value.decode(entry)

    def joined(self, default: Any = None) -> Any:
        """What the table has for the element's key, which arrived with the batch. The table is declared ``by_key``."""
        entry = self._reads.joined(self._index)
        return default if entry is None else self._spec.value.decode(entry)

    def prefetch(self, *keys: Any) -> None:
        """Asks for several keys in one call to the host, for lookups that follow."""
        self._reads.fetch(self._index, [self._spec.key.encode(key) for key in keys])
