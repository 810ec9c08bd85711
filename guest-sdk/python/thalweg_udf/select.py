"""Key selectors: every element gets a key."""
from typing import Any
from typing import Callable

from . import failure as failures
from . import moment
from . import outputs
from .coders import coder_of
from .failure import Failure
from .frame import Input
from .runner import no_operation
from .shape import first_parameter
from .shape import hint_of


class KeySelector:
    """Gives elements their key. The types are the annotations of ``key``, or the attributes ``input`` and ``output``."""

    input: Any = None
    output: Any = None

    def setup(self) -> None:
        """Begins the life of the instance."""

    def key(self, element: Any) -> Any:
        """The key of an element. An element that has none fails the bundle."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Ends the life of the instance."""


def key_selector(function: Callable) -> type[KeySelector]:
    """Makes a KeySelector of a function with type hints.

    ::

        @key_selector
        def first_word(line: str) -> str:
            return line.split()[0]
    """
    members = {
        'key': staticmethod(function),
        'input': hint_of(function, first_parameter(function)),
        'output': hint_of(function, 'return'),
        '__doc__': function.__doc__,
    }
    return type(function.__name__, (KeySelector, ), members)


def _coders(cls: type[KeySelector]) -> tuple:
    hints = cls.input, cls.output
    if None in hints:
        element = list(cls.key.__code__.co_varnames)[1]
        hints = cls.input or hint_of(cls.key, element), cls.output or hint_of(cls.key, 'return')
    if None in hints:
        raise TypeError(f'{cls.__name__}.key needs types for its element and its result')
    return coder_of(hints[0]), coder_of(hints[1])


def describe(cls: type[KeySelector]) -> dict[str, Any]:
    """The function in the description of its component, without its name."""
    element, key = _coders(cls)
    outputs_ = [{'name': 'key', 'coder': key.describe()}]
    return {'kind': 'keyselector', 'input': element.describe(), 'outputs': outputs_}


class Runner:
    """A key selector that is open."""

    def __init__(self, fn: KeySelector):
        self._fn = fn
        self.coders = self._element, self._key = _coders(type(fn))
        fn.setup()

    def call(self, op: int, data: bytes) -> bytes:
        """Runs the operation on a frame and gives the frame with the keys."""
        if op != 0:
            raise no_operation('key selector', op)
        input = Input(data)
        moment.begin(input)
        made: list[bytes] = []
        failed: list[tuple[int, Failure]] = []
        coder = self._element
        for row in range(input.rows):
            try:
                if coder.keyed:
                    element = coder.key.decode(input.keys[row]), coder.value.decode(input.values[row])
                else:
                    element = coder.decode(input.values[row])
                made.append(self._key.encode(self._fn.key(element)))
            except Exception as error:
                failed.append((row, failures.of(error)))
                made.append(b'')
        writer = outputs.values(made)
        outputs.failed(failed, writer)
        return writer.finish()

    def close(self) -> None:
        """The instance is dropped."""
        self._fn.teardown()
