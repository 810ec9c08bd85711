"""What a function gave in a test: its elements, failures, metrics and log lines."""
from struct import iter_unpack
from struct import unpack_from
from typing import Any
from typing import NamedTuple
from typing import Optional

from .. import frame
from ..failure import Failure
from ..frame import INHERIT
from ..frame import NONE
from ..windows import decode_set


class Ran(NamedTuple):
    """What one call gave: the frames of its outputs, of which the last was returned, and place in the batch, time and window of
    each row."""
    frames: list[bytes]
    order: list[tuple[int, int, Any]]


def failed_rows(result: bytes) -> list[tuple[int, Failure]]:
    """The rows that failed."""
    payload = frame.find(result, frame.FAILED)
    if payload is None:
        return []
    count = unpack_from('<I', payload)[0]
    texts = payload[8 + count * 24:]
    entries = iter_unpack('<IIIIII', payload[8:8 + count * 24])
    return [(row, Failure(texts[a:b].decode(), texts[c:d].decode())) for row, _, a, b, c, d in entries]


class OutputRows:
    """The columns of an output frame."""

    def __init__(self, data: bytes):
        found = dict(frame.sections(data))
        self.rows = unpack_from('<II', found[frame.HEADER])[1]
        arena = found.get(frame.ARENA, b'')

        def column(number: int, form: str, absent: int) -> list[int]:
            payload = found.get(number)
            return list(unpack_from(f'<{self.rows}{form}', payload)) if payload is not None else [absent] * self.rows

        def pieces(number: int) -> list[bytes]:
            payload = found.get(number)
            if payload is None:
                return [b''] * self.rows
            return frame.cut(unpack_from(f'<{self.rows * 2}I', payload), arena, 'a column')

        self.keys, self.values = pieces(frame.KEY), pieces(frame.VALUE)
        self.source = column(frame.SOURCE, 'I', 0) if frame.SOURCE in found else list(range(self.rows))
        self.output, self.time = column(frame.OUTPUT, 'I', 0), column(frame.TIME, 'q', INHERIT)
        self.windows = column(frame.WINDOWS, 'I', NONE)
        sets = found.get(frame.WINDOW_SETS)
        self.sets = [decode_set(entry) for entry in frame.dictionary(sets, 'WINDOW_SETS')] if sets is not None else []


class Outcome:
    """What a batch, or the timers that came due, gave."""

    def __init__(self, outputs: list[tuple[str, Any]]):
        self._outputs = outputs
        self.calls: list[Ran] = []
        #: Level (0 trace to 4 error) and text of the log's lines.
        self.logs: list[tuple[int, str]] = []

    def windowed(self, output: Optional[str] = None) -> list[tuple[int, list, Any]]:
        """Event time, windows and element of what an output got, without what failed elements gave. Without a name it is the
        main output."""
        names = [name for name, _ in self._outputs]
        index = 0 if output is None else names.index(output)
        coder, found = self._outputs[index][1], []
        for ran in self.calls:
            failed = {row for row, _ in failed_rows(ran.frames[-1])}
            for rows in map(OutputRows, ran.frames):
                for i in range(rows.rows):
                    source = rows.source[i]
                    if rows.output[i] != index or source in failed:
                        continue
                    _, time, window = ran.order[source] if source != NONE else (0, 0, None)
                    time = time if rows.time[i] == INHERIT else rows.time[i]
                    windows = [window] if rows.windows[i] == NONE else rows.sets[rows.windows[i]]
                    if coder.keyed:
                        element = coder.key.decode(rows.keys[i]), coder.value.decode(rows.values[i])
                    else:
                        element = coder.decode(rows.values[i])
                    found.append((time, windows, element))
        return found

    def timestamped(self, output: Optional[str] = None) -> list[tuple[int, Any]]:
        """Event time and element of what an output got."""
        return [(time, element) for time, _, element in self.windowed(output)]

    def elements(self, output: Optional[str] = None) -> list[Any]:
        """The elements that an output got."""
        return [element for _, _, element in self.windowed(output)]

    @property
    def failures(self) -> list[tuple[int, Failure]]:
        """The failed elements: place in the batch, and why."""
        return [(ran.order[row][0], failure) for ran in self.calls for row, failure in failed_rows(ran.frames[-1])]

    def all_good(self) -> 'Outcome':
        """The outcome, if nothing in it failed.

        Raises:
          Failure: the first one.
        """
        for _, failure in self.failures:
            raise failure
        return self

    def metric(self, name: str) -> Optional[int | tuple[int, int, int, int]]:
        """What the batch added to a metric: a counter's sum; of a distribution count, sum, minimum, maximum."""
        for ran in self.calls:
            payload = frame.find(ran.frames[-1], frame.METRICS)
            if payload is None:
                continue
            count = unpack_from('<I', payload)[0]
            names = payload[8 + count * 48:]
            for kind, _, start, end, *values in iter_unpack('<IIIIqqqq', payload[8:8 + count * 48]):
                if names[start:end].decode() == name:
                    return tuple(values) if kind else values[0]
        return None
