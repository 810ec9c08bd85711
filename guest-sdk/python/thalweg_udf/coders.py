"""Beam's coders for Python types.

======================================= ===================================================
type                                    coder
======================================= ===================================================
``bytes``                               ``beam:coder:bytes:v1``
``str``                                 ``beam:coder:string_utf8:v1``
``int`` (64 bits)                       ``beam:coder:varint:v1``
``float``                               ``beam:coder:double:v1``
``bool``                                ``beam:coder:bool:v1``
``tuple[K, V]``                         ``beam:coder:kv:v1``
``list[T]``, ``Iterable[T]``            ``beam:coder:iterable:v1``
``Optional[T]``                         ``beam:coder:nullable:v1``
:class:`~thalweg_udf.IntervalWindow`    ``beam:coder:interval_window:v1``
a ``NamedTuple`` or a dataclass         ``beam:coder:row:v1``, see :mod:`thalweg_udf.rows`
======================================= ===================================================

*Outer* is the encoding when the length is known from outside, *nested* the one inside something else.
"""
import collections.abc
import dataclasses
import types
import typing
from struct import Struct
from struct import error as StructError
from typing import Any
from typing import Callable

from .failure import Failure

_DOUBLE = Struct('>d')
_COUNT = Struct('>i')
_MASK = (1 << 64) - 1
_SIGN = 1 << 63


class Malformed(Failure):
    """Bytes that are no encoding of the type they should be, or a value of another type than the coder's."""

    def __init__(self, what: str):
        super().__init__('DECODE', f'the encoded value is not {what}')


def unfit(value: Any, wanted: str) -> Failure:
    """A value that the coder cannot encode."""
    return Failure('ENCODE', f'{wanted} is wanted, and not {type(value).__name__} {value!r:.80}')


_SMALL = [bytes([n]) for n in range(128)]


