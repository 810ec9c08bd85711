"""Runs a function in an ordinary test, without Wasm and without a runner: the same loop, the same frames, a host that keeps state
in memory.

::

    @dofn
    def double(n: int) -> Iterator[int]:
        yield n * 2

    assert Kit(double).run([21]).elements() == [42]
"""
import logging
from typing import Any
from typing import Iterable
from typing import NamedTuple

from .. import frame
from ..component import Function
from ..component import plan
from ..dofn import TimestampedValue
from ..frame import EXPIRES
from ..frame import Writer
from ..logs import HostHandler
from ..side import AsMultiMap
from ..timers import TimeDomain
from ..windows import GlobalWindow
from ..windows import IntervalWindow
from ..windows import encode_set
from .outcome import Outcome
from .outcome import Ran
from .shapes import CombineKit
from .shapes import KeyKit
from .shapes import WindowKit
from .world import World

__all__ = ['CombineKit', 'KeyKit', 'Kit', 'Outcome', 'WindowKit']

PROCESS, START_BUNDLE, FINISH_BUNDLE = 0, 1, 2


class _Row(NamedTuple):
    """A row of a frame that the kit makes."""
    place: int
    time: int
    key: bytes
    value: bytes
    window: Any
    kind: int = 0
    fire: int = 0


