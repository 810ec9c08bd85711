"""The functions of the benchmarks W1, W2 and W4 in Python, as ``guest-examples/bench`` has them in Rust."""
from typing import Iterator

from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import TimestampedValue
from thalweg_udf import dofn
from thalweg_udf import export


@dofn
def split(line: str) -> Iterator[str]:
    """W1: a line of words in, one element per word out."""
    return [word for word in line.split(' ') if word]


class Event(DoFn):
    """W2: a line ``key<TAB>milliseconds<TAB>value`` in, the pair of key and value with its event time out."""
    outputs = {'events': tuple[str, int]}

    def process(self, line: str):
        columns = line.split('\t')
        if len(columns) != 3:
            raise Failure('COLUMNS', 'the line does not have 3 columns')
        key, time, value = columns
        if not (time.isdecimal() and value.isdecimal() and max(len(time), len(value)) <= 18):
            raise Failure('NUMBER', 'time or value is not a whole number')
        return (TimestampedValue((key, int(value)), int(time)), )


class Count(DoFn):
    """W4: counts the elements of each key; every element gives its key with the count so far."""
    outputs = {'counts': tuple[str, int]}
    SEEN = ReadModifyWriteStateSpec('n', int, eager=True)

    def process(self, element: tuple[str, int], seen=DoFn.StateParam(SEEN)):
        count = (seen.read() or 0) + 1
        seen.write(count)
        return ((element[0], count), )


Guest = export(split=split, event=Event, count=Count)
