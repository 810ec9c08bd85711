"""State slots as a function declares them, and what its methods get for them: typed handles on the cells of the element's key
and window. The names are Beam's.
"""
from typing import Any
from typing import Iterable
from typing import Iterator

from .coders import coder_of

_SIGN = 1 << 63


class StateSpec:
    """A slot of state. ``name`` is part of where the state is stored.

    Attributes:
      eager: whether the cells arrive with the batch. Right for small values that nearly every element needs.
    """
    kind = ''
    eager = False

    def __init__(self, name: str, coder: Any):
        self.name, self.coder = name, coder_of(coder)

    def describe(self) -> dict[str, Any]:
        """The slot in the description of a function."""
        return {'name': self.name, 'kind': self.kind, 'coder': self.coder.describe()}

    def bind(self, cell: Any) -> Any:
        """The handle on a cell."""
        raise NotImplementedError


class _Handle:
    """What all handles have."""

    def __init__(self, spec: Any, cell: Any):
        self._spec, self._cell = spec, cell
        self._nested, self._encode, self._decode = spec.coder.nested, spec.coder.encode, spec.coder.decode


class ReadModifyWriteStateSpec(StateSpec):
    """A slot that holds one value or none."""
    kind = 'value'

    def __init__(self, name: str, coder: Any, eager: bool = False):
        super().__init__(name, coder)
        self.eager = eager

    def describe(self):
        return {**super().describe(), **({'eager': True} if self.eager else {})}

    def bind(self, cell):
        return ReadModifyWriteState(self, cell)


class ReadModifyWriteState(_Handle):
    """One value or none."""

    def read(self) -> Any:
        """The value, or None."""
        data = self._cell.get()
        return self._spec.coder.read(data, 0)[0] if data else None

    def write(self, value: Any) -> None:
        """Replaces the value."""
        self._cell.replace(self._nested(value))

    def clear(self) -> None:
        """Removes the value."""
        self._cell.replace(b'')


class CombiningValueStateSpec(ReadModifyWriteStateSpec):
    """A slot that holds an accumulator of a :class:`~thalweg_udf.CombineFn`; it is a value slot of accumulators."""

    def __init__(self, name: str, combine_fn: Any, eager: bool = False):
        self.combine_fn = combine_fn() if isinstance(combine_fn, type) else combine_fn
        super().__init__(name, self.combine_fn.accumulator_coder(), eager)

    def bind(self, cell):
        return CombiningValueState(self, cell)


class CombiningValueState(_Handle):
    """Values that are summed up when they are added."""

    def _accumulator(self) -> Any:
        data = self._cell.get()
        return self._spec.coder.read(data, 0)[0] if data else self._spec.combine_fn.create_accumulator()

    def add(self, value: Any) -> None:
        """Adds a value."""
        accumulator = self._spec.combine_fn.add_input(self._accumulator(), value)
        self._cell.replace(self._nested(accumulator))

    def read(self) -> Any:
        """What the values come to; that of no values if there are none."""
        return self._spec.combine_fn.extract_output(self._accumulator())

    def clear(self) -> None:
        """Forgets the values."""
        self._cell.replace(b'')


class BagStateSpec(StateSpec):
    """A slot that holds any number of values, in the order they were added. Adding does not read it."""
    kind = 'bag'

    def bind(self, cell):
        return BagState(self, cell)


class BagState(_Handle):
    """Any number of values. To iterate over it is to read it by page: right for a bag that may be large."""

    def __iter__(self) -> Iterator[Any]:
        """The values in the order they were added, as they are when the walk begins; memory holds one page of them. A walk is good for the
        element that began it, which may write state on its way."""
        pages, read_all = self._cell.pages(), self._spec.coder.read_all
        return (value for page in pages for value in read_all(page))

    def read(self) -> list[Any]:
        """The values in the order they were added, all of them in memory."""
        return self._spec.coder.read_all(self._cell.get())

    def add(self, value: Any) -> None:
        """Adds a value."""
        self._cell.append(self._nested(value))

    def clear(self) -> None:
        """Removes all."""
        self._cell.replace(b'')


class SetStateSpec(StateSpec):
    """A slot that holds elements, each once."""
    kind = 'set'

    def bind(self, cell):
        return SetState(self, cell)


class SetState(_Handle):
    """Elements, each once."""

    def read(self) -> list[Any]:
        """All elements."""
        return [self._decode(key) for key, _ in self._cell.scan()]

    def add(self, element: Any) -> None:
        """Adds an element."""
        self._cell.put(self._encode(element), b'')

    def remove(self, element: Any) -> None:
        """Removes an element."""
        self._cell.remove(self._encode(element))

    def __contains__(self, element: Any) -> bool:
        return self._cell.get(self._encode(element)) is not None

    def clear(self) -> None:
        """Removes all."""
        self._cell.clear()


