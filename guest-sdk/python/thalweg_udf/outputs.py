"""Output rows as columns, written into the frame that a call returns or puts out early. A column that all rows so far could do
without is None.
"""
from itertools import accumulate
from itertools import chain
from typing import Any
from typing import Iterable
from typing import Optional

from . import frame
from .failure import Failure
from .frame import INHERIT
from .frame import NONE
from .frame import Writer
from .windows import encode_set


class Rows:
    """The rows so far.

    Attributes:
      source: the input row of each.
      data: the value of each; if an output is keyed, key and value.
      output: the output of each; None if there is only one.
      time: of each, or INHERIT; None if all inherit.
      windows: of each the index in ``sets``, or NONE; None if all inherit.
      size: about how many bytes they are.
    """

    def __init__(self, keyed: bool, several: bool):
        self.keyed, self._several = keyed, several
        self.clear()

    def clear(self) -> None:
        """Forgets them."""
        self.source: list[int] = []
        self.data: list[bytes] = []
        self.output: Optional[list[int]] = [] if self._several else None
        self.time: Optional[list[int]] = None
        self.windows: Optional[list[int]] = None
        self.sets: list[bytes] = []
        self.size = 0

    def is_plain(self) -> bool:
        """Whether no row so far has more than a value."""
        return self.time is None and self.windows is None and not self.keyed and self.output is None

    def extend(self, source: int, pieces: list[bytes]) -> int:
        """Adds rows that have nothing but values, while all are plain; gives about how many bytes they are."""
        self.source += [source] * len(pieces)
        self.data += pieces
        size = sum(map(len, pieces)) + 16 * len(pieces)
        self.size += size
        return size

    def push(self, output: int, source: int, coder: Any, element: Any, time: Optional[int], windows: Optional[Iterable]) -> None:
        """Adds a row; ``time`` and ``windows`` are None if it inherits them."""
        if coder.keyed:
            key, value = coder.pair(element)
            pieces = coder.key.encode(key), coder.value.encode(value)
        else:
            pieces = (b'', coder.encode(element)) if self.keyed else (coder.encode(element), )
        if time is not None and not isinstance(time, int):
            raise Failure('ENCODE', f'a timestamp is a whole number of milliseconds, and not {time!r:.80}')
        entry = encode_set(windows) if windows is not None else None
        before = len(self.source)
        self.source.append(source)
        self.data += pieces
        self.size += len(pieces[0]) + len(pieces[-1]) + 16
        if self.output is not None:
            self.output.append(output)
        if self.time is not None:
            self.time.append(INHERIT if time is None else time)
        elif time is not None:
            self.time = [INHERIT] * before + [time]
        if self.windows is not None or entry is not None:
            self._own_windows(before, entry)

    def _own_windows(self, before: int, entry: Optional[bytes]) -> None:
        if self.windows is None:
            self.windows = [NONE] * before
        self.windows.append(NONE if entry is None else len(self.sets))
        if entry is not None:
            self.sets.append(entry)

    def write(self) -> Writer:
        """The frame of the rows."""
        writer = Writer(len(self.source))
        writer.section(frame.SOURCE, frame.numbers('I', self.source))
        if not self.keyed:
            writer.section(frame.VALUE, frame.numbers('I', frame.ranges(self.data)))
        else:
            ends = list(accumulate(map(len, self.data), initial=0))
            middles = ends[1::2]
            writer.section(frame.VALUE, frame.numbers('I', list(chain.from_iterable(zip(middles, ends[2::2])))))
            writer.section(frame.KEY, frame.numbers('I', list(chain.from_iterable(zip(ends[::2], middles)))))
        if self.time is not None:
            writer.section(frame.TIME, frame.numbers('q', self.time))
        if self.output is not None:
            writer.section(frame.OUTPUT, frame.numbers('I', self.output))
        if self.windows is not None:
            writer.section(frame.WINDOWS, frame.numbers('I', self.windows))
            writer.dictionary(frame.WINDOW_SETS, self.sets)
        writer.section(frame.ARENA, b''.join(self.data))
        return writer


def values(data: list[bytes]) -> Writer:
    """A frame of rows that have values alone."""
    writer = Writer(len(data))
    writer.section(frame.VALUE, frame.numbers('I', frame.ranges(data)))
    writer.section(frame.ARENA, b''.join(data))
    return writer


def failed(rows: list[tuple[int, Failure]], writer: Writer) -> None:
    """Adds the section of the rows that failed, if there are any."""
    if not rows:
        return
    texts: list[bytes] = []
    for _, failure in rows:
        texts += (failure.code.encode(), failure.message.encode(errors='replace'))
    places, entries = frame.ranges(texts), []
    for i, (row, _) in enumerate(rows):
        entries += (row, 0, *places[4 * i:4 * i + 4])
    writer.table(frame.FAILED, (len(rows), 0), frame.numbers('I', entries), texts)
