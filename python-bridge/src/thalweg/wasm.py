"""The transform that runs a function of a WebAssembly component.

What comes in: a PCollection and the name of a component's function. What goes out: a composite transform whose payload
names them, around a ParDo, a CombinePerKey or a WithKeys in Python; or, inside Beam's own combines and WindowInto, the function
of these. This module does not know how a component is run; that is the runner's part.
"""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam import pvalue
from apache_beam.internal import pickler
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms import ptransform
from apache_beam.transforms import window
from apache_beam.typehints import native_type_compatibility
from apache_beam.typehints import typehints
from apache_beam.utils import urns

from thalweg.table import Table

URN = 'thalweg:transform:wasm:v1'
COMBINE_FN_URN = 'thalweg:combine_fn:wasm:v1'
_ACCESS = {pvalue.AsIter: 'iterable', pvalue.AsList: 'iterable', pvalue.AsMultiMap: 'multimap'}


class Wasm(ptransform.PTransform):
    """Applies one function of a WebAssembly component: a DoFn to every element, a CombineFn to the values of every key.

    A DoFn with state or timers needs a keyed input, pairs of key and value; so does a CombineFn, whose output is pairs of
    key and result. A key selector gives pairs of key and element.

    A CombineFn may also stand in Beam's own combines, `beam.CombinePerKey(thalweg.Wasm(...))` and `beam.CombineGlobally(...)`, where
    `output_type` is the type of the result; a WindowFn stands in `beam.WindowInto(thalweg.Wasm(...))`. What they are is told by
    `fallback`, or by `kind` where there is none.

    On Thalweg the component runs in the engine's process, sandboxed. On any other runner `fallback` runs instead.

    Shape: the input and each output are encoded with their own coder; a component sees rows (`typing.NamedTuple` classes
    registered with `beam.coders.registry.register_row`) by Beam's row coder, and `str`, `bytes`, `int`, `float` and
    `bool` by theirs. A type that has only Python's pickle as a coder is refused here.

    Payload of the composite (JSON in UTF-8): `component` (absolute path), `digest` (`sha256:` and 64 hex digits, or
    null if the file does not exist here), `function`, `config` (an object), `kind` (where it has to be one), and if they are not empty
    the objects `grant`, `limits`, `sides` (how each side input is read) and `tables`. Side
    inputs have the tags that the function gives them; the main input has any other. The main output has
    the tag `None`, as in every ParDo of this SDK; any other output has the name that the component gives it.

    Args:
      component: path of the component file (`.wasm`).
      function: name of the function in the component's description.
      output_type: element type of the main output; of a WindowFn none.
      outputs: name and element type of each further output of the function that is used.
      config: what the function gets when it is opened; anything that JSON can say.
      grant: what of the machine the function may see, of what it describes: `{'clock': True}` (time as it passes),
        `{'random': True}` (entropy), `{'env': {'NAME': 'value'}}`. Nothing is granted by default.
      limits: limits of the function that are not the usual ones, by name: `{'cpu_ms': 500, 'memory_bytes': 67108864}`.
      side_inputs: the function's side inputs by their names, as `beam.pvalue.AsIter(...)` or `beam.pvalue.AsMultiMap(...)`.
      tables: the tables that the function looks up by their names, each a `thalweg.Table`.
      fallback: what another runner runs in its place: a function that takes an element (and the side inputs by name) and returns
        the outputs as an iterable (`beam.pvalue.TaggedOutput` for further outputs, `TimestampedValue` to set the event time), a
        `beam.DoFn`, for a CombineFn a `beam.CombineFn`, for a WindowFn a `WindowFn` of interval windows.
      kind: `dofn` (also of a key selector), `combinefn` or `windowfn`; what the fallback is if it is not given.
      merges: whether the windows of a WindowFn without a fallback merge.

    Returns: on apply, a PCollection; with `outputs`, the main PCollection and the others as attributes of one object:
      `parsed = lines | Wasm(...)`, then `parsed.main` and `parsed.dead_letters`.

    Raises:
      FileNotFoundError: the component does not exist and there is no fallback.
      TypeError: a type has no coder that a component could read.
    """

    _KIND = None

    def __new__(cls, *unused_args, fallback=None, kind=None, **unused_kwargs):
        if cls is Wasm:
            cls = _class_of(fallback, kind)
        return object.__new__(cls)

    def __init__(
            self,
            component: str | os.PathLike,
            function: str,
            *,
            output_type: Any = None,
            outputs: Mapping[str, Any] | None = None,
            config: Mapping[str, Any] | None = None,
            grant: Mapping[str, Any] | None = None,
            limits: Mapping[str, int] | None = None,
            side_inputs: Mapping[str, pvalue.AsSideInput] | None = None,
            tables: Mapping[str, Table] | None = None,
            fallback: Callable[..., Iterable[Any]] | beam.DoFn | beam.CombineFn | window.WindowFn | None = None,
            kind: str | None = None,
            merges: bool = False):
        super().__init__()
        self._component = os.path.abspath(component)
        self._function = function
        self._output_type = output_type
        self._outputs = dict(outputs or {})
        self._config = dict(config or {})
        self._grant = dict(grant or {})
        self._limits = dict(limits or {})
        self._sides = dict(side_inputs or {})
        self._tables = dict(tables or {})
        self._fallback = fallback
        self._merges = merges
        if 'main' in self._outputs:
            raise ValueError("'main' is the name of the main output; give further outputs another name.")
        for name, side in self._sides.items():
            if type(side) not in _ACCESS:
                raise TypeError(f'The side input {name!r} is {side!r}: give it as beam.pvalue.AsIter or AsMultiMap.')
        self._digest = _digest(self._component)
        if self._digest is None and fallback is None:
            raise FileNotFoundError(
                f'There is no component at {self._component}: build it first, or give `fallback=` to run without it.')
        self._check()

    def _check(self):
        if self._output_type is None:
            raise TypeError(f'The output of {self._function!r} needs a type: give `output_type=`.')
        for name, element_type in {'main': self._output_type, **self._outputs}.items():
            _check_coder(f'output {name!r}', element_type)

    def default_label(self) -> str:
        return f'Wasm({self._function})'

    def _extract_input_pvalues(self, pvalueish):
        if not self._sides:
            return super()._extract_input_pvalues(pvalueish)
        main = 'input'
        while main in self._sides:
            main += '_'
        return pvalueish, {main: pvalueish, **{name: side.pvalue for name, side in self._sides.items()}}

    def expand(self, pcoll):
        _check_coder('the input', pcoll.element_type)
        for name, side in self._sides.items():
            _check_coder(f'the side input {name!r}', side.pvalue.element_type)
        body = beam.ParDo(self._body(), **self._sides).with_output_types(self._output_type, **self._outputs)
        if not self._outputs:
            return pcoll | 'Fallback' >> body
        results = pcoll | 'Fallback' >> body.with_outputs(*self._outputs, main='main')
        for name in ('main', *self._outputs):
            results[name]  # makes the PCollection, so that it becomes an output of the composite too
        return results

    def to_runner_api_parameter(self, unused_context):
        return URN, self._payload()

    def _payload(self, **more) -> bytes:
        payload = {
            'component': self._component,
            'digest': self._digest,
            'function': self._function,
            'config': self._config,
            **more,
        }
        if self._KIND:
            payload['kind'] = self._KIND
        if self._grant:
            payload['grant'] = self._grant
        if self._limits:
            payload['limits'] = self._limits
        if self._sides:
            payload['sides'] = {name: _ACCESS[type(side)] for name, side in self._sides.items()}
        if self._tables:
            payload['tables'] = {name: table.spec() for name, table in self._tables.items()}
        return json.dumps(payload, sort_keys=True).encode('utf-8')

    def _body(self) -> beam.DoFn:
        if isinstance(self._fallback, beam.DoFn):
            return self._fallback
        return _Fallback(self._fallback, self._missing())

    def _missing(self) -> str:
        return (f'The function {self._function!r} of {self._component} runs only on Thalweg: use --runner=thalweg.'
                'ThalwegRunner, or give thalweg.Wasm what runs in its place as `fallback=`.')


