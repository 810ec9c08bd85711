"""Rows with named fields: a ``NamedTuple`` or a dataclass is a schema, coded by Beam's row coder.

Number of fields, bitmap of nulls, then the fields that are not null in their nested encodings.

Source: ``beam:coder:row:v1`` and Beam's ``schema.proto``.
"""
import dataclasses
import types
import typing
from struct import Struct
from typing import Any
from typing import NewType

from .coders import BoolCoder
from .coders import BytesCoder
from .coders import Coder
from .coders import DoubleCoder
from .coders import Malformed
from .coders import StringCoder
from .coders import VarIntCoder
from .coders import get_prefixed
from .coders import get_varint
from .coders import put_varint
from .coders import unfit
from .failure import Failure

#: Field types that Python has no type of its own for.
Int16 = NewType('Int16', int)
Int32 = NewType('Int32', int)
Float32 = NewType('Float32', float)


class _Fixed(Coder):
    """A number of a fixed length."""

    def __init__(self, form: str, wanted: str):
        self._struct, self._wanted = Struct(form), wanted

    def nested(self, value):
        try:
            return self._struct.pack(value)
        except Exception:
            raise unfit(value, self._wanted) from None

    encode = nested

    def read(self, data, at):
        end = at + self._struct.size
        if end > len(data):
            raise Malformed('long enough')
        return self._struct.unpack_from(data, at)[0], end


class _Int32Coder(VarIntCoder):
    # of negative numbers Beam writes the 32 bits
    def nested(self, value):
        if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 31) <= value < 1 << 31:
            raise unfit(value, 'a whole number of 32 bits')
        return put_varint(value & 0xFFFF_FFFF)

    encode = nested

    def read(self, data, at):
        value, at = get_varint(data, at)
        value &= 0xFFFF_FFFF
        return (value - (1 << 32) if value >= 1 << 31 else value), at


_FIELDS: dict[Any, tuple[str, Coder]] = {
    bool: ('boolean', BoolCoder()),
    Int16: ('int16', _Fixed('>h', 'a whole number of 16 bits')),
    Int32: ('int32', _Int32Coder()),
    int: ('int64', VarIntCoder()),
    Float32: ('float', _Fixed('>f', 'a number')),
    float: ('double', DoubleCoder()),
    str: ('string', StringCoder()),
    bytes: ('bytes', BytesCoder()),
}


class _Field(typing.NamedTuple):
    name: str
    kind: str
    nullable: bool
    coder: Coder


def _field(owner: type, name: str, hint: Any) -> _Field:
    nullable = False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        nullable, hint = True, inner[0] if len(inner) == 1 else hint
    if hint not in _FIELDS:
        raise TypeError(f'{owner.__name__}.{name}: a field of a row cannot be {hint!r}')
    kind, coder = _FIELDS[hint]
    return _Field(name, kind, nullable, coder)


class RowCoder(Coder):
    """Rows of a class."""
    urn = 'beam:coder:row:v1'

    def __init__(self, row: type):
        self.row = row
        names = row._fields if hasattr(row, '_fields') else [field.name for field in dataclasses.fields(row)]
        hints = typing.get_type_hints(row)
        self.fields = [_field(row, name, hints[name]) for name in names]
        # nearly all rows have no nulls
        self._head = put_varint(len(self.fields)) + b'\0'
        self._reads = [(field.coder.read, field.nullable, field.name) for field in self.fields]
        self._writes = [(field.name, field.coder.nested, field.nullable) for field in self.fields]

    def describe(self):
        described = []
        for field in self.fields:
            described.append({'name': field.name, 'type': field.kind})
            if field.nullable:
                described[-1]['nullable'] = True
        return {'urn': self.urn, 'fields': described}

    def nested(self, value):
        if type(value) is not self.row and not isinstance(value, self.row):
            raise unfit(value, f'a {self.row.__name__}')
        parts, nulls = [self._head], 0
        for place, (name, write, nullable) in enumerate(self._writes):
            field = getattr(value, name)
            if field is None and nullable:
                nulls |= 1 << place
                continue
            try:
                parts.append(write(field))
            except Failure as failure:
                raise Failure(failure.code, f'field {name}: {failure.message}') from None
        if nulls:
            bits = nulls.to_bytes((nulls.bit_length() + 7) // 8, 'little')
            parts[0] = put_varint(len(self.fields)) + put_varint(len(bits)) + bits
        return b''.join(parts)

    encode = nested

    def read(self, data, at):
        count, at = get_varint(data, at)
        bits, at = get_prefixed(data, at)
        nulls, values = int.from_bytes(bits, 'little'), []
        for place, (read, nullable, name) in enumerate(self._reads):
            # a row of an older schema has fewer fields; those missing are null
            if nulls >> place & 1 or place >= count:
                if not nullable:
                    raise Malformed(f'a row with a value in the field {name}')
                values.append(None)
            else:
                value, at = read(data, at)
                values.append(value)
        return self.row(*values), at
