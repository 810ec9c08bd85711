"""What tests/programs/torture.yaml must give besides the fixed windows, in plain Python.

usage: torture.py INPUT_CSV FOLDER; writes dead_letters.jsonl, sessions.jsonl, told.jsonl and late.jsonl into FOLDER.
"""
import json
import sys
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import destinations

sys.path.insert(0, str(Path(__file__).parents[2] / 'scripts'))
import oracle

GAP = timedelta(hours=1)


def sessions(flights):
    times = defaultdict(list)
    for flight in flights:
        times[flight['origin']].append(flight['time'])
    for origin, all_times in times.items():
        all_times.sort()
        first, last, count = all_times[0], all_times[0], 0
        for time in all_times:
            # windows that only touch are not one
            if time >= last + GAP:
                yield origin, count, first, last + GAP
                first, count = time, 0
            last, count = time, count + 1
        yield origin, count, first, last + GAP


def main(source, folder):
    destinations.main(source, folder)
    flights, dead = oracle.read(source)
    rows = [{'origin': origin, 'flights': count, 'window_start': oracle.rfc3339(start), 'window_end': oracle.rfc3339(end)}
            for origin, count, start, end in sessions(flights)]
    for name, records in [('dead_letters', dead), ('sessions', rows)]:
        with open(Path(folder) / f'{name}.jsonl', 'w', encoding='utf-8') as file:
            file.writelines(json.dumps(record, separators=(',', ':')) + '\n' for record in records)


if __name__ == '__main__':
    main(*sys.argv[1:])
