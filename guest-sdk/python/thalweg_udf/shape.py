"""What a DoFn class says about itself: the types of its elements and outputs, and the state, timers, side inputs and tables that
its methods ask for. In: the class. Out: its description, and its methods bound to what they ask for.
"""
import collections.abc
import inspect
import types
import typing
from typing import Any
from typing import Callable
from typing import Optional

from .coders import coder_of
from .dofn import DoFn
from .dofn import Param
from .dofn import TaggedOutput
from .dofn import TimestampedValue
from .dofn import WindowedValue
from .side import AsList
from .side import Table
from .slots import StateSpec
from .timers import TimerSpec

_WRAPPERS = (TaggedOutput, TimestampedValue, WindowedValue, type(None))
_MANY = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator, collections.abc.Sequence, list)


def hint_of(function: Callable, name: str) -> Any:
    """The annotation of a parameter or of ``return``; None without one."""
    return typing.get_type_hints(function).get(name)


def first_parameter(method: Callable) -> str:
    """The name of the parameter that gets the element."""
    return next(iter(inspect.signature(method).parameters))


def _members(hint: Any) -> list[Any]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return [part for part in (typing.get_args(hint) if union else (hint, )) if part not in _WRAPPERS]


def _main_output(owner: str, hint: Any) -> dict[str, Any]:
    """The main output by what ``process`` says it yields."""
    for part in _members(hint) if hint is not None else ():
        if typing.get_origin(part) in _MANY:
            # an Optional element is one that may be None, and stays whole
            element = typing.get_args(part)[0]
            kept = [member for member in typing.get_args(element) if member not in _WRAPPERS[:3]]
            union = typing.get_origin(element) in (typing.Union, types.UnionType)
            return {'main': typing.Union[tuple(kept)] if union else element}
        raise TypeError(f'{owner}: process yields outputs or returns a list of them, and does not return {part!r}')
    return {}


class Shape:
    """What a DoFn class is.

    Attributes:
      cls: the class.
      input: coder of the elements.
      outputs: name and coder of each output.
      slots, timers, sides, tables: what is declared, in the order of the description.
      bundles, expires: whether the class has methods for the ends of bundles, and for the end of windows.
    """

    def __init__(self, cls: type[DoFn]):
        self.cls = cls
        methods = ('process', 'start_bundle', 'finish_bundle', 'on_window_expiration')
        self.methods = {name: getattr(cls, name) for name in methods if getattr(cls, name) is not getattr(DoFn, name)}
        if 'process' not in self.methods:
            raise TypeError(f'{cls.__name__} has no process')
        self.on_timer: dict[str, str] = {}
        for name in dir(cls):
            spec = getattr(getattr(cls, name), '_timer', None)
            if spec is not None:
                self.on_timer[spec.name] = name
                self.methods[name] = getattr(cls, name)
        specs = self._specs()
        self.slots = self._of(specs, StateSpec)
        self.timers = self._of(specs, TimerSpec)
        self.sides = self._of(specs, AsList)
        self.tables = self._of(specs, Table)
        self.bundles = bool({'start_bundle', 'finish_bundle'} & self.methods.keys())
        self.expires = 'on_window_expiration' in self.methods
        self.keyed = bool(self.slots or self.timers or self.expires)
        self.input = coder_of(self._input())
        outputs = cls.outputs
        if outputs is None:
            outputs = _main_output(cls.__name__, hint_of(cls.process, 'return'))
        self.outputs = [(name, coder_of(hint)) for name, hint in outputs.items()]
        if self.keyed and not self.input.keyed:
            raise TypeError(f'{cls.__name__} has state or timers: its elements have to be pairs of key and value')

    def _input(self) -> Any:
        if self.cls.input is not None:
            return self.cls.input
        # without `self`, whatever kind of method it is
        name = first_parameter(inspect.unwrap(self.cls.process)) if isinstance(
            inspect.getattr_static(self.cls, 'process'), staticmethod) else list(inspect.signature(self.cls.process).parameters)[1]
        hint = hint_of(self.cls.process, name)
        if hint is None:
            raise TypeError(f'{self.cls.__name__}.process: the parameter {name} needs a type, or the class an attribute `input`')
        return hint

    def _specs(self) -> list[Any]:
        """What is declared as attributes of the class first, then what parameters name."""
        found: list[Any] = []
        for cls in reversed(self.cls.__mro__):
            found.extend(value for value in vars(cls).values() if isinstance(value, (StateSpec, TimerSpec, AsList, Table)))
        for method in self.methods.values():
            for parameter in inspect.signature(method).parameters.values():
                if isinstance(parameter.default, Param) and parameter.default.spec is not None:
                    found.append(parameter.default.spec)
        found.extend(getattr(self.cls, name)._timer for name in self.on_timer.values())
        return list({id(spec): spec for spec in found}.values())

    def _of(self, specs: list[Any], kind: type) -> list[Any]:
        ours = [spec for spec in specs if isinstance(spec, kind)]
        names = [spec.name for spec in ours]
        if len(set(names)) != len(names):
            raise TypeError(f'{self.cls.__name__} declares a name twice: {names}')
        return ours

    def describe(self) -> dict[str, Any]:
        """The function in the description of its component, without its name."""
        described: dict[str, Any] = {
            'kind': 'dofn',
            'input': self.input.describe(),
            'outputs': [{'name': name, 'coder': coder.describe()} for name, coder in self.outputs],
        }
        lists = {'slots': self.slots, 'timers': self.timers, 'side_inputs': self.sides, 'tables': self.tables}
        described.update((name, [spec.describe() for spec in specs]) for name, specs in lists.items() if specs)
        described['pages'] = ['values']
        if self.expires:
            described['on_window_expiration'] = True
        if self.bundles:
            described['bundles'] = True
        return described


def bind(method: Callable, give: Callable[[Param], tuple[Any, Optional[Callable[[], Any]]]], element: bool) -> Callable[..., Any]:
    """A method that is called with the element alone, or with nothing.

    Args:
      give: for a parameter either what it gets in every call, or a function that says it anew for each row.
      element: whether the first parameter is the element.
    """
    fixed: dict[str, Any] = {}
    varying: list[tuple[str, Callable[[], Any]]] = []
    element_name = None
    for place, parameter in enumerate(inspect.signature(method).parameters.values()):
        default = parameter.default
        if isinstance(default, Param):
            if default.what == 'Element':
                element_name = parameter.name
                continue
            value, each = give(default)
            if each is None:
                fixed[parameter.name] = value
            else:
                varying.append((parameter.name, each))
        elif default is parameter.empty and not (element and place == 0) and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            raise TypeError(f'{method.__qualname__}: the parameter {parameter.name} has no default such as DoFn.TimestampParam')
    if element_name is not None:
        return lambda value: method(**{element_name: value}, **fixed, **{name: each() for name, each in varying})
    if varying:
        return lambda *args: method(*args, **fixed, **{name: each() for name, each in varying})
    return (lambda *args: method(*args, **fixed)) if fixed else method
