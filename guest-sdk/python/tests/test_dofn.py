"""A function with everything: outputs, times, both kinds of slot, metrics, logs, failures; run by the test kit."""
import logging
import random
import time as clock
from typing import Iterator
from typing import NamedTuple
from typing import Optional

import pytest

from thalweg_udf import BagStateSpec
from thalweg_udf import Counter
from thalweg_udf import Distribution
from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import SeededRandom
from thalweg_udf import TaggedOutput
from thalweg_udf import TimestampedValue
from thalweg_udf import dofn
from thalweg_udf import export
from thalweg_udf.component import refusal
from thalweg_udf.testing import Kit

GOOD, SIZES = Counter('good'), Distribution('sizes')


class Sum(DoFn):
    """Sums per key; 0 lists what the bag holds and empties it; a negative number does much and then fails."""
    outputs = {'main': tuple[str, int], 'seen': str}
    TOTAL = ReadModifyWriteStateSpec('total', int, eager=True)
    LAST = ReadModifyWriteStateSpec('last', str)
    ALL = BagStateSpec('all', int)

    def process(self, element: tuple[str, int], total=DoFn.StateParam(TOTAL), last=DoFn.StateParam(LAST), all=DoFn.StateParam(ALL)):
        key, n = element
        if n == 0:
            yield TaggedOutput('seen', f'{key}: {all.read()} last {last.read()}')
            all.clear()
            return
        total.write((total.read() or 0) + n)
        all.add(n)
        last.write(f'{key}{n}')
        yield TimestampedValue((key, total.read()), n)
        if n < 0:
            all.clear()
            total.clear()
            logging.warning('%s is negative', n)
            raise Failure('NEGATIVE', f'{n} is negative')
        GOOD.inc()
        SIZES.update(n)


def test_outputs_have_their_times_and_names():
    outcome = Kit(Sum).run([('a', 1), ('a', 0), ('a', 2)], timestamp=100)
    assert outcome.timestamped() == [(1, ('a', 1)), (2, ('a', 3))]
    assert outcome.timestamped('seen') == [(100, 'a: [1] last a1')]


def test_state_lives_on_and_stays_with_its_key():
    kit = Kit(Sum)
    kit.run([('a', 1), ('b', 10), ('a', 2)])
    outcome = kit.run([('b', 5), ('a', 0), ('b', 0), ('c', 0)])
    assert outcome.elements() == [('b', 15)]
    assert outcome.elements('seen') == ['a: [1, 2] last a2', 'b: [10, 5] last b5', 'c: [] last None']
    assert kit.run([('a', 0)]).elements('seen') == ['a: [] last a2']


def test_a_failed_element_leaves_no_trace_but_its_failure():
    kit = Kit(Sum)
    kit.run([('a', 1)])
    # the failing element comes first, between and after others of its key
    outcome = kit.run([('a', -1), ('a', 2), ('a', -2), ('a', 0), ('a', 3), ('a', -3)])
    assert outcome.elements() == [('a', 3), ('a', 6)]
    assert outcome.elements('seen') == ['a: [1, 2] last a2']
    assert [(row, str(failure)) for row, failure in outcome.failures] == [(0, 'NEGATIVE: -1 is negative'),
                                                                          (2, 'NEGATIVE: -2 is negative'),
                                                                          (5, 'NEGATIVE: -3 is negative')]
    assert outcome.logs == [(3, '-1 is negative'), (3, '-2 is negative'), (3, '-3 is negative')]
    outcome = kit.run([('a', 0), ('a', 1)])
    assert outcome.elements('seen') == ['a: [3] last a3']
    assert outcome.elements() == [('a', 7)]


def test_metrics_are_deltas_of_the_batch():
    kit = Kit(Sum)
    outcome = kit.run([('a', 4), ('b', 6)])
    assert (outcome.metric('good'), outcome.metric('sizes')) == (2, (2, 10, 4, 6))
    outcome = kit.run([('a', 1)])
    assert (outcome.metric('good'), outcome.metric('sizes')) == (1, (1, 1, 1, 1))
    assert kit.run([('a', 0)]).metric('good') is None


def test_lazy_cells_are_read_a_page_at_a_time_and_written_without_a_call():
    kit = Kit(Sum)
    kit.run([(str(i), 0) for i in range(100, 300)])
    # 200 groups in pages of 64, for the bag and for the lazy value; changes leave with the result
    assert kit.state_calls == 4 + 4


@dofn
def many(n: int) -> Iterator[bytes]:
    for i in range(2000):
        yield i.to_bytes(4, 'little') * 100
    if n == 1:
        raise Failure('LATE', 'after all the outputs')


def test_outputs_of_one_element_may_be_many():
    outcome = Kit(many).run([0, 1, 2])
    assert len(outcome.calls[0].frames) > 5, 'most left before the call ended'
    assert len(outcome.elements()) == 4000, 'the outputs of the failed element are dropped'


@dofn
def large(n: int) -> Iterator[str]:
    for i in range(n):
        yield str(i) * 300_000


def test_large_outputs_leave_one_by_one():
    outcome = Kit(large).run([1, 30])
    assert [element[:2] for element in outcome.elements()] == ['00', *(str(i)[:1] + str(i)[-1:] if i > 9 else f'{i}{i}' for i in range(30))]
    assert max(map(len, outcome.calls[0].frames[3:])) < 1_000_000, 'they are not gathered'


@dofn
def inverse(n: int) -> Iterator[float]:
    yield 1 / n


