#!/usr/bin/env python3
"""What the flights example must give, computed in plain Python: no Beam, no Thalweg, no numpy.

usage: oracle.py INPUT_CSV OUT_DIR

Writes the three expected files into OUT_DIR, one JSON object per line:
  hourly.jsonl        carrier, origin, window_start, count, mean_dep_delay, max_dep_delay
  dead_letters.jsonl  row, reason
  models.jsonl        origin, window_start, flights, intercept, per_hour, per_mile

The rules of parsing stand in guest-examples/flights/README.md. A model is the least-squares fit of
dep_delay = intercept + per_hour * hour + per_mile * distance over one airport and one UTC day; there is none for fewer than
30 flights, nor if the fit is not unique. It is solved in exact fractions, so that it owes nothing to a library.
"""
import json
import os
import re
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from fractions import Fraction

COLUMNS = ('year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay carrier flight tailnum '
           'origin dest air_time distance hour minute time_hour').split()
FLIGHTS_MIN = 30


def whole(low, high):
    def check(text):
        if not re.fullmatch(r'-?[0-9]+', text):
            raise ValueError('not a whole number')
        if not low <= int(text) <= high:
            raise ValueError('out of range')
        return int(text)
    return check


def code(length):
    def check(text):
        if not re.fullmatch('[A-Z0-9]{%d}' % length, text):
            raise ValueError('not a code')
        return text
    return check


def instant(text):
    if re.fullmatch(r'[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z', text):
        try:
            return datetime.strptime(text, '%Y-%m-%dT%H:%M:%SZ')
        except ValueError:
            pass
    raise ValueError('not a time')


# the columns that are used, from left to right
CHECKS = {
    'dep_delay': whole(-10_000, 10_000),
    'carrier': code(2),
    'origin': code(3),
    'dest': code(3),
    'distance': whole(0, 100_000),
    'hour': whole(0, 23),
    'minute': whole(0, 59),
    'time_hour': instant,
}


def parse(line):
    """A flight as a dict and None, or None and the reason why there is none."""
    fields = line.split(',')
    if len(fields) != len(COLUMNS):
        return None, f'malformed: row: expected {len(COLUMNS)} columns, found {len(fields)}'
    texts = dict(zip(COLUMNS, fields))
    if texts['dep_time'] in ('', 'NA'):
        return None, 'cancelled'
    flight = {}
    for column, check in CHECKS.items():
        try:
            if texts[column] in ('', 'NA'):
                raise ValueError('missing')
            flight[column] = check(texts[column])
        except ValueError as why:
            return None, f'malformed: {column}: {why}'
    flight['time'] = flight['time_hour'] + timedelta(minutes=flight['minute'])
    return flight, None


def read(path):
    """The flights and the dead letters of a file; the header is skipped, the first row after it is row 1."""
    flights, dead = [], []
    with open(path, encoding='utf-8', newline='') as file:
        lines = file.read().split('\n')
    if lines[-1] == '':
        lines.pop()
    for row, line in enumerate(lines[1:], 1):
        flight, reason = parse(line.removesuffix('\r'))
        if flight:
            flights.append(flight)
        else:
            dead.append({'row': row, 'reason': reason})
    return flights, dead


def rfc3339(time):
    # strftime does not pad the year to four digits on every platform
    return time.isoformat() + 'Z'


def hourly(flights):
    groups = defaultdict(list)
    for flight in flights:
        start = flight['time'].replace(minute=0, second=0)
        groups[flight['carrier'], flight['origin'], start].append(flight['dep_delay'])
    return [{'carrier': carrier, 'origin': origin, 'window_start': rfc3339(start), 'count': len(delays),
             'mean_dep_delay': sum(delays) / len(delays), 'max_dep_delay': max(delays)}
            for (carrier, origin, start), delays in groups.items()]


def solve(matrix, right):
    """Gauss's elimination in fractions; None if the matrix is singular."""
    rows = [[Fraction(x) for x in row] + [Fraction(y)] for row, y in zip(matrix, right)]
    n = len(rows)
    for i in range(n):
        pivot = next((r for r in range(i, n) if rows[r][i]), None)
        if pivot is None:
            return None
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [x - rows[r][i] * y for x, y in zip(rows[r], rows[i])]
    return [row[n] for row in rows]


def models(flights):
    groups = defaultdict(list)
    for flight in flights:
        start = flight['time'].replace(hour=0, minute=0, second=0)
        groups[flight['origin'], start].append(((1, flight['hour'], flight['distance']), flight['dep_delay']))
    found = []
    for (origin, start), points in groups.items():
        if len(points) < FLIGHTS_MIN:
            continue
        normal = [[sum(x[i] * x[j] for x, _ in points) for j in range(3)] for i in range(3)]
        fit = solve(normal, [sum(x[i] * y for x, y in points) for i in range(3)])
        if fit:
            intercept, per_hour, per_mile = map(float, fit)
            found.append({'origin': origin, 'window_start': rfc3339(start), 'flights': len(points),
                          'intercept': intercept, 'per_hour': per_hour, 'per_mile': per_mile})
    return found


def expected(path):
    """File name -> records."""
    flights, dead = read(path)
    return {'hourly.jsonl': hourly(flights), 'dead_letters.jsonl': dead, 'models.jsonl': models(flights)}


def main(path, out):
    os.makedirs(out, exist_ok=True)
    for name, records in expected(path).items():
        with open(os.path.join(out, name), 'w', encoding='utf-8') as file:
            file.writelines(json.dumps(record) + '\n' for record in records)
        print(f'{name}: {len(records)} records')


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
