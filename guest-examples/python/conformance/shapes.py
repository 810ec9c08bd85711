"""The kinds of functions that are no DoFns, and a DoFn of grouped values."""
from typing import Iterable
from typing import Iterator

from thalweg_udf import CombineFn
from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import IntervalWindow
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import WindowFn
from thalweg_udf import dofn
from thalweg_udf import key_selector
from thalweg_udf import merge_overlapping


@dofn
def total(element: tuple[str, Iterable[int]]) -> Iterator[tuple[str, int]]:
    """Sums up the grouped values of a key."""
    key, values = element
    yield key, sum(values)


class Walks(DoFn):
    """Goes over the grouped values of a key: to the first, to the last, and once more. It keeps how many it saw."""
    SEEN = ReadModifyWriteStateSpec('seen', int)

    def process(self, element: tuple[str, Iterable[bytes]], seen=DoFn.StateParam(SEEN)) -> Iterator[tuple[str, str]]:
        """Tells what it found. The key "bad" fails behind the last value."""
        key, values = element
        first = len(next(iter(values), b''))
        count = size = 0
        for value in values:
            count += 1
            size += len(value)
        again = sum(1 for _ in values)
        if key == 'bad':
            raise Failure('BAD', 'the key is bad')
        total = (seen.read() or 0) + count
        seen.write(total)
        yield key, f'{count} of {size} bytes, the first of {first}, {again} again, {total} seen'


class Top(CombineFn):
    """The largest numbers, the largest first. Configuration: how many, alone or as ``n``; 3 without one."""

    def __init__(self, n: int = 3):
        self._n = n

    def create_accumulator(self) -> list[int]:
        return []

    def add_input(self, accumulator, value: int):
        if value < 0:
            raise Failure('NEGATIVE', f'{value} is negative')
        accumulator.append(value)
        return accumulator

    def merge_accumulators(self, accumulators):
        return [number for accumulator in accumulators for number in accumulator]

    def compact(self, accumulator):
        return sorted(accumulator, reverse=True)[:self._n]

    def extract_output(self, accumulator) -> list[int]:
        return self.compact(accumulator)


class Sessions(WindowFn):
    """Sessions: a window of ten milliseconds per element, merged where they overlap."""

    def assign(self, context):
        return [IntervalWindow(context.timestamp, context.timestamp + 10)]

    def merge(self, merge_context):
        merge_overlapping(merge_context)


class Spans(WindowFn):
    """Two windows per element, as long as its value says and twice that."""
    input = tuple[str, int]

    def assign(self, context):
        _, length = context.element
        if length <= 0:
            raise Failure('LENGTH', 'there is no length')
        return [IntervalWindow(context.timestamp, context.timestamp + n * length) for n in (1, 2)]


@key_selector
def first_word(line: str) -> str:
    """The first word of a line."""
    words = line.split()
    if not words:
        raise Failure('EMPTY', 'the line has no word')
    return words[0]
