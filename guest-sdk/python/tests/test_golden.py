"""The golden frames of the contract, ``wit/golden/``: this SDK reads the input frame that the host writes, and gives for it the
output frame that the host reads. Damaged frames are refused and never end the process.
"""
import json
import random
from pathlib import Path
from struct import unpack_from

import pytest

from thalweg_udf import Counter
from thalweg_udf import Distribution
from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import GlobalWindow
from thalweg_udf import IntervalWindow
from thalweg_udf import MapStateSpec
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import Table
from thalweg_udf import TaggedOutput
from thalweg_udf import TimeDomain
from thalweg_udf import TimerSpec
from thalweg_udf import TimestampedValue
from thalweg_udf import WindowedValue
from thalweg_udf import frame
from thalweg_udf import on_timer
from thalweg_udf.component import Function
from thalweg_udf.component import describe
from thalweg_udf.frame import BadFrame
from thalweg_udf.host import Nobody
from thalweg_udf.testing.outcome import OutputRows
from thalweg_udf.testing.outcome import failed_rows

GOLDEN = Path(__file__).resolve().parents[3] / 'wit' / 'golden'
SEEN, SIZES = Counter('seen'), Distribution('sizes')


def wrapped(number):
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class Golden(DoFn):
    """Uses every section of the layout that a DoFn has."""
    outputs = {'main': tuple[str, int], 'notes': str}
    TOTAL = ReadModifyWriteStateSpec('total', int, eager=True)
    LAST = MapStateSpec('last', str, int)
    GAP = TimerSpec('gap', TimeDomain.WATERMARK)
    NAMES = Table('names', str, str, by_key=True)

    def __init__(self, a):
        assert a == 1

    def process(self, element: tuple[str, int], time=DoFn.TimestampParam, now=DoFn.NowParam, window=DoFn.WindowParam,
                pane=DoFn.PaneInfoParam, numbers=DoFn.RandomParam, total=DoFn.StateParam(TOTAL), last=DoFn.StateParam(LAST),
                gap=DoFn.TimerParam(GAP), names=DoFn.TableParam(NAMES)):
        key, n = element
        total.write(wrapped((total.read() or 0) + n))
        last['n'] = n
        gap.set(wrapped(time + 8), tag='t', hold_timestamp=3)
        SEEN.inc()
        if n < 0:
            raise Failure('NEGATIVE', 'below nothing')
        SIZES.update(n)
        yield key, total.read()
        note = f'Interval(Interval {{ start: EventTime({window.start}), end: EventTime({window.end}) }})'
        pane = list(pane.encoded)
        yield TaggedOutput('notes', TimestampedValue(f'{names.joined("-")} {note} {pane} {numbers.next_u64()}', now))

    @on_timer(GAP)
    def due(self, tag=DoFn.DynamicTimerTagParam, fire=DoFn.FireTimestampParam, gap=DoFn.TimerParam(GAP)):
        yield TaggedOutput('notes', f'{tag} {fire}')
        gap.clear(tag='t')

    def on_window_expiration(self, key=DoFn.KeyParam, total=DoFn.StateParam(TOTAL), last=DoFn.StateParam(LAST)):
        yield WindowedValue((key, -1), 19, (IntervalWindow(20, 30), GlobalWindow()))
        total.clear()
        last.clear()


def golden(name):
    return (GOLDEN / name).read_bytes()


def opened():
    return Function('golden', Golden).open(golden('plan.frame'), Nobody())


def table(payload, count_at, words):
    """The entries of a section, with the bytes in place of the ranges, which are the last words."""
    head = unpack_from('<II', payload)
    data, entries = payload[8 + head[count_at] * words * 4:], []
    for i in range(head[count_at]):
        entry = unpack_from(f'<{words}I', payload, 8 + i * words * 4)
        entries.append((entry, data))
    return head, entries


def meaning(data):
    """What an output frame says, whatever the order of its sections and of the bytes in its arena."""
    found = dict(frame.sections(data))
    rows = OutputRows(data)
    said = {'rows': list(zip(rows.source, rows.output, rows.time, rows.keys, rows.values, rows.windows)), 'sets': rows.sets}
    for number, count_at, words, ranges in ((frame.CELL_OPS, 1, 4, 1), (frame.SUBCELL_OPS, 1, 6, 2), (frame.TIMER_OPS, 0, 10, 1),
                                            (frame.METRICS, 0, 12, 0)):
        head, entries = table(found.pop(number), count_at, words)
        said[number] = head, [(*entry[:words - 2 * ranges], *(data[a:b] for a, b in zip(*[iter(entry[words - 2 * ranges:])] * 2)))
                              for entry, data in entries]
        if number == frame.METRICS:
            said[number] = head, [(entry[0], data[entry[2]:entry[3]], entry[4:]) for entry, data in entries]
    said[frame.FAILED] = [(row, failure.code, failure.message) for row, failure in failed_rows(data)]
    said['sections'] = sorted(found)
    return said


def test_the_golden_input_gives_the_golden_output():
    assert meaning(opened().call(0, golden('input.frame'))) == meaning(golden('output.frame'))


def test_a_call_gives_the_same_bytes_again():
    instance, data = opened(), golden('input.frame')
    assert instance.call(0, data) == instance.call(0, data)


def test_the_description_of_the_golden_function_is_the_golden_one():
    ours, theirs = json.loads(describe([Function('golden', Golden)])), json.loads(golden('description.json'))
    assert ours['sdk'].startswith('python ')
    assert ours['functions'] == theirs['functions']


def test_damaged_input_frames_end_the_call_and_nothing_else():
    whole, instance, refused = golden('input.frame'), opened(), 0
    sound = instance.call(0, whole)

    def call(data):
        try:
            instance.call(0, data)
            return 0
        except (BadFrame, Failure):
            return 1

    for end in range(len(whole)):
        refused += call(whole[:end])
    chance = random.Random(1)
    for _ in range(20_000):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.randrange(256)
        refused += call(bytes(data))
    assert refused > 1000
    assert instance.call(0, whole) == sound, 'the instance is none the worse for it'


@pytest.mark.parametrize('number, payload', [
    (frame.VALUE, b'\0' * 7),
    (frame.VALUE, b'\1\0\0\0\0\0\0\0'),
    (frame.VALUE, b'\0\0\0\0\7\0\0\0'),
    (frame.GROUP, b'\0\0\0\0'),
    (frame.WINDOWS, b'\3\0\0\0'),
    (frame.WINDOW_SETS, b'\377\377\377\377\0\0\0\0'),
    (frame.GROUPS, b'\1\0\0\0\0\0\0\0'),
    (frame.CELLS, b'\0\0\0\0\1\0\0\0'),
    (frame.CLOCK, b'\0'),
])
def test_a_section_that_does_not_fit_is_refused(number, payload):
    writer = frame.Writer(1)
    writer.section(number, payload)
    with pytest.raises(BadFrame):
        frame.Input(writer.finish())


def test_a_number_of_rows_that_no_column_bears_out_is_refused():
    with pytest.raises(BadFrame):
        frame.Input(frame.Writer(0xFFFF_FFFF).finish())


def test_unknown_sections_are_skipped():
    writer = frame.Writer(1)
    writer.section(9999, b'from a later version')
    writer.section(frame.ARENA, b'kvalue')
    writer.section(frame.KEY, frame.numbers('I', (0, 1)))
    writer.section(frame.VALUE, frame.numbers('I', (1, 6)))
    data = writer.finish()
    found = frame.Input(data)
    assert (len(data) % 8, found.keys, found.values) == (0, [b'k'], [b'value'])
