"""thalweg.Wasm in Beam's own combines and windows, with side inputs and tables, and thalweg.TableJoin: protos, and fallbacks on Beam's runner."""

import json
import typing

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.testing.util import assert_that
from apache_beam.testing.util import equal_to
from apache_beam.transforms.window import FixedWindows
from apache_beam.transforms.window import GlobalWindows
from apache_beam.transforms.window import Sessions
from apache_beam.transforms.window import TimestampedValue

import thalweg
from thalweg.table import JOIN_URN
from thalweg.wasm import COMBINE_FN_URN
from thalweg.wasm import URN

PAIRS = [('a', 1), ('b', 5), ('a', 3), ('a', 2)]


class Place(typing.NamedTuple):
    code: str
    name: str
    height: typing.Optional[int]


class Visit(typing.NamedTuple):
    n: int
    at: str


class Joined(typing.NamedTuple):
    n: int
    at: str
    name: typing.Optional[str]
    height: typing.Optional[int]


class Named(typing.NamedTuple):
    n: int
    at: str
    name: str


for row_type in (Place, Visit, Joined, Named):
    beam.coders.registry.register_row(row_type)


def on_fn_api_runner():
    return beam.Pipeline('FnApiRunner')


def top(**kwargs):
    return thalweg.Wasm('top.wasm', 'top', output_type=typing.Iterable[int], **kwargs)


def places(tmp_path, **kwargs):
    path = tmp_path / 'places.csv'
    path.write_text('name,code,height\n"Alpha, first",A,7\nBeta,B,\n', encoding='utf-8')
    return thalweg.Table(Place, key='code', path=path, **kwargs)


def test_the_fallback_combines_per_key_and_globally_on_another_runner():
    with on_fn_api_runner() as p:
        pairs = p | beam.Create(PAIRS)
        best = top(fallback=beam.combiners.TopCombineFn(2))
        assert_that(pairs | beam.CombinePerKey(best), equal_to([('a', [3, 2]), ('b', [5])]), 'keys')
        assert_that(pairs | beam.Values() | beam.CombineGlobally(best), equal_to([[5, 3]]), 'all')


def test_a_combine_names_the_component_and_another_runner_can_read_it_back():
    pipeline = beam.Pipeline('FnApiRunner')
    _ = pipeline | beam.Create(PAIRS) | beam.CombinePerKey(top(fallback=beam.combiners.TopCombineFn(2)))
    proto = pipeline.to_runner_api()
    urn = 'beam:transform:combine_per_key:v1'
    combine = next(t for t in proto.components.transforms.values() if t.spec.urn == urn)
    payload = beam_runner_api_pb2.CombinePayload.FromString(combine.spec.payload)
    assert payload.combine_fn.urn == COMBINE_FN_URN
    assert json.loads(payload.combine_fn.payload)['function'] == 'top'
    again = beam.CombineFn.from_runner_api(payload.combine_fn, None)
    assert again.extract_output(again.add_input(again.create_accumulator(), 4)) == [4]


def test_a_combine_without_fallback_says_on_another_runner_what_to_do(tmp_path):
    component = tmp_path / 'top.wasm'
    component.write_bytes(b'\0asm')
    best = thalweg.Wasm(component, 'top', output_type=typing.Iterable[int], kind='combinefn')
    with pytest.raises(Exception, match='runs only on Thalweg'):
        with on_fn_api_runner() as p:
            _ = p | beam.Create(PAIRS) | beam.CombinePerKey(best)


def stamped(p):
    return p | beam.Create([(1, 'x'), (3, 'y'), (30, 'z')]) | beam.MapTuple(lambda at, value: TimestampedValue(('k', value), at))


@pytest.mark.parametrize('fallback, wanted', [
    (Sessions(5), [('k', ['x', 'y']), ('k', ['z'])]),
    (FixedWindows(2), [('k', ['x']), ('k', ['y']), ('k', ['z'])]),
])
def test_the_fallback_assigns_and_merges_windows_on_another_runner(fallback, wanted):
    with on_fn_api_runner() as p:
        grouped = stamped(p) | beam.WindowInto(thalweg.Wasm('w.wasm', 'sessions', fallback=fallback)) | beam.GroupByKey()
        assert_that(grouped | beam.MapTuple(lambda key, values: (key, sorted(values))), equal_to(wanted))


def test_a_window_coder_names_the_component_and_the_window_fn_is_the_fallback():
    pipeline = beam.Pipeline('FnApiRunner')
    _ = stamped(pipeline) | beam.WindowInto(thalweg.Wasm('w.wasm', 'sessions', fallback=Sessions(5)))
    components = pipeline.to_runner_api().components
    named = [s for s in components.windowing_strategies.values() if components.coders[s.window_coder_id].spec.payload]
    [strategy] = named
    assert strategy.window_fn.urn == 'beam:window_fn:session_windows:v1'
    assert strategy.merge_status == beam_runner_api_pb2.MergeStatus.NEEDS_MERGE
    coder = components.coders[strategy.window_coder_id].spec
    assert (coder.urn, json.loads(coder.payload)['function']) == ('beam:coder:interval_window:v1', 'sessions')


