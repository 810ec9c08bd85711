"""The examples give what ``guest-examples/expected`` says, by the test kit."""
import json
from pathlib import Path

import pytest

from examples import Guest
from thalweg_udf import Failure
from thalweg_udf import TimestampedValue
from thalweg_udf.testing import CombineKit
from thalweg_udf.testing import Kit
from thalweg_udf.testing import WindowKit

EXPECTED = Path(__file__).resolve().parents[2] / 'expected'
FUNCTIONS = {function.name: function for function in Guest.functions}


def read(coder, value):
    """An element of a file."""
    if hasattr(coder, 'row'):
        return coder.row(**value)
    return tuple(value) if coder.keyed else value


def written(value):
    """An element as a file has it."""
    if hasattr(value, '_asdict'):
        return value._asdict()
    return [written(part) for part in value] if isinstance(value, (tuple, list)) else value


def given(outcome):
    names = [name for name, _ in outcome._outputs]
    found = [{'output': name, 'time': time, 'value': written(value)} for name in names for time, value in outcome.timestamped(name)]
    return in_any_order(found)


def in_any_order(found):
    return sorted(found, key=lambda one: json.dumps(one, sort_keys=True))


def play(script, size):
    function = FUNCTIONS[script['function']]
    kit = Kit(function.cls, script.get('config'))
    for table in function.shape.tables:
        kit.table(table, script['tables'][table.name])
    for step in script['steps']:
        found, failed = [], []
        if 'watermark' in step:
            found += given(kit.advance_watermark(step['watermark']))
        elements = step.get('elements', [])
        for first in range(0, len(elements), size):
            part = elements[first:first + size]
            outcome = kit.run([TimestampedValue(read(function.shape.input, e['value']), e['time']) for e in part])
            found += given(outcome)
            failed += [[first + place, failure.code] for place, failure in outcome.failures]
        assert in_any_order(found) == in_any_order(step['gives'])
        assert sorted(failed) == step.get('fails', [])


@pytest.mark.parametrize('size', [1, 2, 1000])
@pytest.mark.parametrize('name', ['parse', 'sessionize', 'words', 'alerts', 'enrich'])
def test_a_dofn_gives_what_is_expected(name, size):
    play(json.loads((EXPECTED / f'{name}.json').read_text()), size)


@pytest.mark.parametrize('name', ['top_k', 'sum'])
def test_a_combine_fn_gives_what_is_expected_in_whatever_parts(name):
    script = json.loads((EXPECTED / f'{name}.json').read_text())
    cls = FUNCTIONS[name].cls
    kit = CombineKit(cls, script.get('config'))
    for step in script['steps']:
        values = [read(cls.input_coder(), value) for value in step['combine']]
        if 'fails' in step:
            with pytest.raises(Failure) as raised:
                kit.combine(values)
            assert raised.value.code == step['fails'][0][1]
        else:
            assert written(kit.combine(values)) == step['gives']


def test_a_window_fn_gives_what_is_expected():
    script = json.loads((EXPECTED / 'day_sessions.json').read_text())
    cls = FUNCTIONS['day_sessions'].cls
    from thalweg_udf import IntervalWindow
    kit = WindowKit(cls, script['config'])
    for step in script['steps']:
        if 'assign' in step:
            found = kit.assign(step['assign'])
        else:
            found = [window for window, _ in kit.merge([IntervalWindow(*window) for window in step['merge']])]
        assert sorted(found) == sorted(IntervalWindow(*window) for window in step['gives'])


@pytest.mark.parametrize('name, config', [('sessionize', {'gap_ms': 0}), ('top_k', {'k': -1}), ('alerts', {'silence_ms': 'x'}),
                                          ('day_sessions', {'gap_ms': True}), ('sessionize', {'other': 1})])
def test_a_bad_configuration_is_refused(name, config):
    with pytest.raises(Failure) as raised:
        (Kit if hasattr(FUNCTIONS[name], 'shape') else CombineKit)(FUNCTIONS[name].cls, config)
    assert raised.value.code == 'CONFIG'


def test_counters_count():
    script = json.loads((EXPECTED / 'words.json').read_text())
    outcome = Kit(FUNCTIONS['words'].cls).run([element['value'] for element in script['steps'][0]['elements']])
    assert outcome.metric('words') == len(script['steps'][0]['gives'])