class _CombineWasm(Wasm, beam.CombineFn):
    """A CombineFn of a component, as a transform and for Beam's own combines, where its proto is that of a function."""

    _KIND = 'combinefn'

    def to_runner_api(self, context, has_parts=None):
        if has_parts is not None:
            return super().to_runner_api(context, has_parts)
        # whoever else reads the payload runs the fallback that it holds
        pickled = None if self._fallback is None else base64.b64encode(pickler.dumps(self._fallback)).decode('ascii')
        return beam_runner_api_pb2.FunctionSpec(
            urn=COMBINE_FN_URN, payload=self._payload(fallback=pickled, missing=self._missing()))

    def _check(self):
        super()._check()
        if self._outputs or self._sides or self._tables:
            raise ValueError('A CombineFn has one output, no side inputs and no tables.')
        # with an input type Beam's combines find the type of the keys
        result = native_type_compatibility.convert_to_beam_type(self._output_type)
        self._type_hints = self.get_type_hints().with_input_types(typehints.TypeVariable('V')).with_output_types(result)

    def expand(self, pcoll):
        _check_coder('the input', pcoll.element_type)
        combine = beam.CombinePerKey(_fallback_combine(self._fallback, self._missing()))
        return pcoll | 'Fallback' >> combine.with_output_types(self._output_type)

    def _instead(self):
        return _fallback_combine(self._fallback, self._missing())

    def setup(self, *args, **kwargs):
        self._instead().setup(*args, **kwargs)

    def create_accumulator(self, *args, **kwargs):
        return self._instead().create_accumulator(*args, **kwargs)

    def add_input(self, accumulator, element, *args, **kwargs):
        return self._instead().add_input(accumulator, element, *args, **kwargs)

    def merge_accumulators(self, accumulators, *args, **kwargs):
        return self._instead().merge_accumulators(accumulators, *args, **kwargs)

    def compact(self, accumulator, *args, **kwargs):
        return self._instead().compact(accumulator, *args, **kwargs)

    def extract_output(self, accumulator, *args, **kwargs):
        return self._instead().extract_output(accumulator, *args, **kwargs)

    def teardown(self, *args, **kwargs):
        self._instead().teardown(*args, **kwargs)


