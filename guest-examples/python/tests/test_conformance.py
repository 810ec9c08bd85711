"""The conformance component gives by the test kit what the Rust one gives: the script of its tests is read out of its source."""
import json
import math
import re
from pathlib import Path
from typing import Iterator

import pytest

from conformance import Guest
from conformance.ledger import Ledger
from conformance.lookups import NAMES
from conformance.lookups import NUMBERS
from conformance.lookups import OTHER
from conformance.lookups import OWN
from conformance.lookups import Lookups
from conformance.shapes import Sessions
from conformance.shapes import Spans
from conformance.shapes import Top
from conformance.shapes import Walks
from conformance.shapes import first_word
from conformance.shapes import total
from conformance.timers import Buffer
from conformance.timers import Timers
from thalweg_udf import Failure
from thalweg_udf import GlobalWindow
from thalweg_udf import IntervalWindow
from thalweg_udf import dofn
from thalweg_udf.testing import CombineKit
from thalweg_udf.testing import KeyKit
from thalweg_udf.testing import Kit
from thalweg_udf.testing import WindowKit

RUST = Path(__file__).resolve().parents[2] / 'conformance' / 'src' / 'ledger.rs'


def script(name):
    """Batches of elements, and the answers that have to come of them."""
    text = RUST.read_text()
    text = text[text.index(f'pub const {name}'):]
    text = text[text.index('= &[') + 2:text.index('\n];') + 2]
    text = re.sub(r',(\s*[\])])', r'\1', text.replace('&[', '['))
    # outside of the texts parentheses are lists too
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    return json.loads(''.join(p if p.startswith('"') else p.replace('(', '[').replace(')', ']') for p in parts))


@pytest.mark.parametrize('together', [True, False])
@pytest.mark.parametrize('name', ['SCRIPT', 'WALKS'])
def test_every_kind_of_state_is_kept_by_key_and_a_failed_element_leaves_none(name, together):
    kit, batches = Kit(Ledger), script(name)
    assert len(batches) == 4
    for elements, expected in batches:
        size, answers, failed = len(elements) if together else 1, [], 0
        for first in range(0, len(elements), size):
            outcome = kit.run([tuple(element) for element in elements[first:first + size]])
            answers += [answer for _, answer in outcome.elements()]
            failed += len(outcome.failures)
        assert answers == expected
        assert failed == sum('fail ' in commands for _, commands in elements)


def test_several_keys_of_a_map_are_fetched_by_one_call():
    kit = Kit(Ledger)
    kit.run([('a', 'map.put m 1; map.put n 2')])
    before = kit.state_calls
    assert kit.run([('a', 'map.fetch m n; map.get m; map.get n')]).elements() == [('a', 'Some(1)'), ('a', 'Some(2)')]
    assert kit.state_calls - before == 1


def texts(outcome):
    return [f'{key}@{time}: {text}' for time, (key, text) in outcome.timestamped()]


def test_timers_fire_in_order_once_and_where_they_were_set():
    kit, window = Kit(Timers), IntervalWindow(0, 5000)
    commands = ['event 300', 'event 100 x', 'event 200 y 50', 'event 100 gone', 'clear gone', 'fail', 'processing 9']
    outcome = kit.run([('k', command) for command in commands], timestamp=10, window=window)
    assert len(outcome.failures) == 1
    assert len(kit.timers) == 4
    assert texts(kit.advance_watermark(250)) == ['k@100: event "x" at 100 time 100 seen 6', 'k@50: event "y" at 200 time 50 seen 6']
    assert texts(kit.advance_clock(8)) == []
    assert texts(kit.advance_clock(9)) == ['k@10: clock "" at 9 time 10 seen 6']
    kit.run([('k', 'event 400')], timestamp=10, window=window)  # moves the one at 300
    assert texts(kit.advance_watermark(4999)) == ['k@400: event "" at 400 time 400 seen 7']
    assert texts(kit.advance_watermark(5000)) == ['k@4999: over seen 7']
    assert texts(kit.advance_watermark(math.inf)) == []


