"""CombineFns: values of a key become an accumulator, accumulators become one, and that one an output. One call has the values
of many keys.
"""
from typing import Any
from typing import Callable
from typing import Iterable

from . import failure as failures
from . import moment
from . import outputs
from .coders import Coder
from .coders import coder_of
from .failure import Failure
from .frame import BadFrame
from .frame import Input
from .runner import no_operation
from .shape import hint_of

ADD, MERGE, EXTRACT, COMPACT = 16, 17, 18, 19


class CombineFn:
    """Sums up the values of a key, in any order and in parts. The methods are Beam's.

    The types are the annotations: of ``add_input``'s second parameter, of what ``create_accumulator`` and ``extract_output``
    return; or the attributes ``input``, ``accumulator`` and ``output``.

    ::

        class Mean(CombineFn):
            def create_accumulator(self) -> tuple[int, int]:
                return 0, 0

            def add_input(self, accumulator, value: int):
                return accumulator[0] + 1, accumulator[1] + value

            def merge_accumulators(self, accumulators):
                counts, sums = zip(*accumulators)
                return sum(counts), sum(sums)

            def extract_output(self, accumulator) -> float:
                return accumulator[1] / accumulator[0]
    """

    input: Any = None
    accumulator: Any = None
    output: Any = None

    def setup(self) -> None:
        """Begins the life of the instance."""

    def create_accumulator(self) -> Any:
        """The accumulator of no values."""
        raise NotImplementedError

    def add_input(self, accumulator: Any, value: Any) -> Any:
        """The accumulator with a value more. It may be the same object, changed. A value that cannot be added fails the bundle."""
        raise NotImplementedError

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """One accumulator of what several know; there is at least one."""
        raise NotImplementedError

    def compact(self, accumulator: Any) -> Any:
        """An accumulator that means the same and is smaller, before it is stored or sent."""
        return accumulator

    def extract_output(self, accumulator: Any) -> Any:
        """The result."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Ends the life of the instance."""

    @classmethod
    def _coder(cls, declared: Any, method: Callable, name: str) -> Coder:
        hint = declared if declared is not None else hint_of(method, name)
        if hint is None:
            raise TypeError(f'{cls.__name__}.{method.__name__} needs a type for {name}')
        return coder_of(hint)

    @classmethod
    def input_coder(cls) -> Coder:
        """The coder of the values."""
        code = cls.add_input.__code__
        return cls._coder(cls.input, cls.add_input, code.co_varnames[code.co_argcount - 1])

    @classmethod
    def accumulator_coder(cls) -> Coder:
        """The coder of the accumulators."""
        return cls._coder(cls.accumulator, cls.create_accumulator, 'return')

    @classmethod
    def output_coder(cls) -> Coder:
        """The coder of the results."""
        return cls._coder(cls.output, cls.extract_output, 'return')


def describe(cls: type[CombineFn]) -> dict[str, Any]:
    """The function in the description of its component, without its name."""
    return {
        'kind': 'combinefn',
        'input': cls.input_coder().describe(),
        'accumulator': cls.accumulator_coder().describe(),
        'outputs': [{'name': 'main', 'coder': cls.output_coder().describe()}],
    }


class Runner:
    """A CombineFn that is open."""

    def __init__(self, fn: CombineFn):
        self._fn = fn
        self._input, self._accumulator, self._output = fn.input_coder(), fn.accumulator_coder(), fn.output_coder()
        fn.setup()

    def call(self, op: int, data: bytes) -> bytes:
        """Runs an operation on a frame and gives the frame with the results."""
        input = Input(data)
        moment.begin(input)
        failed: list[tuple[int, Failure]] = []
        if op == ADD:
            made = self._groups(input, failed, self._add)
        elif op == MERGE:
            made = self._groups(input, failed, self._merge)
        elif op in (EXTRACT, COMPACT):
            made = self._rows(input, failed, op)
        else:
            raise no_operation('CombineFn', op)
        writer = outputs.values(made)
        outputs.failed(failed, writer)
        return writer.finish()

    def _groups(self, input: Input, failed: list, fold: Callable[[Input, range, list], Any]) -> list[bytes]:
        """One accumulator per group of the frame, whose rows stand together."""
        made, row = [], 0
        for group in range(len(input.groups)):
            first = row
            while row < input.rows and input.group[row] == group:
                row += 1
            made.append(self._accumulator.encode(self._fn.compact(fold(input, range(first, row), failed))))
        if row < input.rows:
            raise BadFrame('the rows of a group do not stand together')
        return made

    def _add(self, input: Input, rows: range, failed: list) -> Any:
        accumulator, add, decode = self._fn.create_accumulator(), self._fn.add_input, self._input.decode
        for row in rows:
            try:
                # a value that is a pair stands in one column, whole: the group has the key
                accumulator = add(accumulator, decode(input.values[row]))
            except Exception as error:
                failed.append((row, failures.of(error)))
        return accumulator

    def _merge(self, input: Input, rows: range, failed: list) -> Any:
        found = []
        for row in rows:
            try:
                found.append(self._accumulator.decode(input.values[row]))
            except Exception as error:
                failed.append((row, failures.of(error)))
        if not found:
            return self._fn.create_accumulator()
        return self._fn.merge_accumulators(found) if len(found) > 1 else found[0]

    def _rows(self, input: Input, failed: list, op: int) -> list[bytes]:
        made = []
        for row, data in enumerate(input.values):
            try:
                accumulator = self._accumulator.decode(data)
                if op == EXTRACT:
                    made.append(self._output.encode(self._fn.extract_output(accumulator)))
                else:
                    made.append(self._accumulator.encode(self._fn.compact(accumulator)))
            except Exception as error:
                failed.append((row, failures.of(error)))
                made.append(b'')
        return made

    def close(self) -> None:
        """The instance is dropped."""
        self._fn.teardown()