class _KeyedSpec(StateSpec):

    def __init__(self, name: str, key: Any, value: Any):
        super().__init__(name, value)
        self.key = coder_of(key)

    def describe(self):
        return {**super().describe(), 'key': self.key.describe()}


class MapStateSpec(_KeyedSpec):
    """A slot that holds a value per key."""
    kind = 'map'

    def bind(self, cell):
        return MapState(self, cell)


class MapState(_Handle):
    """A value per key: used as a dictionary. What it gives is a copy."""

    def __getitem__(self, key: Any) -> Any:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key."""
        data = self._cell.get(self._spec.key.encode(key))
        return default if data is None else self._decode(data)

    def __contains__(self, key: Any) -> bool:
        return self._cell.get(self._spec.key.encode(key)) is not None

    def __setitem__(self, key: Any, value: Any) -> None:
        self._cell.put(self._spec.key.encode(key), self._encode(value))

    put = __setitem__

    def remove(self, key: Any) -> None:
        """Removes a key, if it is there."""
        self._cell.remove(self._spec.key.encode(key))

    def prefetch(self, *keys: Any) -> None:
        """Fetches the values of several keys in one call to the host."""
        self._cell.fetch([self._spec.key.encode(key) for key in keys])

    def items(self) -> list[tuple[Any, Any]]:
        """All keys and values, in the order of the encoded keys."""
        return [(self._spec.key.decode(key), self._decode(value)) for key, value in self._cell.scan()]

    def keys(self) -> list[Any]:
        """All keys."""
        return [key for key, _ in self.items()]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def clear(self) -> None:
        """Removes all."""
        self._cell.clear()


class MultimapStateSpec(_KeyedSpec):
    """A slot that holds any number of values per key, in the order they were added."""
    kind = 'multimap'

    def bind(self, cell):
        return MultimapState(self, cell)


class MultimapState(_Handle):
    """Any number of values per key."""

    def get(self, key: Any) -> list[Any]:
        """The values of a key, in the order they were added."""
        return self._spec.coder.read_all(self._cell.get(self._spec.key.encode(key)) or b'')

    def put(self, key: Any, value: Any) -> None:
        """Adds a value to a key."""
        self._cell.append(self._spec.key.encode(key), self._nested(value))

    def remove(self, key: Any) -> None:
        """Removes a key with all its values."""
        self._cell.remove(self._spec.key.encode(key))

    def __contains__(self, key: Any) -> bool:
        return self._cell.get(self._spec.key.encode(key)) is not None

    def items(self) -> list[tuple[Any, list[Any]]]:
        """All keys with their values, in the order of the encoded keys."""
        return [(self._spec.key.decode(key), self._spec.coder.read_all(values)) for key, values in self._cell.scan()]

    def clear(self) -> None:
        """Removes all."""
        self._cell.clear()


class OrderedListStateSpec(StateSpec):
    """A slot that holds values by time."""
    kind = 'orderedlist'

    def bind(self, cell):
        return OrderedListState(self, cell)


def _instant(time: int) -> bytes:
    """A time as the key of an entry: its order is the order of time."""
    return (time + _SIGN).to_bytes(8, 'big')


class OrderedListState(_Handle):
    """Values by time, in milliseconds since 1970."""

    def add(self, timestamp: int, value: Any) -> None:
        """Adds a value at a time."""
        self._cell.append(_instant(timestamp), self._nested(value))

    def read(self) -> list[tuple[int, Any]]:
        """Time and value of all, in the order of time, and of one time in the order they were added."""
        return self._timed(self._cell.scan())

    def read_range(self, start: int, end: int) -> list[tuple[int, Any]]:
        """Those from a time to before another."""
        return self._timed(self._cell.scan(_instant(start), _instant(end)))

    def _timed(self, entries: Iterable[tuple[bytes, bytes]]) -> list[tuple[int, Any]]:
        found: list[tuple[int, Any]] = []
        for key, values in entries:
            time = int.from_bytes(key, 'big') - _SIGN
            found.extend((time, value) for value in self._spec.coder.read_all(values))
        return found

    def clear_range(self, start: int, end: int) -> None:
        """Removes the values from a time to before another."""
        self._cell.remove_range(_instant(start), _instant(end))

    def clear(self) -> None:
        """Removes all."""
        self._cell.clear()


