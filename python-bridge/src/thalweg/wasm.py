"""The transform that runs a function of a WebAssembly component.

What comes in: a PCollection and the name of a component's function. What goes out: a composite transform whose payload
names them, around a ParDo, a CombinePerKey or a WithKeys in Python. This module does not know how a component is run; that is the runner's part.
"""

import hashlib
import json
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.transforms import ptransform
from apache_beam.typehints import native_type_compatibility

URN = 'thalweg:transform:wasm:v1'


class Wasm(ptransform.PTransform):
    """Applies one function of a WebAssembly component: a DoFn to every element, a CombineFn to the values of every key.

    A DoFn with state or timers needs a keyed input, pairs of key and value; so does a CombineFn, whose output is pairs of
    key and result. A key selector gives pairs of key and element.

    On Thalweg the component runs in the engine's process, sandboxed. On any other runner `fallback` runs instead.

    Shape: the input and each output are encoded with their own coder; a component sees rows (`typing.NamedTuple` classes
    registered with `beam.coders.registry.register_row`) by Beam's row coder, and `str`, `bytes`, `int`, `float` and
    `bool` by theirs. A type that has only Python's pickle as a coder is refused here.

    Payload of the composite (JSON in UTF-8): `component` (absolute path), `digest` (`sha256:` and 64 hex digits, or
    null if the file does not exist here), `function`, `config` (an object), `grant` and `limits` (objects, if they
    are not empty). The input has any tag. The main output has
    the tag `None`, as in every ParDo of this SDK; any other output has the name that the component gives it.

    Args:
      component: path of the component file (`.wasm`).
      function: name of the function in the component's description.
      output_type: element type of the main output.
      outputs: name and element type of each further output of the function that is used.
      config: what the function gets when it is opened; anything that JSON can say.
      grant: what of the machine the function may see, of what it describes: `{'clock': True}` (time as it passes),
        `{'random': True}` (entropy), `{'env': {'NAME': 'value'}}`. Nothing is granted by default.
      limits: limits of the function that are not the usual ones, by name: `{'cpu_ms': 500, 'memory_bytes': 67108864}`.
      fallback: what another runner runs in its place: a function that takes an element and returns the outputs as an
        iterable (`beam.pvalue.TaggedOutput` for further outputs, `TimestampedValue` to set the event time), a
        `beam.DoFn`, or for a CombineFn a `beam.CombineFn`.

    Returns: on apply, a PCollection; with `outputs`, the main PCollection and the others as attributes of one object:
      `parsed = lines | Wasm(...)`, then `parsed.main` and `parsed.dead_letters`.

    Raises:
      FileNotFoundError: the component does not exist and there is no fallback.
      TypeError: a type has no coder that a component could read.
    """

    def __init__(
            self,
            component: str | os.PathLike,
            function: str,
            *,
            output_type: Any,
            outputs: Mapping[str, Any] | None = None,
            config: Mapping[str, Any] | None = None,
            grant: Mapping[str, Any] | None = None,
            limits: Mapping[str, int] | None = None,
            fallback: Callable[[Any], Iterable[Any]] | beam.DoFn | beam.CombineFn | None = None):
        super().__init__()
        self._component = os.path.abspath(component)
        self._function = function
        self._output_type = output_type
        self._outputs = dict(outputs or {})
        self._config = dict(config or {})
        self._grant = dict(grant or {})
        self._limits = dict(limits or {})
        self._fallback = fallback
        if isinstance(fallback, beam.CombineFn) and self._outputs:
            raise ValueError('A CombineFn has one output.')
        if 'main' in self._outputs:
            raise ValueError("'main' is the name of the main output; give further outputs another name.")
        self._digest = _digest(self._component)
        if self._digest is None and fallback is None:
            raise FileNotFoundError(
                f'There is no component at {self._component}: build it first, or give `fallback=` to run without it.')
        for name, element_type in {'main': output_type, **self._outputs}.items():
            _check_coder(f'output {name!r}', element_type)

    def default_label(self) -> str:
        return f'Wasm({self._function})'

    def expand(self, pcoll):
        _check_coder('the input', pcoll.element_type)
        if isinstance(self._fallback, beam.CombineFn):
            return pcoll | 'Fallback' >> beam.CombinePerKey(self._fallback).with_output_types(self._output_type)
        body = beam.ParDo(self._body()).with_output_types(self._output_type, **self._outputs)
        if not self._outputs:
            return pcoll | 'Fallback' >> body
        results = pcoll | 'Fallback' >> body.with_outputs(*self._outputs, main='main')
        for name in ('main', *self._outputs):
            results[name]  # makes the PCollection, so that it becomes an output of the composite too
        return results

    def to_runner_api_parameter(self, unused_context):
        return URN, self._payload()

    def _payload(self) -> bytes:
        payload = {
            'component': self._component,
            'digest': self._digest,
            'function': self._function,
            'config': self._config,
        }
        if self._grant:
            payload['grant'] = self._grant
        if self._limits:
            payload['limits'] = self._limits
        return json.dumps(payload, sort_keys=True).encode('utf-8')

    def _body(self) -> beam.DoFn:
        if isinstance(self._fallback, beam.DoFn):
            return self._fallback
        return _Fallback(self._fallback, self._component, self._function)


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

    def __init__(self, function: Callable | None, component: str, name: str):
        self._function = function
        self._component = component
        self._name = name

    def setup(self):
        if self._function is None:
            raise RuntimeError(
                f'The function {self._name!r} of {self._component} runs only on Thalweg: use --runner=thalweg.'
                'ThalwegRunner, or give thalweg.Wasm a Python function as `fallback=`.')

    def process(self, element):
        return self._function(element)


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