class _WindowWasm(Wasm, window.WindowFn):
    """A WindowFn of a component, for WindowInto. Its windows are interval windows.

    To another runner it is its fallback: SDK workers merge only windows of functions that they know. Thalweg finds the component in the
    window coder, an interval window coder with a payload, which nobody else reads.
    """

    _KIND = 'windowfn'

    def to_runner_api(self, context, has_parts=None):
        return (_NoWindows(self._missing(), self._merges) if self._fallback is None else self._fallback).to_runner_api(context)

    def _check(self):
        if self._outputs or self._sides or self._tables or self._output_type is not None:
            raise ValueError('A WindowFn has no outputs, side inputs and tables.')
        if self._fallback is not None and not isinstance(self._fallback.get_window_coder(), coders.coders.IntervalWindowCoder):
            raise TypeError('The windows of a component are interval windows: give a fallback that has such windows, too.')

    def expand(self, pcoll):
        raise TypeError('A WindowFn stands in a WindowInto: beam.WindowInto(thalweg.Wasm(...)).')

    def assign(self, assign_context):
        if self._fallback is None:
            raise RuntimeError(self._missing())
        return self._fallback.assign(assign_context)

    def merge(self, merge_context):
        if self._fallback is None:
            raise RuntimeError(self._missing())
        self._fallback.merge(merge_context)

    def is_merging(self) -> bool:
        return self._merges if self._fallback is None else self._fallback.is_merging()

    def get_window_coder(self):
        return _ComponentWindowCoder(self._payload())

    def __eq__(self, other):
        return type(self) is type(other) and self._payload() == other._payload()

    def __hash__(self):
        return hash(self._payload())


