"""The flights example: lines of the flights table become rows with their event time. What cannot be used goes to the output
``dead_letters`` with its reason. The table of reasons is in ``guest-examples/flights/README.md``.
"""
import re
from datetime import datetime
from datetime import timezone
from typing import NamedTuple

from thalweg_udf import Counter
from thalweg_udf import DoFn
from thalweg_udf import TaggedOutput
from thalweg_udf import TimestampedValue

COLUMNS = 19
WHOLE = re.compile('-?[0-9]+')
CODE = re.compile('[A-Z0-9]+')
# some versions of Python read 24:00 as the next day
TIME = re.compile('[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}Z')
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
CANCELLED, MALFORMED = Counter('cancelled'), Counter('malformed')


class Line(NamedTuple):
    """One line of the table; the first one after the header is 1."""
    line: str
    row: int


class Flight(NamedTuple):
    """A flight that departed: minutes of delay, miles, and the scheduled local hour of departure."""
    carrier: str
    origin: str
    dest: str
    dep_delay: int
    distance: int
    hour: int


class DeadLetter(NamedTuple):
    """A line that gave no flight, and why."""
    row: int
    reason: str


class Parse(DoFn):
    """Reads lines."""
    outputs = {'flights': Flight, 'dead_letters': DeadLetter}

    def process(self, element: Line):
        try:
            yield flight(element.line)
        except ValueError as flaw:
            (CANCELLED if str(flaw) == 'cancelled' else MALFORMED).inc()
            yield TaggedOutput('dead_letters', DeadLetter(element.row, str(flaw)))


def flight(line):
    columns = line.split(',')
    if len(columns) != COLUMNS:
        raise ValueError(f'malformed: row: expected {COLUMNS} columns, found {len(columns)}')
    if columns[3] in ('', 'NA'):
        raise ValueError('cancelled')
    dep_delay = whole(columns[5], 'dep_delay', -10_000, 10_000)
    carrier, origin, dest = code(columns[9], 'carrier', 2), code(columns[12], 'origin', 3), code(columns[13], 'dest', 3)
    distance, hour = whole(columns[15], 'distance', 0, 100_000), whole(columns[16], 'hour', 0, 23)
    minute = whole(columns[17], 'minute', 0, 59)
    time = milliseconds(columns[18], 'time_hour') + minute * 60_000
    return TimestampedValue(Flight(carrier, origin, dest, dep_delay, distance, hour), time)


def flaw(column, why):
    return ValueError(f'malformed: {column}: {why}')


def present(text, column):
    if text in ('', 'NA'):
        raise flaw(column, 'missing')


def whole(text, column, low, high):
    present(text, column)
    if not WHOLE.fullmatch(text):
        raise flaw(column, 'not a whole number')
    digits = text.lstrip('-').lstrip('0') or '0'
    # Python reads no number of more than some thousand digits
    number = int(digits) if len(digits) < 20 else 10**20
    number = -number if text[0] == '-' else number
    if not low <= number <= high:
        raise flaw(column, 'out of range')
    return number


def code(text, column, length):
    present(text, column)
    if len(text) != length or not CODE.fullmatch(text):
        raise flaw(column, 'not a code')
    return text


def milliseconds(text, column):
    present(text, column)
    try:
        if TIME.fullmatch(text):
            return int((datetime.fromisoformat(text) - EPOCH).total_seconds()) * 1000
    except ValueError:
        pass  # there is no such day, hour or year
    raise flaw(column, 'not a time')
