"""A DoFn at work: the loop that runs it over the rows of a frame."""
from itertools import islice
from typing import Any
from typing import Callable
from typing import Optional

from . import failure as failures
from . import metrics
from . import moment
from . import outputs
from .coders import IterableCoder
from .dofn import Param
from .dofn import TaggedOutput
from .dofn import TimestampedValue
from .dofn import WindowedValue
from .failure import Failure
from .frame import EXPIRES
from .frame import NONE
from .frame import ONLY_FIRING
from .frame import BadFrame
from .frame import Input
from .moment import place
from .outputs import Rows
from .shape import Shape
from .shape import bind
from .side import Reads
from .side import SideList
from .side import SideMultiMap
from .side import TableReader
from .slots import StateSpec
from .state import State
from .timers import Timer
from .timers import Timers
from .values import of_row
from .windows import GlobalWindow
from .windows import PaneInfo
from .windows import decode_set

#: Outputs leave before the call ends when they are this large.
FLUSH_BYTES = 256 * 1024

#: At most as many elements are encoded together.
CHUNK_MAX = 128

PROCESS, START_BUNDLE, FINISH_BUNDLE = 0, 1, 2

_NO_OUTPUTS = frozenset((str, bytes, dict))


def no_operation(kind: str, op: int) -> Failure:
    """The refusal of an operation."""
    return Failure('NO_OPERATION', f'a {kind} has no operation {op}')