class Kit:
    """One open DoFn, the state and timers of its keys, its side inputs and tables. All of it lives from one ``run`` to the next.

    Args:
      cls: the DoFn.
      config: what the pipeline has under ``config``.
    """

    def __init__(self, cls: type, config: Any = None):
        self._function = Function('it', cls)
        self._shape = self._function.shape
        self._world = World({i: slot.coder for i, slot in enumerate(self._shape.slots) if slot.kind == 'bag'})
        self._instance = self._function.open(plan(config), self._world)

    def page_bytes(self, size: int) -> None:
        """Grouped values of more than so many bytes come by page, as they do from the runner; 256 KiB without it."""
        self._world.page_bytes = size

    def side(self, spec: Any, elements: Iterable[Any]) -> None:
        """Fills a side input: with its elements, or with pairs of key and value."""
        coder = spec.coder
        pairs = isinstance(spec, AsMultiMap) or coder.keyed
        rows = [(coder.key.encode(e[0]), coder.value.encode(e[1])) if pairs else (b'', coder.encode(e)) for e in elements]
        self._world.sides[self._shape.sides.index(spec)] = rows

    def table(self, spec: Any, entries: dict) -> None:
        """Fills a table."""
        made = {spec.key.encode(key): spec.value.encode(value) for key, value in entries.items()}
        self._world.tables[self._shape.tables.index(spec)] = made

    def run(self, elements: Iterable[Any], *, timestamp: int = 0, window: Any = GlobalWindow()) -> Outcome:
        """Runs elements as one batch. Elements of a keyed function are brought together by key, as the runner does; the
        outcome counts them in the order given here.

        Args:
          elements: elements, or :class:`~thalweg_udf.TimestampedValue`.
          timestamp: the event time of those that have none.
        """
        rows, coder = [], self._shape.input
        for place, element in enumerate(elements):
            time = timestamp
            if isinstance(element, TimestampedValue):
                element, time = element.value, element.timestamp
            key, value = (b'', coder.encode(element)) if not coder.keyed else (coder.key.encode(element[0]),
                                                                               coder.value.encode(element[1]))
            rows.append(_Row(place, time, key, value, window))
        if self._shape.keyed:
            rows.sort(key=lambda row: row.key)  # the rows of a key keep their order
        outcome = Outcome(self._shape.outputs)
        if self._shape.bundles:
            self._call(START_BUNDLE, [], outcome)
        self._call(PROCESS, rows, outcome)
        if self._shape.bundles:
            self._call(FINISH_BUNDLE, [], outcome)
        return outcome

    def advance_watermark(self, to: float) -> Outcome:
        """Moves the watermark on: event-time timers up to it fire, in the order of time, and windows that it has passed expire
        with what their keys kept. ``math.inf`` ends the global window too.

        Raises:
          Failure: what the function says to a timer or the end of a window.
        """
        outcome = self._fire(TimeDomain.WATERMARK, to)
        for group in self._world.expired(to):
            key, window = group
            if self._shape.expires:
                time = window.max_timestamp() if isinstance(window, IntervalWindow) else 0
                self._call(PROCESS, [_Row(0, time, key, b'', window, EXPIRES, time)], outcome)
            self._world.forget(group)
        return outcome.all_good()

    def advance_clock(self, to: int) -> Outcome:
        """Moves the clock on, to milliseconds since 1970: processing-time timers up to it fire, in the order of time."""
        self._world.now = to
        return self._fire(TimeDomain.REAL_TIME, to).all_good()

    @property
    def timers(self) -> list[tuple[str, str, int]]:
        """The timers that are set: name of the family, tag, and when it fires."""
        names = [timer.name for timer in self._shape.timers]
        return sorted((names[family], tag, fire) for (_, family, tag), (fire, _) in self._world.timers.items())

    @property
    def state_calls(self) -> int:
        """How often the function asked the host about state so far."""
        return self._world.calls

    def close(self) -> None:
        """Drops the instance."""
        self._instance.close()

    def _fire(self, domain: str, to: float) -> Outcome:
        outcome = Outcome(self._shape.outputs)

        def ours(family: int) -> bool:
            return self._shape.timers[family].time_domain == domain

        while due := self._world.due(to, ours):
            rows = [_Row(0, hold, key, tag.encode(), window, family + 1, fire)
                    for ((key, window), family, tag), (fire, hold) in due]
            self._call(PROCESS, rows, outcome)
        return outcome

    def _call(self, op: int, rows: list[_Row], outcome: Outcome) -> None:
        world = self._world
        handler, root = HostHandler(world.log), logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            result = self._instance.call(op, self._frame(rows))
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
            frames, world.emitted = world.emitted, []
            outcome.logs += world.logs
            world.logs = []
        timers = self._shape.timers
        world.apply(result, [row.time for row in rows], lambda family: timers[family].time_domain == TimeDomain.WATERMARK)
        outcome.calls.append(Ran([*frames, result], [(row.place, row.time, row.window) for row in rows]))

    def _frame(self, rows: list[_Row]) -> bytes:
        groups: list[tuple[bytes, Any]] = []
        group = []
        for row in rows:
            if not groups or groups[-1] != (row.key, row.window):
                groups.append((row.key, row.window))
            group.append(len(groups) - 1)
        self._world.begin()
        coder = self._shape.input.value if self._shape.input.keyed else self._shape.input
        heads = [None if row.kind else self._world.cut(coder, row.value) for row in rows]
        data = [head[0] if head else row.value for row, head in zip(rows, heads)] + [key for key, _ in groups]
        places = frame.ranges(data)
        keys = [places[2 * (len(rows) + i):2 * (len(rows) + i) + 2] for i in range(len(groups))]
        writer = Writer(len(rows))
        if any(row.kind for row in rows):
            writer.section(frame.KIND, frame.numbers('B', [row.kind for row in rows]))
            writer.section(frame.FIRE, frame.numbers('q', [row.fire for row in rows]))
        tokens = [(i, head[1]) for i, head in enumerate(heads) if head]
        if tokens:
            ends = frame.ranges([token for _, token in tokens])
            entries = [number for i, (row, _) in enumerate(tokens) for number in (row, 0, ends[2 * i], ends[2 * i + 1])]
            writer.table(frame.LARGE, (len(tokens), 0), frame.numbers('I', entries), [token for _, token in tokens])
        writer.section(frame.TIME, frame.numbers('q', [row.time for row in rows]))
        writer.section(frame.VALUE, frame.numbers('I', places[:2 * len(rows)]))
        writer.section(frame.ARENA, b''.join(data))
        writer.section(frame.WINDOWS, frame.numbers('I', group))
        writer.dictionary(frame.WINDOW_SETS, [encode_set([window]) for _, window in groups])
        writer.section(frame.CLOCK, frame.numbers('q', [self._world.now]))
        writer.section(frame.SEED, frame.numbers('Q', [7]))
        for i, table in enumerate(self._shape.tables):
            if table.by_key:
                self._world.table_cells(writer, i, [row.key for row in rows])
        if not self._shape.keyed:
            writer.section(frame.KEY, frame.numbers('I', sum((keys[i] for i in group), [])))
            return writer.finish()
        writer.section(frame.GROUP, frame.numbers('I', group))
        entries = [number for i, key in enumerate(keys) for number in (*key, i, 0)]
        writer.table(frame.GROUPS, (len(groups), 0), frame.numbers('I', entries), [])
        self._world.groups = groups
        for i, slot in enumerate(self._shape.slots):
            if slot.eager:
                self._world.cells(writer, i, range(len(groups)))
        return writer.finish()