def test_an_error_of_an_element_is_told_with_its_class_and_stack():
    outcome = Kit(inverse).run([1, 0, 4])
    assert outcome.elements() == [1.0, 0.25]
    (row, failure), = outcome.failures
    assert (row, failure.code) == (1, 'ZERO_DIVISION_ERROR')
    first, *stack = failure.message.splitlines()
    assert first == 'division by zero'
    assert any('test_dofn.py' in line and 'in inverse' in line for line in stack)
    assert any('yield 1 / n' in line for line in stack), 'with the line of the source'
    assert not any('runner.py' in line for line in stack), 'without the SDK'


class Trip(NamedTuple):
    start: str
    minutes: Optional[int]


@dofn
def chances(n: int, numbers=DoFn.RandomParam, now=DoFn.NowParam) -> Iterator[tuple[str, float]]:
    yield 'ours', numbers.random()
    yield 'theirs', random.random()
    yield 'choice', float(numbers.choice(range(n)))
    yield 'now', float(now)


def test_random_numbers_come_again_when_a_call_is_made_again():
    kit = Kit(chances)
    kit.advance_clock(55)
    first, second = (kit.run([10, 10]).elements() for _ in range(2))
    assert first == second
    assert first[0] != first[4], 'of one call they differ'
    assert first[3] == ('now', 55.0)
    assert SeededRandom(99).next_u64() == SeededRandom(99).getrandbits(64)
    assert clock.time() > 1e9, 'outside of a component the clock is the machine\'s'


@dofn
def wrong(n: int) -> Iterator[Trip]:
    if n == 1:
        yield 'no trip'
    elif n == 2:
        yield Trip(5, None)
    elif n == 3:
        return 'text'
    elif n == 4:
        yield TaggedOutput('nowhere', Trip('a', 1))
    elif n == 5:
        yield TimestampedValue(Trip('a', 1), 1.5)
    else:
        yield Trip('a', None)


def test_what_cannot_be_put_out_fails_its_element_and_says_what_was_wanted():
    outcome = Kit(wrong).run([0, 1, 2, 4, 5, 0])
    assert outcome.elements() == [Trip('a', None), Trip('a', None)]
    assert [str(failure).splitlines()[0] for _, failure in outcome.failures] == [
        "ENCODE: a Trip is wanted, and not str 'no trip'",
        'ENCODE: field start: a text is wanted, and not int 5',
        'KEY_ERROR: "there is no output \'nowhere\'"',
        'ENCODE: a timestamp is a whole number of milliseconds, and not 1.5',
    ]


def test_a_method_that_returns_a_text_is_told_so():

    @dofn
    def text(n: int) -> list[str]:
        return 'abc'

    outcome = Kit(text).run([1])
    assert outcome.elements() == [] and outcome.failures[0][1].code == 'TYPE_ERROR'


def test_classes_that_cannot_be_functions_are_refused_when_they_are_exported():
    untyped = type('Untyped', (DoFn, ), {'process': lambda self, element: []})
    with pytest.raises(TypeError, match='needs a type'):
        export(untyped=untyped)

    class Unkeyed(DoFn):
        N = ReadModifyWriteStateSpec('n', int)

        def process(self, element: int, n=DoFn.StateParam(N)):
            pass

    with pytest.raises(TypeError, match='pairs of key and value'):
        export(unkeyed=Unkeyed)
    with pytest.raises(TypeError, match='no class of DoFn'):
        export(number=int)
    with pytest.raises(TypeError, match='there is no coder'):
        export(sets=type('Sets', (DoFn, ), {'input': set, 'process': lambda self, element: []}))


def test_a_component_opens_calls_and_closes_its_functions_by_their_names():
    guest = export({'in-verse': inverse}, many=many)()
    assert '"name":"in-verse"' in guest.describe()
    with pytest.raises(Failure, match='NO_FUNCTION'):
        guest.open('other', b'')
    with pytest.raises(Failure, match='NO_INSTANCE'):
        guest.call(0, 0, b'')
    guest.close(7)
    with pytest.raises(Exception) as raised:
        guest.open('many', b'no plan')
    code, message, trace = refusal(raised.value)
    assert code == 'BAD_FRAME' and 'broken' in message and 'Traceback' in trace


def test_capabilities_that_a_function_needs_are_described():

    class Greedy(DoFn):
        capabilities = ('clock', 'env:REGION')

        def process(self, element: int) -> Iterator[int]:
            yield element

    assert '"capabilities":["clock","env:REGION"]' in export(greedy=Greedy)().describe()


def test_outputs_can_be_compared_in_tests_of_ones_own():
    assert TaggedOutput('a', TimestampedValue(1, 2)) == TaggedOutput('a', TimestampedValue(1, 2))
    assert TimestampedValue(1, 2) != TimestampedValue(1, 3)
    assert len({TimestampedValue(1, 2), TimestampedValue(1, 2)}) == 1
    assert repr(TaggedOutput('a', TimestampedValue(1, 2))) == "TaggedOutput('a', TimestampedValue(1, 2))"


def test_an_instance_is_set_up_and_torn_down():
    done = []

    class Life(DoFn):
        outputs = {'main': int}

        def __init__(self, n=1):
            done.append(n)

        def setup(self):
            done.append('setup')

        def process(self, element: int):
            yield element

        def teardown(self):
            done.append('teardown')

    Kit(Life, {'n': 5}).close()
    assert done == [5, 'setup', 'teardown']
    with pytest.raises(Failure, match='CONFIG'):
        Kit(Life, {"m": 5})
