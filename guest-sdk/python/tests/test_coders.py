"""Encodings are those of Beam: compared with apache_beam where it is there, and with bytes that were taken from it."""
import dataclasses
from typing import Iterable
from typing import NamedTuple
from typing import Optional

import pytest

from thalweg_udf import Failure
from thalweg_udf import Float32
from thalweg_udf import GlobalWindow
from thalweg_udf import Int16
from thalweg_udf import Int32
from thalweg_udf import IntervalWindow
from thalweg_udf import Malformed
from thalweg_udf import PaneInfo
from thalweg_udf.coders import coder_of
from thalweg_udf.windows import decode_window


class Trip(NamedTuple):
    start: str
    minutes: Optional[int]
    fare: float


@dataclasses.dataclass
class Small:
    a: Int16
    b: Int32
    c: Float32
    d: Optional[bytes] = None
    e: bool = False


VALUES = [
    (bytes, b'\xff\x00', b'\xff\x00'),
    (str, 'é', b'\xc3\xa9'),
    (int, 300, b'\xac\x02'),
    (int, -1, b'\xff' * 9 + b'\x01'),
    (int, -(1 << 63), b'\x80' * 9 + b'\x01'),
    (float, 1.0, b'\x3f\xf0' + b'\0' * 6),
    (bool, True, b'\1'),
    (tuple[str, int], ('a', 5), b'\x01a\x05'),
    (tuple[str, tuple[bytes, float]], ('a', (b'xy', 1.0)), b'\x01a\x02xy\x3f\xf0' + b'\0' * 6),
    (list[str], ['ab'], b'\0\0\0\1\2ab'),
    (Iterable[Optional[int]], [1, None], b'\0\0\0\2\1\1\0'),
    (Optional[str], 'ab', b'\1ab'),
    (str | None, None, b'\0'),
    (Trip, Trip('ab', 5, 1.0), b'\x03\0\x02ab\x05\x3f\xf0' + b'\0' * 6),
    (Trip, Trip('ab', None, 1.0), b'\x03\x01\x02\x02ab\x3f\xf0' + b'\0' * 6),
    (Small, Small(-2, -1, 1.5, b'x', True), b'\x05\0\xff\xfe\xff\xff\xff\xff\x0f\x3f\xc0\0\0\x01x\x01'),
    (Small, Small(1, 2, 0.0), b'\x05\x01\x08\0\x01\x02\0\0\0\0\0'),
    (IntervalWindow, IntervalWindow(0, 3_600_000), bytes([128, 0, 0, 0, 0, 54, 238, 128, 128, 221, 219, 1])),
    (IntervalWindow, IntervalWindow(-10, -5), bytes([127, 255, 255, 255, 255, 255, 255, 251, 5])),
]


@pytest.mark.parametrize('hint, value, encoded', VALUES)
def test_values_are_encoded_as_beam_does_and_read_back(hint, value, encoded):
    coder = coder_of(hint)
    assert coder.encode(value) == encoded
    assert coder.decode(encoded) == value
    nested = coder.nested(value)
    assert coder.read(b'..' + nested + b'..', 2) == (value, 2 + len(nested))


@pytest.mark.parametrize('hint, value, _', VALUES)
def test_cut_encodings_are_malformed_or_another_value(hint, value, _):
    coder = coder_of(hint)
    nested = coder.nested(value)
    for end in range(len(nested)):
        with pytest.raises(Malformed):
            coder.read(nested[:end], 0)


def test_the_coders_of_apache_beam_give_the_same_rows():
    beam = pytest.importorskip('apache_beam')
    coder = beam.coders.RowCoder.from_type_hint(Trip, None)
    for trip in (Trip('ab', 5, 1.0), Trip('é', None, -2.5)):
        assert coder.encode(trip) == coder_of(Trip).encode(trip)


def test_rows_of_an_older_schema_have_nulls_for_what_is_missing():

    class Newer(NamedTuple):
        start: str
        minutes: Optional[int]

    class Older(NamedTuple):
        start: str

    assert coder_of(Newer).decode(coder_of(Older).encode(Older('a'))) == Newer('a', None)
    with pytest.raises(Malformed):
        coder_of(Trip).decode(coder_of(Older).encode(Older('a')))


def test_iterables_are_read_in_blocks_too():
    data = b'\xff\xff\xff\xff\2\1\2\1\3\0'
    assert coder_of(list[int]).read(data + b'\x09', 0) == ([1, 2, 3], len(data))


@pytest.mark.parametrize('hint, data', [(str, b'\xff'), (int, b'\1\1'), (int, b'\x80' * 11), (float, b'\0' * 7), (bool, b'\2'),
                                        (list[int], b'\x7f\xff\xff\xff\1'), (Optional[int], b'\2'), (list[int], b'\0\0\0\1\3\x09')])
def test_foreign_bytes_are_malformed(hint, data):
    with pytest.raises(Malformed):
        coder_of(hint).decode(data)


@pytest.mark.parametrize('hint, value', [(str, 1), (str, '\ud800'), (int, 1.0), (int, True), (int, 1 << 63), (bool, 1), (bytes, 'a'),
                                         (float, 'a'), (tuple[str, int], ['a', 1]), (list[str], 'abc'), (Trip, ('a', 1, 1.0)),
                                         (Small, Small(1 << 15, 0, 0.0)), (Small, Small(0, 1 << 31, 0.0))])
def test_values_of_another_type_are_not_encoded(hint, value):
    with pytest.raises(Failure, match='ENCODE'):
        coder_of(hint).encode(value)


def test_coders_are_described_as_the_contract_wants_them():
    assert coder_of(Trip).describe() == {
        'urn': 'beam:coder:row:v1',
        'fields': [{'name': 'start', 'type': 'string'}, {'name': 'minutes', 'type': 'int64', 'nullable': True},
                   {'name': 'fare', 'type': 'double'}],
    }
    assert [field['type'] for field in coder_of(Small).describe()['fields']] == ['int16', 'int32', 'float', 'bytes', 'boolean']
    assert coder_of(tuple[str, list[int]]).describe() == {
        'urn': 'beam:coder:kv:v1',
        'components': [{'urn': 'beam:coder:string_utf8:v1'},
                       {'urn': 'beam:coder:iterable:v1', 'components': [{'urn': 'beam:coder:varint:v1'}]}],
    }


@pytest.mark.parametrize('hint', [dict, set, tuple[int, int, int], int | str, object])
def test_types_without_a_coder_are_refused(hint):
    with pytest.raises(TypeError, match='there is no coder'):
        coder_of(hint)


def test_windows_and_panes_are_read():
    assert decode_window(b'') == GlobalWindow()
    assert decode_window(IntervalWindow(5, 9).encode()) == IntervalWindow(5, 9)
    assert decode_window(b'other').data == b'other'
    late = PaneInfo(bytes([0x2a, 0xac, 0x02, 1]))
    assert (late.timing, late.is_first, late.is_last, late.index, late.nonspeculative_index) == ('LATE', False, True, 300, 1)
    assert repr(PaneInfo(b'\x0f')) == 'PaneInfo(UNKNOWN, index 0, first True, last True)'