def test_a_timer_may_set_itself_again():
    kit = Kit(Timers)
    kit.run([('k', 'event 100 again')])
    assert [time for time, _ in kit.advance_watermark(2000).timestamped()] == [100, 600, 1100]


def test_what_a_bundle_gathers_leaves_when_it_ends():
    kit = Kit(Buffer)
    for _ in range(2):
        assert kit.run([1, 2, 3]).windowed() == [(5, [GlobalWindow()], 6)]


def test_side_inputs_and_tables_are_read():
    kit = Kit(Lookups)
    kit.side(NUMBERS, range(1, 11))
    kit.side(NAMES, [('a', 'Ann'), ('b', 'Bea'), ('a', 'Ada')])
    kit.table(OWN, {'a': 'A'})
    kit.table(OTHER, {'z': 26})
    assert kit.run([('a', 'z'), ('c', 'y')]).elements() == [
        'a: sum 55, names Ann+Ada of 2, own A, other Some(26)',
        'c: sum 55, names  of 2, own none, other None',
    ]


def test_grouped_values_are_summed_up():
    assert Kit(total).run([('a', [1, 2, 3]), ('b', [])]).elements() == [('a', 6), ('b', 0)]


def test_the_largest_are_the_same_in_whatever_parts_they_come():
    kit = CombineKit(Top)
    assert kit.combine([5, 1, 9, 7, 9, 2]) == [9, 9, 7]
    assert kit.combine([]) == []
    with pytest.raises(Failure, match='NEGATIVE'):
        kit.combine([1, -1])
    assert CombineKit(Top, {'n': 1}).combine([5, 6]) == [6]


def test_windows_are_assigned_and_merged():
    kit = WindowKit(Sessions)
    assert kit.assign(3) == [IntervalWindow(3, 13)]
    windows = [IntervalWindow(0, 10), IntervalWindow(50, 60), IntervalWindow(9, 19)]
    assert kit.merge(windows) == [(IntervalWindow(0, 19), [0, 2]), (IntervalWindow(50, 60), [1])]
    kit = WindowKit(Spans)
    assert kit.assign(1, ('k', 4)) == [IntervalWindow(1, 5), IntervalWindow(1, 9)]
    with pytest.raises(Failure, match='LENGTH'):
        kit.assign(1, ('k', 0))


def test_elements_get_their_keys():
    kit = KeyKit(first_word)
    assert kit.keys(['to be', 'or']) == ['to', 'or']
    with pytest.raises(Failure, match='EMPTY'):
        kit.keys(['x', ' '])


def test_the_component_describes_all_of_them():
    described = json.loads(Guest().describe())
    names = [function['name'] for function in described['functions']]
    assert names == ['ledger', 'timers', 'buffer', 'lookups', 'total', 'walks', 'top', 'sessions', 'spans', 'first_word', 'run']


def test_grouped_values_come_by_page_and_may_be_walked_over_again():
    kit = Kit(Walks)
    kit.page_bytes(8)
    values = [b'abc', b'', b'de'] * 7
    outcome = kit.run([('a', values), ('b', [b'abcdef']), ('a', []), ('bad', values)])
    texts = [text for _, text in outcome.elements()]
    assert texts == ['21 of 35 bytes, the first of 3, 21 again, 21 seen', '0 of 0 bytes, the first of 0, 0 again, 21 seen',
                     '1 of 6 bytes, the first of 6, 1 again, 1 seen']
    assert len(outcome.failures) == 1
    kit = Kit(total)
    kit.page_bytes(1)
    assert kit.run([('a', [1, 300, 5])]).elements() == [('a', 306)]


def test_a_list_is_a_list_however_long_it_is():

    @dofn
    def longest(values: list[str]) -> Iterator[int]:
        assert isinstance(values, list)
        yield len(values)

    kit = Kit(longest)
    kit.page_bytes(4)
    assert kit.run([['a', 'bcd', 'e', 'fgh']]).elements() == [4]
