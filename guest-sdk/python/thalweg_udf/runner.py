"""A DoFn at work: the loop that runs it over the rows of a frame."""
from typing import Any
from typing import Callable
from typing import Optional

from . import failure as failures
from . import metrics
from . import moment
from . import outputs
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
from .windows import GlobalWindow
from .windows import PaneInfo
from .windows import decode_set

#: Outputs leave before the call ends when they are this large.
FLUSH_BYTES = 256 * 1024

PROCESS, START_BUNDLE, FINISH_BUNDLE = 0, 1, 2


def no_operation(kind: str, op: int) -> Failure:
    """The refusal of an operation."""
    return Failure('NO_OPERATION', f'a {kind} has no operation {op}')


class Runner:
    """A DoFn that is open."""

    def __init__(self, shape: Shape, dofn: Any, host: Any):
        self._shape, self._dofn, self._host = shape, dofn, host
        self._rows, self._timers, self._reads = Rows(), Timers(), Reads(host)
        self._state = State(shape.slots, host)
        self._input: Any = None
        self._row = 0
        self._failed: list[tuple[int, Failure]] = []
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
        return self._input.time[self._row]

    def _windows(self) -> list:
        windows = self._input.windows
        sets = self._input.window_sets
        return decode_set(sets[windows[self._row] if windows else 0]) if sets else [GlobalWindow()]

    def _window(self) -> Any:
        return next(iter(self._windows()), GlobalWindow())

    def _paneinfo(self) -> PaneInfo:
        panes, column = self._input.panes, self._input.pane
        return PaneInfo(panes[column[self._row] if column else 0] if panes else ONLY_FIRING)

    def _key(self) -> Any:
        coder = self._shape.input
        return coder.key.decode(self._input.keys[self._row]) if coder.keyed else None

    def _now(self) -> int:
        return moment.now

    def _dynamictimertag(self) -> str:
        return self._input.values[self._row].decode()

    def _firetimestamp(self) -> int:
        return self._input.fire[self._row]

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
            for row in range(input.rows):
                self._enter(row, input)
                try:
                    self._run(row, input)
                except BadFrame:
                    raise
                except (Exception, SystemExit) as error:
                    self._fail(row, failures.of(error))
        elif op in (START_BUNDLE, FINISH_BUNDLE):
            self._bundle(self._start if op == START_BUNDLE else self._finish)
        else:
            raise no_operation('DoFn', op)
        return self._end()

    def _enter(self, row: int, input: Input) -> None:
        self._row = moment.row = self._reads.row = self._timers.row = row
        metrics.enter()
        if input.windows:
            self._reads.windows = input.windows[row]
        if self._shape.keyed:
            group = self._timers.group = input.group[row] if input.group else 0
            self._state.enter(row, group, input)

    def _run(self, row: int, input: Input) -> None:
        kind = input.kind[row] if input.kind else 0
        if kind == 0:
            coder = self._shape.input
            if coder.keyed:
                element = coder.key.decode(input.keys[row]), coder.value.decode(input.values[row])
            else:
                element = coder.decode(input.values[row])
            self._emit(self._process(element), row)
        elif kind == EXPIRES:
            if self._expired is not None:
                self._emit(self._expired(), row)
        else:
            fired = self._fired[kind - 1] if kind <= len(self._fired) else None
            if fired is not None:
                self._emit(fired(), row)

    def _emit(self, given: Any, row: int) -> None:
        if given is None:
            return
        if isinstance(given, (str, bytes, dict)):
            raise TypeError(f'a method yields outputs or returns a list of them, and does not return a {type(given).__name__}')
        rows, main = self._rows, self._main
        for item in given:
            output, time, windows = main, None, None
            if type(item) is TaggedOutput:
                output = self._outputs.get(item.tag)
                if output is None:
                    raise KeyError(f'there is no output {item.tag!r}')
                item = item.value
            if type(item) is TimestampedValue:
                item, time = item
            elif type(item) is WindowedValue:
                item, time, windows = item
            if output is None:
                raise TypeError('the function has no outputs')
            rows.push(output[0], row, output[1], item, time, windows)
            if rows.size >= FLUSH_BYTES:
                # rows of an element that fails later are dropped by the host, so it does not matter that they have left
                self._host.emit(rows.write().finish())
                rows.clear()

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
        moment.row = None
        return writer.finish()

    def close(self) -> None:
        """The instance is dropped."""
        self._dofn.teardown()
