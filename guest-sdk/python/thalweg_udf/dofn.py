"""What a user writes for elements: a :class:`DoFn` as in Beam, and what its methods may ask for by their parameters."""
from typing import Any
from typing import Callable
from typing import Iterable
from typing import Optional


class _Output:
    """An element with more than itself."""

    __slots__ = ()

    def _parts(self) -> tuple:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other):
        return type(other) is type(self) and other._parts() == self._parts()

    def __hash__(self):
        return hash((type(self), self._parts()))

    def __repr__(self):
        return f'{type(self).__name__}({", ".join(map(repr, self._parts()))})'


class TaggedOutput(_Output):
    """An element for another output than the main one. ``value`` may be a TimestampedValue or a WindowedValue."""

    __slots__ = ('tag', 'value')

    def __init__(self, tag: str, value: Any):
        self.tag, self.value = tag, value


class TimestampedValue(_Output):
    """An element with an event time of its own, in milliseconds since 1970."""

    __slots__ = ('value', 'timestamp')

    def __init__(self, value: Any, timestamp: int):
        self.value, self.timestamp = value, timestamp


class WindowedValue(_Output):
    """An element with an event time and windows of its own."""

    __slots__ = ('value', 'timestamp', 'windows')

    def __init__(self, value: Any, timestamp: int, windows: Iterable[Any]):
        self.value, self.timestamp, self.windows = value, timestamp, windows


class Param:
    """The default of a parameter of ``process`` and its like: what the parameter gets."""

    def __init__(self, what: str, spec: Any = None):
        self.what, self.spec = what, spec

    def __repr__(self):
        return f'{self.what}Param'


class DoFn:
    """A function from one element to any number of outputs.

    One object of the class lives as long as its instance and sees many batches, on one thread. What it keeps in its own
    attributes is a cache: only state survives and is correct after a retry. What the pipeline has under ``config`` are the
    keyword arguments of the constructor.

    ``process`` gets the element, and by parameters with a default of the kind ``DoFn.TimestampParam`` what else it asks
    for. It yields or returns outputs: elements of the main output, or :class:`TaggedOutput`, :class:`TimestampedValue`,
    :class:`WindowedValue`.

    ::

        class Split(DoFn):
            def process(self, line: str) -> Iterator[str]:
                yield from line.split()

    Attributes:
      input: type of the elements; without it the annotation of ``process``'s element.
      outputs: type of each output by name, the main one first; without it ``main``, as ``process`` says it yields.
    """

    #: The element itself, under another name than the first parameter.
    ElementParam = Param('Element')
    #: The element's event time in milliseconds since 1970.
    TimestampParam = Param('Timestamp')
    #: The element's window; the first, if it has several. Elements of a keyed function have one.
    WindowParam = Param('Window')
    #: All windows of the element.
    WindowsParam = Param('Windows')
    #: The element's :class:`~thalweg_udf.PaneInfo`.
    PaneInfoParam = Param('PaneInfo')
    #: The key: of the element, of the timer, or of the window that is over.
    KeyParam = Param('Key')
    #: The processing time of the call in milliseconds since 1970: constant in a call, equal when it is retried.
    NowParam = Param('Now')
    #: A :class:`~thalweg_udf.SeededRandom`.
    RandomParam = Param('Random')
    #: In a timer's method: the tag it was set with, empty without one.
    DynamicTimerTagParam = Param('DynamicTimerTag')
    #: In a timer's method: when it was to fire, in milliseconds of its family's clock.
    FireTimestampParam = Param('FireTimestamp')

    input: Any = None
    outputs: Optional[dict[str, Any]] = None

    @staticmethod
    def StateParam(spec: Any) -> Any:
        """The state of a slot."""
        return Param('State', spec)

    @staticmethod
    def TimerParam(spec: Any) -> Any:
        """The timers of a family, to set and to clear."""
        return Param('Timer', spec)

    @staticmethod
    def SideInputParam(spec: Any) -> Any:
        """A side input."""
        return Param('SideInput', spec)

    @staticmethod
    def TableParam(spec: Any) -> Any:
        """A table."""
        return Param('Table', spec)

    def setup(self) -> None:
        """Begins the life of the instance."""

    def start_bundle(self) -> Optional[Iterable[Any]]:
        """Begins a bundle. Outputs are :class:`WindowedValue`."""

    def process(self, element: Any) -> Optional[Iterable[Any]]:
        """Handles one element.

        Raises:
          Failure: for a bad element, which then fails; so does any other exception.
        """
        raise NotImplementedError

    def finish_bundle(self) -> Optional[Iterable[Any]]:
        """Ends a bundle: what was gathered in attributes since it began has to leave now, as :class:`WindowedValue`."""

    def on_window_expiration(self) -> Optional[Iterable[Any]]:
        """Handles the end of a window of a key that kept something: the last chance to read its state."""

    def teardown(self) -> None:
        """Ends the life of the instance. It is not called after a trap."""


def on_timer(spec: Any) -> Callable[[Callable], Callable]:
    """Marks the method that handles the timers of a family that have come due."""

    def mark(method: Callable) -> Callable:
        method._timer = spec
        return method

    return mark


def dofn(function: Callable) -> type[DoFn]:
    """Makes a DoFn of a function from an element to its outputs, with type hints; it may ask for the same parameters.

    ::

        @dofn
        def split(line: str) -> Iterator[str]:
            yield from line.split()
    """
    made = type(function.__name__, (DoFn, ), {'process': staticmethod(function), '__doc__': function.__doc__})
    made.__module__ = function.__module__
    return made