def _class_of(fallback, kind: str | None) -> type:
    if kind is None:
        found = (('combinefn', beam.CombineFn), ('windowfn', window.WindowFn))
        kind = next((name for name, type_ in found if isinstance(fallback, type_)), 'dofn')
    classes = {'dofn': Wasm, 'combinefn': _CombineWasm, 'windowfn': _WindowWasm}
    if kind not in classes:
        raise ValueError(f'kind is {kind!r}, which is none of {", ".join(classes)}.')
    return classes[kind]


def _fallback_combine(fallback, missing: str) -> beam.CombineFn:
    return _NoCombine(missing) if fallback is None else fallback


class _NoCombine(beam.CombineFn):
    """In place of a CombineFn that only a component has."""

    def __init__(self, missing: str):
        self._missing = missing

    def create_accumulator(self):
        raise RuntimeError(self._missing)

    def add_input(self, accumulator, element):
        raise RuntimeError(self._missing)

    def merge_accumulators(self, accumulators):
        raise RuntimeError(self._missing)

    def extract_output(self, accumulator):
        raise RuntimeError(self._missing)


class _NoWindows(window.WindowFn):
    """In place of a WindowFn that only a component has."""

    def __init__(self, missing: str, merges: bool):
        self._missing = missing
        self._merges = merges

    def assign(self, assign_context):
        raise RuntimeError(self._missing)

    def merge(self, merge_context):
        raise RuntimeError(self._missing)

    def is_merging(self) -> bool:
        return self._merges

    def get_window_coder(self):
        return coders.coders.IntervalWindowCoder()


class _ComponentWindowCoder(coders.coders.IntervalWindowCoder):
    """The coder of interval windows, with the component that assigns them in the payload of its proto."""

    def __init__(self, call: bytes):
        super().__init__()
        self._call = call

    def to_runner_api_parameter(self, unused_context):
        return common_urns.coders.INTERVAL_WINDOW.urn, self._call, ()

    def __eq__(self, other):
        return type(self) is type(other) and self._call == other._call

    def __hash__(self):
        return hash(self._call)


@urns.RunnerApiFn.register_urn(COMBINE_FN_URN, None)
def _combine_from_runner_api(payload, unused_context):
    read = json.loads(payload)
    pickled = read.get('fallback')
    fallback = None if pickled is None else pickler.loads(base64.b64decode(pickled))
    return _fallback_combine(fallback, read['missing'])


@ptransform.PTransform.register_urn(URN, bytes)
def _from_runner_api(unused_proto, payload, unused_context):
    return _Decoded(payload)


class _Decoded(ptransform.PTransform):
    """A Wasm transform read back from a pipeline proto: only good for writing it again."""

    def __init__(self, payload: bytes):
        super().__init__()
        self._encoded = payload

    def to_runner_api_parameter(self, unused_context):
        return URN, self._encoded


class _Fallback(beam.DoFn):
    """Runs the user's function where no component runs."""

    def __init__(self, function: Callable | None, missing: str):
        self._function = function
        self._missing = missing

    def setup(self):
        if self._function is None:
            raise RuntimeError(self._missing)

    def process(self, element, **sides):
        return self._function(element, **sides)


def _digest(path: str) -> str | None:
    try:
        with open(path, 'rb') as file:
            return 'sha256:' + hashlib.file_digest(file, 'sha256').hexdigest()
    except FileNotFoundError:
        return None


def _check_coder(where: str, element_type: Any) -> None:
    coder = coders.registry.get_coder(native_type_compatibility.convert_to_beam_type(element_type))
    if _only_python(coder):
        raise TypeError(
            f'{where} of a Wasm function has the type {element_type}, which only Python can decode. Use a NamedTuple '
            'registered with beam.coders.registry.register_row, str, bytes, int, float or bool, or pairs and iterables '
            'of them.')


def _only_python(coder: coders.Coder) -> bool:
    pickled = (coders.FastPrimitivesCoder, coders.PickleCoder, coders.DillCoder, coders.CloudpickleCoder)
    if isinstance(coder, coders.RowCoder):
        return False
    return isinstance(coder, pickled) or any(_only_python(part) for part in coder._get_component_coders())