def put_varint(value: int) -> bytes:
    """A number of up to 64 bits: seven bits a byte, the lowest first."""
    if 0 <= value < 128:
        return _SMALL[value]
    value &= _MASK
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def get_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number without sign that stands at a place, and the place behind it."""
    value = shift = 0
    try:
        while shift < 70:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & _MASK, at
            shift += 7
    except IndexError:
        pass
    raise Malformed('a varint')


def get_prefixed(data: bytes, at: int) -> tuple[bytes, int]:
    """The bytes behind their length, and the place behind them."""
    length, at = get_varint(data, at)
    end = at + length
    if end > len(data):
        raise Malformed('long enough')
    return data[at:end], end


class Coder:
    """How values of a type travel. A value is encoded alone (outer), or inside something else (nested)."""

    urn = ''
    components: tuple['Coder', ...] = ()
    #: Whether elements have their key in a column of its own.
    keyed = False
    #: Whether a value cannot change after it was put out.
    immutable = False

    def describe(self) -> dict[str, Any]:
        """The coder in the description of a function."""
        described: dict[str, Any] = {'urn': self.urn}
        if self.components:
            described['components'] = [component.describe() for component in self.components]
        return described

    def fast(self) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        """What encodes and decodes sound values. Of others ``encode`` and ``decode`` say what is wrong with them."""
        return self.encode, self.decode

    def encode(self, value: Any) -> bytes:
        """The outer encoding."""
        return self.nested(value)

    def decode(self, data: bytes) -> Any:
        """Reads an outer encoding, which is all of ``data``."""
        value, end = self.read(data, 0)
        if end != len(data):
            raise Malformed('the end of a value')
        return value

    def nested(self, value: Any) -> bytes:
        """The nested encoding."""
        data = self.encode(value)
        return put_varint(len(data)) + data

    def read(self, data: bytes, at: int) -> tuple[Any, int]:
        """Reads a nested encoding at a place; gives the place behind it too."""
        data, end = get_prefixed(data, at)
        return self.decode(data), end

    def read_all(self, data: bytes) -> list[Any]:
        """Nested encodings, one after the other."""
        found, at, read = [], 0, self.read
        while at < len(data):
            value, at = read(data, at)
            found.append(value)
        return found


class BytesCoder(Coder):
    """``bytes``"""
    urn = 'beam:coder:bytes:v1'

    def encode(self, value):
        if not isinstance(value, (bytes, bytearray)):
            raise unfit(value, 'bytes')
        return bytes(value)

    def decode(self, data):
        return data


class StringCoder(Coder):
    """``str``"""
    urn = 'beam:coder:string_utf8:v1'
    immutable = True

    def fast(self):
        return str.encode, bytes.decode

    def encode(self, value):
        try:
            return value.encode()
        except (AttributeError, UnicodeEncodeError):
            raise unfit(value, 'a text') from None

    def decode(self, data):
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise Malformed('UTF-8') from None


class VarIntCoder(Coder):
    """``int`` of 64 bits with a sign"""
    urn = 'beam:coder:varint:v1'
    immutable = True

    def nested(self, value):
        if type(value) is int and 0 <= value < 128:
            return _SMALL[value]
        if not isinstance(value, int) or isinstance(value, bool) or not -_SIGN <= value < _SIGN:
            raise unfit(value, 'a whole number of 64 bits')
        return put_varint(value)

    encode = nested

    def read(self, data, at):
        value, at = get_varint(data, at)
        return (value - (1 << 64) if value >= _SIGN else value), at


class DoubleCoder(Coder):
    """``float``"""
    urn = 'beam:coder:double:v1'
    immutable = True

    def nested(self, value):
        try:
            return _DOUBLE.pack(value)
        except StructError:
            raise unfit(value, 'a number') from None

    encode = nested

    def read(self, data, at):
        try:
            return _DOUBLE.unpack_from(data, at)[0], at + 8
        except StructError:
            raise Malformed('a double of 8 bytes') from None


class BoolCoder(Coder):
    """``bool``"""
    urn = 'beam:coder:bool:v1'
    immutable = True

    def nested(self, value):
        if value is True or value is False:
            return _SMALL[value]
        raise unfit(value, 'True or False')

    encode = nested

    def read(self, data, at):
        if data[at:at + 1] not in (b'\0', b'\1'):
            raise Malformed('a bool')
        return data[at] == 1, at + 1


class KvCoder(Coder):
    """``tuple[K, V]``: key and value"""
    urn = 'beam:coder:kv:v1'
    keyed = True

    def __init__(self, key: Coder, value: Coder):
        self.components = (key, value)
        self.key, self.value = key, value

    def pair(self, value) -> tuple[Any, Any]:
        """The value, if it is a pair."""
        if not isinstance(value, tuple) or len(value) != 2:
            raise unfit(value, 'a pair of key and value')
        return value

    def encode(self, value):
        key, value = self.pair(value)
        return self.key.nested(key) + self.value.encode(value)

    def decode(self, data):
        key, at = self.key.read(data, 0)
        return key, self.value.decode(data[at:])

    def nested(self, value):
        key, value = self.pair(value)
        return self.key.nested(key) + self.value.nested(value)

    def read(self, data, at):
        key, at = self.key.read(data, at)
        value, at = self.value.read(data, at)
        return (key, value), at


class IterableCoder(Coder):
    """``list[T]`` and other iterables"""
    urn = 'beam:coder:iterable:v1'

    def __init__(self, element: Coder, by_page: bool = False):
        self.components = (element, )
        self.element = element
        #: Whether elements that are such a list are read by page, as :class:`~thalweg_udf.Values`.
        self.by_page = by_page

    def nested(self, value):
        if isinstance(value, (str, bytes)) or not isinstance(value, collections.abc.Iterable):
            raise unfit(value, 'a list')
        parts = [self.element.nested(element) for element in value]
        return _COUNT.pack(len(parts)) + b''.join(parts)

    encode = nested

    def read(self, data, at):
        if len(data) - at < 4:
            raise Malformed('an iterable')
        count = _COUNT.unpack_from(data, at)[0]
        at, found, read = at + 4, [], self.element.read
        blocks = count < 0
        if blocks:
            count, at = get_varint(data, at)
        while count:
            # every value takes a byte at least, so a count cannot make a reader allocate more than what is there
            if count > len(data) - at:
                raise Malformed('long enough')
            for _ in range(count):
                value, at = read(data, at)
                found.append(value)
            count = 0
            if blocks:
                count, at = get_varint(data, at)
        return found, at


class NullableCoder(Coder):
    """``Optional[T]``"""
    urn = 'beam:coder:nullable:v1'

    def __init__(self, value: Coder):
        self.components = (value, )
        self.value = value

    def encode(self, value):
        return b'\0' if value is None else b'\1' + self.value.encode(value)

    def decode(self, data):
        if data == b'\0':
            return None
        if data[:1] != b'\1':
            raise Malformed('a nullable value')
        return self.value.decode(data[1:])

    def nested(self, value):
        return b'\0' if value is None else b'\1' + self.value.nested(value)

    def read(self, data, at):
        mark = data[at:at + 1]
        if mark == b'\0':
            return None, at + 1
        if mark != b'\1':
            raise Malformed('a nullable value')
        return self.value.read(data, at + 1)


_PLAIN: dict[Any, Coder] = {
    bytes: BytesCoder(),
    str: StringCoder(),
    int: VarIntCoder(),
    float: DoubleCoder(),
    bool: BoolCoder(),
}

_LISTS = (list, collections.abc.Iterable, collections.abc.Sequence, collections.abc.Iterator, collections.abc.Collection)
#: Of these nobody asks more than to be walked over.
_BY_PAGE = (collections.abc.Iterable, collections.abc.Iterator)


def coder_of(hint: Any) -> Coder:
    """The coder of a type, or the coder itself.

    Raises:
      TypeError: when there is no coder for the type.
    """
    if isinstance(hint, Coder):
        return hint
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and len(parts) == 2 and parts[1] is not Ellipsis:
        return KvCoder(coder_of(parts[0]), coder_of(parts[1]))
    if origin in _LISTS and len(parts) == 1:
        return IterableCoder(coder_of(parts[0]), origin in _BY_PAGE)
    if origin in (typing.Union, types.UnionType) and len(parts) == 2 and type(None) in parts:
        return NullableCoder(coder_of(parts[0] if parts[1] is type(None) else parts[1]))
    if isinstance(hint, type) and hasattr(hint, '__thalweg_coder__'):
        return hint.__thalweg_coder__()
    if isinstance(hint, type) and (hasattr(hint, '_fields') or dataclasses.is_dataclass(hint)):
        from .rows import RowCoder
        return RowCoder(hint)
    raise TypeError(f'there is no coder for {hint!r}: see the table in thalweg_udf.coders')
