"""The functions of a component: their names, their description, and how one of them is opened, called and closed. A host
reaches them through the class ``Guest``, which ``export`` makes; the test kits call them directly.
"""
import gc
import json
import linecache
import os
import sys
from typing import Any
from typing import Optional

from . import combine
from . import failure as failures
from . import frame
from . import host as hosts
from . import logs
from . import moment
from . import runner
from . import select
from . import windowfn
from .dofn import DoFn
from .failure import Failure
from .frame import BadFrame
from .frame import Input
from .shape import Shape

VERSION = '1.0.0'


class Function:
    """A function under the name that pipelines use."""

    def __init__(self, name: str, cls: type):
        self.name, self.cls = name, cls
        kinds = {DoFn: None, combine.CombineFn: combine, windowfn.WindowFn: windowfn, select.KeySelector: select}
        base = next((base for base in kinds if isinstance(cls, type) and issubclass(cls, base)), None)
        if base is None:
            raise TypeError(f'{name}: {cls!r} is no class of DoFn, CombineFn, WindowFn or KeySelector')
        self._module = kinds[base]
        if self._module is None:
            self.shape = Shape(cls)
            described = self.shape.describe()
        else:
            described = self._module.describe(cls)
        self.description = {'name': name, **described}
        if getattr(cls, 'capabilities', ()):
            self.description['capabilities'] = list(cls.capabilities)
        self.wants_variables = any(name.startswith('env:') for name in getattr(cls, 'capabilities', ()))

    def open(self, plan: bytes, host: Any) -> Any:
        """Makes an instance. ``plan`` is the frame of an open call.

        Raises:
          BadFrame: when it is none.
          Failure: when the constructor refuses the configuration.
        """
        opened = Input(plan)
        moment.seed(opened.seed)
        if self.wants_variables and getattr(host, 'variables', None):
            os.environ.update(host.variables())
        try:
            config = json.loads(opened.config) if opened.config.strip() else {}
        except ValueError as error:
            raise Failure('CONFIG', f'the configuration is no JSON: {error}') from None
        try:
            made = self.cls(**config) if isinstance(config, dict) else self.cls(config)
            if self._module is None:
                return runner.Runner(self.shape, made, host)
            return self._module.Runner(made)
        except Failure:
            raise
        except Exception as error:
            raise Failure('CONFIG', f'{self.name} does not open: {error}') from error


def describe(functions: list[Function]) -> str:
    """The description of a component with these functions: one JSON document."""
    document = {'sdk': f'python {VERSION}', 'functions': [function.description for function in functions]}
    return json.dumps(document, separators=(',', ':'))


def _keep_sources() -> None:
    """Keeps the lines of the modules there are: a stack shows them, and inside the component there are no files."""
    for module in list(sys.modules.values()):
        path = getattr(module, '__file__', None) or ''
        if path.endswith('.py') and not path.startswith(os.path.dirname(os.__file__)):
            lines = linecache.getlines(path)
            if lines:
                # an entry without a time of change is not looked for on the disk again
                linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


class Opened:
    """The functions of a component and their open instances."""

    def __init__(self, functions: list[Function], host: Any):
        self.functions = {function.name: function for function in functions}
        self._host = host
        self._instances: list[Optional[Any]] = []

    def open(self, name: str, plan: bytes) -> int:
        """Makes an instance; gives its name."""
        function = self.functions.get(name)
        if function is None:
            raise Failure('NO_FUNCTION', f'there is no function {name!r}')
        instance = function.open(plan, self._host)
        free = self._instances.index(None) if None in self._instances else len(self._instances)
        self._instances[free:free + 1] = [instance]
        return free

    def call(self, instance: int, op: int, data: bytes) -> bytes:
        """Runs an operation of an instance on a frame."""
        opened = self._instances[instance] if instance < len(self._instances) else None
        if opened is None:
            raise Failure('NO_INSTANCE', f'instance {instance} is not open')
        return opened.call(op, data)

    def close(self, instance: int) -> None:
        """Drops an instance."""
        if instance < len(self._instances) and self._instances[instance] is not None:
            self._instances[instance].close()
            self._instances[instance] = None


def refusal(error: Exception) -> tuple[str, str, str]:
    """Code, message and stack of a call that could not be done."""
    if isinstance(error, BadFrame):
        return 'BAD_FRAME', f'the frame of the host is broken: {error}', failures.stack(error)
    if isinstance(error, Failure):
        return error.code, error.message, failures.stack(error) if error.__cause__ is not None else ''
    return failures.of(error).code, str(error), failures.stack(error)


def export(functions: Optional[dict[str, type]] = None, /, **more: type) -> type:
    """Makes the module a component with the named functions: ``Guest = export(split=Split, top=Top)``.

    Returns:
      the class that the component's module has to have under the name ``Guest``.
    """
    listed = [Function(name, cls) for name, cls in {**(functions or {}), **more}.items()]
    host = hosts.imports()
    opened = Opened(listed, host)
    inside = not isinstance(host, hosts.Nobody)
    if inside:
        if host.variables is None and any(function.wants_variables for function in listed):
            raise TypeError('variables of the environment need the world thalweg:machine/full: `thalweg udf build` has it')
        logs.install(host.log)
        _keep_sources()
        # what is there now stays: the collector need not look at it in every call
        gc.freeze()

    def guarded(call: Any) -> Any:
        try:
            return call()
        except Exception as error:
            if not inside:
                raise
            from componentize_py_types import Err
            from wit_world.imports import types
            raise Err(types.Failure(*refusal(error), again=False)) from error

    class Guest:
        """The exports of the component."""
        functions = listed

        def describe(self) -> str:
            return describe(listed)

        def open(self, function: str, plan: bytes) -> int:
            return guarded(lambda: opened.open(function, plan))

        def call(self, instance: int, op: int, input: bytes) -> bytes:
            return guarded(lambda: opened.call(instance, op, input))

        def close(self, instance: int) -> None:
            opened.close(instance)

    return Guest


def plan(config: Any) -> bytes:
    """The plan of an open call with a configuration."""
    writer = frame.Writer(0)
    if config is not None:
        writer.section(frame.CONFIG, json.dumps(config).encode())
    return writer.finish()
