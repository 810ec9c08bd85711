"""The functions of the benchmarks in Python, as ``guest-examples/bench`` has them in Rust."""
import json

from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import Table
from thalweg_udf import TimestampedValue
from thalweg_udf import export


class Split(DoFn):
    """W1: a line of words in, one element per word out."""
    outputs = {'words': str}

    def process(self, line: str):
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


class Change(DoFn):
    """W3: a JSON document in; those that are ``ok`` go out with twice their ``amount``, as the pair of text and id."""
    outputs = {'documents': tuple[str, int]}

    def process(self, line: str):
        document = json.loads(line)
        if document['ok']:
            document['amount'] *= 2
            yield json.dumps(document), document['id']


class Join(DoFn):
    """W5: a pair of key and value in; if the table has the key, the pair of key and product goes out."""
    outputs = {'joined': tuple[str, int]}
    FACTORS = Table('factors', str, int, by_key=True)

    def process(self, element: tuple[str, int], factors=DoFn.TableParam(FACTORS)):
        factor = factors.joined()
        if factor is not None:
            yield element[0], element[1] * factor


Guest = export(split=Split, event=Event, change=Change, count=Count, join=Join)
