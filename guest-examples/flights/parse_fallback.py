"""The component's function `parse` once more, in Python: what a runner without WebAssembly runs in its place.

The rules stand in README.md. On Thalweg this file is not used.
"""

import re
from datetime import datetime
from datetime import timedelta
from datetime import timezone

import apache_beam as beam
from apache_beam.transforms.window import TimestampedValue

from flight_rows import DeadLetter
from flight_rows import Flight

WHOLE = re.compile(r'-?[0-9]+')
CODE = re.compile(r'[A-Z0-9]+')
TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', re.ASCII)


def parse(line):
    """Yields the flight of a line with its event time, or a dead letter."""
    try:
        flight, time = flight_of(line.line.split(','))
        yield TimestampedValue(flight, time.timestamp())
    except ValueError as reason:
        yield beam.pvalue.TaggedOutput('dead_letters', DeadLetter(line.row, str(reason)))


def flight_of(fields):
    if len(fields) != 19:
        raise ValueError(f'malformed: row: expected 19 columns, found {len(fields)}')
    if fields[3] in ('', 'NA'):
        raise ValueError('cancelled')
    dep_delay = number(fields[5], 'dep_delay', -10_000, 10_000)
    carrier = code(fields[9], 'carrier', 2)
    origin = code(fields[12], 'origin', 3)
    dest = code(fields[13], 'dest', 3)
    distance = number(fields[15], 'distance', 0, 100_000)
    hour = number(fields[16], 'hour', 0, 23)
    minute = number(fields[17], 'minute', 0, 59)
    time = time_of(fields[18], 'time_hour') + timedelta(minutes=minute)
    return Flight(carrier, origin, dest, dep_delay, distance, hour), time


def present(text, column):
    if text in ('', 'NA'):
        raise ValueError(f'malformed: {column}: missing')


def number(text, column, low, high):
    present(text, column)
    if not WHOLE.fullmatch(text):
        raise ValueError(f'malformed: {column}: not a whole number')
    if not low <= int(text) <= high:
        raise ValueError(f'malformed: {column}: out of range')
    return int(text)


def code(text, column, length):
    present(text, column)
    if len(text) != length or not CODE.fullmatch(text):
        raise ValueError(f'malformed: {column}: not a code')
    return text


def time_of(text, column):
    present(text, column)
    try:
        if not TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text).astimezone(timezone.utc)
    except ValueError:
        raise ValueError(f'malformed: {column}: not a time') from None
