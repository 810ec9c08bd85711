"""thalweg.Wasm: its proto, and its fallback on Beam's own runner."""

import hashlib
import json
import os
import typing

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from apache_beam.testing.util import equal_to
from apache_beam.transforms.window import FixedWindows
from apache_beam.transforms.window import TimestampedValue

import thalweg
from thalweg.wasm import URN


class Text(typing.NamedTuple):
    text: str
    row: int


class Word(typing.NamedTuple):
    word: str


class Rejected(typing.NamedTuple):
    row: int
    reason: str


class Opaque:
    """No coder but pickle."""


for row_type in (Text, Word, Rejected):
    beam.coders.registry.register_row(row_type)

TEXTS = [Text('to be', 1), Text('', 2), Text('or not', 3)]


def split(text):
    if not text.text:
        yield beam.pvalue.TaggedOutput('rejected', Rejected(text.row, 'empty'))
    for word in text.text.split():
        yield TimestampedValue(Word(word), text.row * 60)


def on_fn_api_runner():
    return beam.Pipeline('FnApiRunner')


def wasm(component='words.wasm', **kwargs):
    return thalweg.Wasm(component, 'split', output_type=Word, **kwargs)


def proto_of(transform, elements=TEXTS):
    pipeline = beam.Pipeline('FnApiRunner')
    result = pipeline | beam.Create(elements).with_output_types(type(elements[0])) | transform
    proto = pipeline.to_runner_api()
    return next(t for t in proto.components.transforms.values() if t.spec.urn == URN), proto, result


def test_the_fallback_feeds_every_output():
    with on_fn_api_runner() as p:
        results = p | beam.Create(TEXTS) | wasm(outputs={'rejected': Rejected}, fallback=split)
        assert_that(results.main, equal_to([Word(w) for w in 'to be or not'.split()]), 'main')
        assert_that(results.rejected, equal_to([Rejected(2, 'empty')]), 'rejected')


def test_event_times_of_the_fallback_reach_the_windows():
    with on_fn_api_runner() as p:
        words = (p | beam.Create(TEXTS) | wasm(outputs={'rejected': Rejected}, fallback=split)).main
        counts = words | beam.WindowInto(FixedWindows(60)) | beam.combiners.Count.Globally().without_defaults()
        assert_that(counts, equal_to([2, 2]))


def test_a_dofn_may_be_the_fallback():
    class Split(beam.DoFn):
        def process(self, text):
            return [Word(w) for w in text.text.split()]

    with on_fn_api_runner() as p:
        words = p | beam.Create(TEXTS) | wasm(fallback=Split())
        assert_that(words, equal_to([Word(w) for w in 'to be or not'.split()]))


def test_a_combine_fn_may_be_the_fallback():
    largest = thalweg.Wasm(
        'top.wasm', 'top', output_type=typing.Tuple[str, typing.Iterable[int]], fallback=beam.combiners.TopCombineFn(2))
    with on_fn_api_runner() as p:
        numbers = p | beam.Create([('a', 1), ('b', 5), ('a', 3), ('a', 2)])
        assert_that(numbers | largest, equal_to([('a', [3, 2]), ('b', [5])]))
    with pytest.raises(ValueError, match='one output'):
        wasm(outputs={'rejected': Rejected}, fallback=beam.combiners.TopCombineFn(2))


def test_the_composite_names_component_digest_function_and_config(tmp_path):
    component = tmp_path / 'words.wasm'
    component.write_bytes(b'\0asm')
    transform, _, _ = proto_of(wasm(component, config={'separator': ' '}))
    assert json.loads(transform.spec.payload) == {
        'component': str(component),
        'digest': 'sha256:' + hashlib.sha256(b'\0asm').hexdigest(),
        'function': 'split',
        'config': {'separator': ' '},
    }


def test_the_composite_has_one_input_and_the_outputs_by_name():
    transform, proto, _ = proto_of(wasm(outputs={'rejected': Rejected}, fallback=split))
    assert len(transform.inputs) == 1
    assert set(transform.outputs) == {'None', 'rejected'}
    assert len(transform.subtransforms) == 1
    fields = {}
    for tag, pcollection in {'input': next(iter(transform.inputs.values())), **transform.outputs}.items():
        coder = proto.components.coders[proto.components.pcollections[pcollection].coder_id]
        assert coder.spec.urn == 'beam:coder:row:v1'
        schema = beam.portability.api.schema_pb2.Schema.FromString(coder.spec.payload)
        fields[tag] = [(f.name, f.type.atomic_type, f.type.nullable) for f in schema.fields]
    string, int64 = beam.portability.api.schema_pb2.STRING, beam.portability.api.schema_pb2.INT64
    assert fields == {
        'input': [('text', string, False), ('row', int64, False)],
        'None': [('word', string, False)],
        'rejected': [('row', int64, False), ('reason', string, False)],
    }


def test_a_proto_can_be_read_back_and_written_again():
    transform, proto, _ = proto_of(wasm(fallback=split))
    again = beam.Pipeline.from_runner_api(proto, 'FnApiRunner', PipelineOptions()).to_runner_api()
    assert [t.spec.payload for t in again.components.transforms.values() if t.spec.urn == URN] == [transform.spec.payload]


def test_a_path_is_made_absolute():
    transform, _, _ = proto_of(wasm('words.wasm', fallback=split))
    payload = json.loads(transform.spec.payload)
    assert payload['component'] == os.path.abspath('words.wasm')
    assert payload['digest'] is None


def test_a_missing_component_without_fallback_is_refused():
    with pytest.raises(FileNotFoundError, match='build it first'):
        wasm('nowhere.wasm')


def test_without_fallback_another_runner_says_what_to_do(tmp_path):
    component = tmp_path / 'words.wasm'
    component.write_bytes(b'\0asm')
    with pytest.raises(Exception, match='runs only on Thalweg'):
        with on_fn_api_runner() as p:
            p | beam.Create(TEXTS) | wasm(component)


def test_a_type_that_only_python_can_decode_is_refused():
    with pytest.raises(TypeError, match="output 'main'"):
        thalweg.Wasm('words.wasm', 'split', output_type=Opaque, fallback=split)
    with pytest.raises(TypeError, match='the input'):
        with on_fn_api_runner() as p:
            p | beam.Create([Opaque()]) | wasm(fallback=split)


def test_an_output_cannot_be_called_main():
    with pytest.raises(ValueError, match='main'):
        wasm(outputs={'main': Word}, fallback=split)