class Runner:
    """A DoFn that is open."""

    def __init__(self, shape: Shape, dofn: Any, host: Any):
        self._shape, self._dofn, self._host = shape, dofn, host
        self._timers, self._reads = Timers(), Reads(host)
        self._rows = Rows(any(coder.keyed for _, coder in shape.outputs), len(shape.outputs) > 1)
        self._state = State(shape.slots, host)
        self._input: Any = None
        self._failed: list[tuple[int, Failure]] = []
        self._chunk = 16
        self._outputs = {name: (i, coder) for i, (name, coder) in enumerate(shape.outputs)}
        self._main = self._outputs[shape.outputs[0][0]] if shape.outputs else None
        bound = {name: bind(getattr(dofn, name), self._give, name == 'process') for name in shape.methods}
        self._process = bound['process']
        self._start, self._finish = bound.get('start_bundle'), bound.get('finish_bundle')
        self._expired = bound.get('on_window_expiration')
        self._fired = [bound.get(shape.on_timer.get(timer.name, '')) for timer in shape.timers]
        dofn.setup()

    def _give(self, param: Param) -> tuple[Any, Optional[Callable[[], Any]]]:
        """What a parameter gets: once and for all, or anew for each row."""
        spec, shape = param.spec, self._shape
        if isinstance(spec, StateSpec):
            place = shape.slots.index(spec)
            return spec.bind(self._state.slots[place]), None
        if param.what == 'Timer':
            return Timer(self._timers, shape.timers.index(spec)), None
        if param.what == 'SideInput':
            reader = SideMultiMap if spec.access == 'multimap' else SideList
            return reader(self._reads, shape.sides.index(spec), spec), None
        if param.what == 'Table':
            return TableReader(self._reads, shape.tables.index(spec), spec), None
        if param.what == 'Random':
            return moment.numbers, None
        return None, getattr(self, f'_{param.what.lower()}')

    def _timestamp(self) -> int:
        return self._input.time[place.row]

    def _windows(self) -> list:
        windows = self._input.windows
        sets = self._input.window_sets
        return decode_set(sets[windows[place.row] if windows else 0]) if sets else [GlobalWindow()]

    def _window(self) -> Any:
        return next(iter(self._windows()), GlobalWindow())

    def _paneinfo(self) -> PaneInfo:
        panes, column = self._input.panes, self._input.pane
        return PaneInfo(panes[column[place.row] if column else 0] if panes else ONLY_FIRING)

    def _key(self) -> Any:
        coder = self._shape.input
        return coder.key.decode(self._input.keys[place.row]) if coder.keyed else None

    def _now(self) -> int:
        return moment.now

    def _dynamictimertag(self) -> str:
        return self._input.values[place.row].decode()

    def _firetimestamp(self) -> int:
        return self._input.fire[place.row]

    def call(self, op: int, data: bytes) -> bytes:
        """Runs an operation on a frame and gives the frame with the results.

        Raises:
          BadFrame: when the frame is none.
          Failure: when the call as a whole could not be done.
        """
        input = self._input = Input(data)
        moment.begin(input)
        self._rows.clear()
        self._failed = []
        self._timers.begin()
        self._state.begin(len(input.groups))
        self._reads.begin(input)
        if op == PROCESS:
            self._run(input)
        elif op in (START_BUNDLE, FINISH_BUNDLE):
            self._bundle(self._start if op == START_BUNDLE else self._finish)
        else:
            raise no_operation('DoFn', op)
        return self._end()

    def _run(self, input: Input) -> None:
        """Runs the rows. What is the same for all of them is looked up once."""
        process, emit, element, elements = self._process, self._emit, self._element(input), not input.kind
        group, windows, keyed, counted = input.group, input.windows, self._shape.keyed, metrics.changed
        for row in range(input.rows):
            place.row = row
            if counted:
                counted.clear()
            if windows:
                place.windows = windows[row]
            if keyed and place.group != (group[row] if group else 0):
                self._state.enter(group[row] if group else 0, input)
            try:
                given = process(element(row)) if elements or not input.kind[row] else self._due(input.kind[row])
                if given is not None:
                    emit(given, row)
            except BadFrame:
                raise
            except (Exception, SystemExit) as error:
                self._fail(row, failures.of(error))

    def _element(self, input: Input) -> Callable[[int], Any]:
        """What reads the element of a row."""
        coder, keys, values = self._shape.input, input.keys, input.values
        if isinstance(coder, IterableCoder):
            return lambda row: self._values(coder, row)
        if not coder.keyed:
            decode = coder.fast()[1]

            def alone(row: int) -> Any:
                try:
                    return decode(values[row])
                except ValueError:
                    return coder.decode(values[row])

            return alone
        read_key, read_value, lists = coder.key.decode, coder.value.decode, isinstance(coder.value, IterableCoder)
        # the rows of a key stand together, mostly
        last: list[Any] = [None, None]

        def pair(row: int) -> Any:
            data = keys[row]
            if data is not last[0]:
                last[:] = data, read_key(data)
            if lists:
                return last[1], self._values(coder.value, row)
            return last[1], read_value(values[row])

        return pair

    def _values(self, coder: IterableCoder, row: int) -> Any:
        """The list of a row."""
        token = self._input.large.get(row)
        return of_row(coder, self._input.values[row], token, self._host.iterables_read if token is not None else None)

    def _due(self, kind: int) -> Any:
        """A timer, or the end of a window."""
        if kind == EXPIRES:
            method = self._expired
        else:
            method = self._fired[kind - 1] if kind <= len(self._fired) else None
        return method() if method is not None else None

    def _emit(self, given: Any, row: int) -> None:
        if type(given) in _NO_OUTPUTS:
            raise TypeError(f'a method yields outputs or returns a list of them, and does not return a {type(given).__name__}')
        coder = self._main[1] if self._main is not None else None
        if coder is None or not coder.immutable or self._rows.keyed or self._rows.output is not None:
            for item in given:
                self._place(item, row)
            return
        # nearly all elements go to the main output with nothing of their own
        encode, elements = coder.fast()[0], iter(given)
        while chunk := list(islice(elements, self._chunk)):
            try:
                if not self._rows.is_plain():
                    raise TypeError
                size = self._rows.extend(row, list(map(encode, chunk)))
                # large ones are not gathered
                self._chunk = max(1, min(CHUNK_MAX, FLUSH_BYTES // 4 * len(chunk) // size))
            except (TypeError, ValueError, Failure):
                for item in chunk:
                    self._place(item, row)
            if self._rows.size >= FLUSH_BYTES:
                self._flush()

    def _place(self, item: Any, row: int) -> None:
        """Puts out an element with what it has of its own."""
        output, time, windows = self._main, None, None
        if type(item) is TaggedOutput:
            output = self._outputs.get(item.tag)
            if output is None:
                raise KeyError(f'there is no output {item.tag!r}')
            item = item.value
        if type(item) is TimestampedValue:
            item, time = item.value, item.timestamp
        elif type(item) is WindowedValue:
            item, time, windows = item.value, item.timestamp, item.windows
        if output is None:
            raise TypeError('the function has no outputs')
        self._rows.push(output[0], row, output[1], item, time, windows)
        if self._rows.size >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        # rows of an element that fails later are dropped by the host, so it does not matter that they have left
        self._host.emit(self._rows.write().finish())
        self._rows.clear()

    def _bundle(self, method: Optional[Callable]) -> None:
        given = method() if method is not None else None
        items = list(given) if given is not None else []
        for item in items:
            inner = item.value if type(item) is TaggedOutput else item
            if type(inner) is not WindowedValue:
                raise Failure('NO_WINDOW', 'what leaves at the end of a bundle is a WindowedValue')
        self._emit(items, NONE)

    def _fail(self, row: int, failure: Failure) -> None:
        self._state.undo(row)
        self._timers.undo(row)
        metrics.undo()
        self._failed.append((row, failure))

    def _end(self) -> bytes:
        writer = self._rows.write()
        self._state.finish(writer)
        self._timers.finish(writer)
        outputs.failed(self._failed, writer)
        metrics.drain(writer)
        place.row = -1
        return writer.finish()

    def close(self) -> None:
        """The instance is dropped."""
        self._dofn.teardown()
