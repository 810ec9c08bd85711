"""WindowFns: which windows an element gets, and how the windows of a key merge."""
from itertools import groupby
from typing import Any
from typing import Iterable
from typing import Optional

from . import failure as failures
from . import frame
from . import moment
from . import outputs
from .coders import BytesCoder
from .coders import coder_of
from .failure import Failure
from .frame import Input
from .frame import Writer
from .runner import no_operation
from .windows import IntervalWindow
from .windows import encode_set

ASSIGN, MERGE = 32, 33


class AssignContext:
    """What ``assign`` gets.

    Attributes:
      timestamp: the element's event time in milliseconds since 1970.
      element: the element, if the class has an attribute ``input``.
    """

    def __init__(self, timestamp: int, element: Any = None):
        self.timestamp, self.element = timestamp, element


class MergeContext:
    """What ``merge`` gets: the windows of a key.

    Attributes:
      windows: the windows, in no particular order.
    """

    def __init__(self, windows: list[IntervalWindow]):
        self.windows = windows
        self.merged: list[tuple[IntervalWindow, list[int]]] = []
        self._used: set[int] = set()

    def merge(self, to_be_merged: Iterable[IntervalWindow], merge_result: IntervalWindow) -> None:
        """Says that some of the windows become one."""
        wanted = set(to_be_merged)
        places = [i for i, window in enumerate(self.windows) if window in wanted]
        if len({self.windows[i] for i in places}) != len(wanted) or self._used.intersection(places):
            raise Failure('MERGE', 'a merge names a window that is not there, or twice')
        self._used.update(places)
        self.merged.append((merge_result, places))


class WindowFn:
    """Gives elements their windows. The methods are Beam's. A class that has a ``merge`` is one whose windows merge;
    :func:`merge_overlapping` is what sessions want.

    ::

        class Sessions(WindowFn):
            def assign(self, context):
                return [IntervalWindow(context.timestamp, context.timestamp + 600_000)]

            def merge(self, merge_context):
                merge_overlapping(merge_context)

    Attributes:
      input: type of the elements, if it looks at them. Else it sees their times alone.
    """

    AssignContext = AssignContext
    MergeContext = MergeContext
    input: Any = None
    merge: Any = None

    def setup(self) -> None:
        """Begins the life of the instance."""

    def assign(self, context: AssignContext) -> list[IntervalWindow]:
        """The windows of an element, at least one. An element that cannot have windows fails the bundle."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Ends the life of the instance."""


def merge_overlapping(context: MergeContext) -> None:
    """Merges windows that share an instant into the window that spans them."""
    into: Optional[IntervalWindow] = None
    members: list[IntervalWindow] = []
    for window in [*sorted(set(context.windows)), None]:
        if window is not None and into is not None and window.start < into.end:
            into = IntervalWindow(into.start, max(into.end, window.end))
            members.append(window)
            continue
        if into is not None and len(members) > 1:
            context.merge(members, into)
        into, members = window, [window] if window is not None else []


def describe(cls: type[WindowFn]) -> dict[str, Any]:
    """The function in the description of its component, without its name."""
    coder = BytesCoder() if cls.input is None else coder_of(cls.input)
    described: dict[str, Any] = {'kind': 'windowfn', 'input': coder.describe(), 'outputs': []}
    if cls.merge is not None:
        described['merges'] = True
    if cls.input is not None:
        described['element'] = True
    return described


class Runner:
    """A WindowFn that is open."""

    def __init__(self, fn: WindowFn):
        self._fn = fn
        self._coder = None if fn.input is None else coder_of(fn.input)
        fn.setup()

    def call(self, op: int, data: bytes) -> bytes:
        """Runs an operation on a frame and gives the frame with the results."""
        input = Input(data)
        moment.begin(input)
        if op == ASSIGN:
            return self._assign(input)
        if op == MERGE and self._fn.merge is not None:
            return self._merge(input)
        raise no_operation('WindowFn', op)

    def _windows(self, row: int, input: Input) -> list[IntervalWindow]:
        element, coder = None, self._coder
        if coder is not None and coder.keyed:
            element = coder.key.decode(input.keys[row]), coder.value.decode(input.values[row])
        elif coder is not None:
            element = coder.decode(input.values[row])
        windows = list(self._fn.assign(AssignContext(input.time[row], element)))
        if not windows:
            raise Failure('NO_WINDOW', 'the element has no window')
        return windows

    def _assign(self, input: Input) -> bytes:
        failed: list[tuple[int, Failure]] = []
        sets: dict[bytes, int] = {}
        column = []
        for row in range(input.rows):
            try:
                entry = encode_set(self._windows(row, input))
            except Exception as error:
                failed.append((row, failures.of(error)))
                entry = encode_set([IntervalWindow(0, 1)])
            column.append(sets.setdefault(entry, len(sets)))
        writer = Writer(input.rows)
        writer.section(frame.SOURCE, frame.numbers('I', range(input.rows)))
        writer.section(frame.WINDOWS, frame.numbers('I', column))
        writer.dictionary(frame.WINDOW_SETS, list(sets))
        outputs.failed(failed, writer)
        return writer.finish()

    def _merge(self, input: Input) -> bytes:
        values: list[bytes] = []
        target = [0] * input.rows
        of_group = (lambda row: input.group[row]) if input.group else (lambda _: 0)
        for _, rows in groupby(range(input.rows), of_group):
            rows = list(rows)
            context = MergeContext([IntervalWindow.decode(input.values[row]) for row in rows])
            self._fn.merge(context)
            places: dict[int, int] = {}
            for into, members in context.merged:
                places.update((member, len(values)) for member in members)
                values.append(into.encode())
            for i, row in enumerate(rows):
                if i not in places:
                    places[i] = len(values)
                    values.append(input.values[row])
                target[row] = places[i]
        writer = outputs.values(values)
        writer.section(frame.TARGET, frame.numbers('I', target))
        return writer.finish()

    def close(self) -> None:
        """The instance is dropped."""
        self._fn.teardown()
