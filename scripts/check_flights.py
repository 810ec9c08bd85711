#!/usr/bin/env python3
"""Compare what a run of the flights example wrote with the oracle.

usage: check_flights.py INPUT_CSV OUT_DIR FILE...      FILE: hourly.jsonl, dead_letters.jsonl, models.jsonl

The order of records does not matter, their number does. Fractions may differ by 1e-9 of their size (models: 1e-6), all
other values must be equal, in type too. Prints one line per file; exit code 1 and the first differences if a file is wrong.
"""
import json
import math
import os
import sys
from collections import defaultdict

import oracle

KEYS = {
    'hourly.jsonl': ('carrier', 'origin', 'window_start'),
    'dead_letters.jsonl': ('row', 'reason'),
    'models.jsonl': ('origin', 'window_start'),
}
TOLERANCE = {'models.jsonl': 1e-6}
SHOWN_MAX = 5


def load(path):
    with open(path, encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def same(a, b, tolerance):
    if a.keys() != b.keys():
        return False
    for name in a:
        if isinstance(a[name], float):
            if isinstance(b[name], bool) or not isinstance(b[name], (int, float)) or not math.isclose(
                    a[name], b[name], rel_tol=tolerance, abs_tol=tolerance * 1e-3):
                return False
        elif type(a[name]) is not type(b[name]) or a[name] != b[name]:
            return False
    return True


def differences(name, wanted, found):
    """One sentence per record that is missing, different, or too many."""
    def by_key(records):
        groups = defaultdict(list)
        for record in records:
            groups[tuple(record.get(field) for field in KEYS[name])].append(record)
        return groups

    tolerance = TOLERANCE.get(name, 1e-9)
    wanted, found = by_key(wanted), by_key(found)
    for key, records in wanted.items():
        got = found.pop(key, [])
        if not got:
            yield f'missing: {json.dumps(records[0])}'
        elif len(got) != len(records):
            yield f'{len(got)} times instead of {len(records)}: {json.dumps(got[0])}'
        elif not all(same(a, b, tolerance) for a, b in zip(records, got)):
            yield f'different: {json.dumps(got[0])}\n    expected: {json.dumps(records[0])}'
    for records in found.values():
        yield f'not expected ({len(records)} times): {json.dumps(records[0])}'


def main(source, out, *names):
    wanted = oracle.expected(source)
    good = True
    for name in names:
        path = os.path.join(out, name)
        try:
            found = load(path)
        except (OSError, ValueError) as error:
            print(f'WRONG  {path}: {error}')
            good = False
            continue
        wrong = list(differences(name, wanted[name], found))
        if wrong:
            good = False
            print(f'WRONG  {path}: {len(wrong)} differences, {len(found)} records for {len(wanted[name])}')
            for line in wrong[:SHOWN_MAX]:
                print(f'  {line}')
        else:
            print(f'equal  {path}: {len(found)} records')
    return 0 if good else 1


if __name__ == '__main__':
    if len(sys.argv) < 4 or not set(sys.argv[3:]) <= set(KEYS):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