def test_windows_without_fallback_say_on_another_runner_what_to_do(tmp_path):
    component = tmp_path / 'w.wasm'
    component.write_bytes(b'\0asm')
    with pytest.raises(Exception, match='runs only on Thalweg'):
        with on_fn_api_runner() as p:
            windows = thalweg.Wasm(component, 'sessions', kind='windowfn', merges=True)
            _ = stamped(p) | beam.WindowInto(windows) | beam.GroupByKey()


def test_windows_that_are_no_intervals_are_refused():
    with pytest.raises(TypeError, match='interval windows'):
        thalweg.Wasm('w.wasm', 'all', fallback=GlobalWindows())
    with pytest.raises(TypeError, match='WindowInto'):
        with on_fn_api_runner() as p:
            _ = stamped(p) | thalweg.Wasm('w.wasm', 'sessions', fallback=Sessions(5))


def looked_up(element, numbers, names):
    yield f'{element} {sum(numbers)} {sorted(names[element])}'


def test_side_inputs_go_to_the_fallback_by_name_and_stand_in_the_proto_by_name():
    with on_fn_api_runner() as p:
        numbers = p | 'Numbers' >> beam.Create([1, 2])
        names = p | 'Names' >> beam.Create([('a', 'Ann'), ('a', 'Ada'), ('b', 'Bea')])
        sides = {'numbers': beam.pvalue.AsIter(numbers), 'names': beam.pvalue.AsMultiMap(names)}
        wasm = thalweg.Wasm('l.wasm', 'lookups', output_type=str, side_inputs=sides, fallback=looked_up)
        found = p | 'Main' >> beam.Create(['a', 'b']) | wasm
        assert_that(found, equal_to(["a 3 ['Ada', 'Ann']", "b 3 ['Bea']"]))
        proto = p.to_runner_api()
    transform = next(t for t in proto.components.transforms.values() if t.spec.urn == URN)
    assert set(transform.inputs) == {'input', 'numbers', 'names'}
    assert json.loads(transform.spec.payload)['sides'] == {'numbers': 'iterable', 'names': 'multimap'}


def test_a_side_input_that_a_component_cannot_read_is_refused():
    with on_fn_api_runner() as p:
        numbers = p | beam.Create([1, 2])
        with pytest.raises(TypeError, match="'numbers'"):
            thalweg.Wasm('l.wasm', 'f', output_type=str, side_inputs={'numbers': numbers}, fallback=looked_up)


def test_a_table_is_told_by_its_columns(tmp_path):
    table = places(tmp_path, value='name')
    columns = [('code', 'string', False), ('name', 'string', False), ('height', 'int64', True)]
    assert table.spec() == {
        'source': {'file': {'path': str(tmp_path / 'places.csv'), 'format': 'csv'}},
        'schema': [{'name': name, 'type': kind, 'nullable': null} for name, kind, null in columns],
        'key': 'code',
        'value': 'name',
    }
    topic = thalweg.Table(Place, key='code', topic='places', bootstrap_servers='localhost:9092')
    assert topic.spec()['source']['topic']['topic'] == 'places'
    with pytest.raises(ValueError, match='no column'):
        thalweg.Table(Place, key='faa', path='x.csv')
    with pytest.raises(ValueError, match='file or from a topic'):
        thalweg.Table(Place, key='code')


@pytest.mark.parametrize('how, kept', [('left', 2), ('inner', 1)])
def test_a_join_runs_on_another_runner(tmp_path, how, kept):
    output_type = Joined if how == 'left' else None
    if output_type is None:
        with on_fn_api_runner() as p:
            visits = p | beam.Create([Visit(1, 'A'), Visit(2, 'Z')]).with_output_types(Visit)
            joined = visits | thalweg.TableJoin(places(tmp_path, value='name'), key='at', output_type=Named, how=how)
            assert_that(joined, equal_to([Named(1, 'A', 'Alpha, first')]))
        return
    with on_fn_api_runner() as p:
        visits = p | beam.Create([Visit(1, 'A'), Visit(2, 'Z')]).with_output_types(Visit)
        joined = visits | thalweg.TableJoin(places(tmp_path), key='at', output_type=Joined)
        assert_that(joined, equal_to([Joined(1, 'A', 'Alpha, first', 7), Joined(2, 'Z', None, None)][:kept]))
        proto = p.to_runner_api()
    payload = json.loads(next(t.spec.payload for t in proto.components.transforms.values() if t.spec.urn == JOIN_URN))
    assert (payload['key'], payload['inner']) == ({'field': 1}, False)


class Union(typing.NamedTuple):
    code: str
    height: int | None


def test_a_column_that_only_python_can_read_is_refused():
    with pytest.raises(TypeError, match='typing.Optional'):
        thalweg.Table(Union, key='code', path='x.csv')


def test_a_join_with_other_fields_is_refused(tmp_path):
    with pytest.raises(TypeError, match='name: string[?]'):
        with on_fn_api_runner() as p:
            visits = p | beam.Create([Visit(1, 'A')]).with_output_types(Visit)
            _ = visits | thalweg.TableJoin(places(tmp_path, value='name'), key='at', output_type=Named)
