"""Windows of elements, and panes."""
from struct import Struct
from typing import Iterable
from typing import NamedTuple

from .coders import Coder
from .coders import Malformed
from .coders import get_varint
from .coders import put_varint
from .coders import unfit

_END = Struct('>Q')
_LENGTH = Struct('<I')
_SIGN = 1 << 63


class GlobalWindow:
    """All of time."""

    def __eq__(self, other):
        return isinstance(other, GlobalWindow)

    def __hash__(self):
        return hash(GlobalWindow)

    def __repr__(self):
        return 'GlobalWindow()'

    def encode(self) -> bytes:
        """Beam's encoding."""
        return b''


class IntervalWindow(NamedTuple):
    """From a time to before another, in milliseconds since 1970."""
    start: int
    end: int

    def encode(self) -> bytes:
        """Beam's encoding."""
        return _END.pack(self.end ^ _SIGN if self.end >= 0 else self.end + _SIGN) + put_varint(self.end - self.start)

    @classmethod
    def decode(cls, data: bytes) -> 'IntervalWindow':
        """Reads Beam's encoding.

        Raises:
          Malformed: when it is none.
        """
        if len(data) < 9:
            raise Malformed('an interval window')
        end = _END.unpack_from(data)[0] - _SIGN
        span, at = get_varint(data, 8)
        if at != len(data) or span >= _SIGN or end - span < -_SIGN:
            raise Malformed('an interval window')
        return cls(end - span, end)

    def max_timestamp(self) -> int:
        """The last instant in it."""
        return self.end - 1

    @staticmethod
    def __thalweg_coder__() -> Coder:
        return IntervalWindowCoder()


class UnknownWindow(NamedTuple):
    """A window of another kind, as the pipeline's coder encodes it."""
    data: bytes

    def encode(self) -> bytes:
        """The encoding."""
        return self.data


class IntervalWindowCoder(Coder):
    """Interval windows as values."""
    urn = 'beam:coder:interval_window:v1'

    def nested(self, value):
        if not isinstance(value, IntervalWindow):
            raise unfit(value, 'an interval window')
        return value.encode()

    encode = nested

    def read(self, data, at):
        _, end = get_varint(data, at + 8)
        return IntervalWindow.decode(data[at:end]), end


Window = GlobalWindow | IntervalWindow | UnknownWindow


def decode_window(data: bytes) -> Window:
    """A window of an element."""
    if not data:
        return GlobalWindow()
    try:
        return IntervalWindow.decode(data)
    except Malformed:
        return UnknownWindow(data)


def decode_set(data: bytes) -> list[Window]:
    """The windows of an entry of WINDOW_SETS."""
    found, at = [], 0
    while at + 4 <= len(data):
        end = at + 4 + _LENGTH.unpack_from(data, at)[0]
        found.append(decode_window(data[at + 4:end]))
        at = end
    return found


def encode_set(windows: Iterable[Window]) -> bytes:
    """An entry of WINDOW_SETS."""
    parts = []
    for window in windows:
        data = window.encode()
        parts += (_LENGTH.pack(len(data)), data)
    return b''.join(parts)


class PaneInfo:
    """Which firing of its window an element belongs to.

    Attributes:
      encoded: as Beam encodes it.
      timing: ``EARLY``, ``ON_TIME``, ``LATE`` or ``UNKNOWN``.
    """

    TIMINGS = ('EARLY', 'ON_TIME', 'LATE', 'UNKNOWN')

    def __init__(self, encoded: bytes):
        first = encoded[0] if encoded else 15
        self.encoded, self.is_first, self.is_last = encoded, bool(first & 1), bool(first & 2)
        self.timing = self.TIMINGS[first >> 2 & 3]
        self.index = self.nonspeculative_index = 0
        if first >> 4 and len(encoded) > 1:
            self.index, at = get_varint(encoded, 1)
            self.nonspeculative_index = self.index
            if first >> 4 == 1:
                self.nonspeculative_index = -1 if self.timing == 'EARLY' else self.index
            elif at < len(encoded):
                self.nonspeculative_index = get_varint(encoded, at)[0]

    def __repr__(self):
        return f'PaneInfo({self.timing}, index {self.index}, first {self.is_first}, last {self.is_last})'
