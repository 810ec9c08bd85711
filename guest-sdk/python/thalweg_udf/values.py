"""Grouped values: what a function gets for ``Iterable[T]``. Those that did not fit into the frame come by page while they are walked over."""
from typing import Any
from typing import Callable
from typing import Iterator
from typing import Optional

from .coders import IterableCoder
from .entries import PAGE_BYTES
from .frame import BadFrame
from .frame import Input

#: Gives the page of a token, about so many bytes, and the token of the page behind it.
Read = Callable[[bytes, int], tuple[bytes, Optional[bytes]]]


class Values:
    """Values of a key, in their order: an iterable that may be walked over again. Memory holds one page of them, however many there
    are; they have no length. They are good for the call they came with.
    """
    __slots__ = ('_first', '_coder', '_token', '_read')

    def __init__(self, first: list[Any], coder: Any, token: Optional[bytes] = None, read: Optional[Read] = None):
        self._first, self._coder, self._token, self._read = first, coder, token, read

    def __iter__(self) -> Iterator[Any]:
        return iter(self._first) if self._token is None else self._walk()

    def _walk(self) -> Iterator[Any]:
        yield from self._first
        token = self._token
        while token is not None and self._read is not None:
            frame, token = self._read(token, PAGE_BYTES)
            page = Input(frame)
            if page.rows != 1:
                raise BadFrame('a page of a list is no page')
            yield from self._coder.read_all(page.values[0])

    def __repr__(self) -> str:
        return f'Values({self._first!r:.80}{"" if self._token is None else " .."})'


def of_row(coder: IterableCoder, data: bytes, token: Optional[bytes], read: Optional[Read]) -> Any:
    """The value of a row whose coder is of a list: a list if that was asked for, else :class:`Values`. ``token`` is that of the rest."""
    values = Values(coder.decode(data), coder.element, token, read)
    return values if coder.by_page else list(values)
