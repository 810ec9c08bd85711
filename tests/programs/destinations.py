"""What tests/programs/destinations.yaml must give, in plain Python.

usage: destinations.py INPUT_CSV FOLDER; writes told.jsonl and late.jsonl into FOLDER.
"""
import json
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / 'scripts'))
import oracle

LATE = 240
EPOCH = datetime(1970, 1, 1)


def main(source, folder):
    flights, _ = oracle.read(source)
    told, late = defaultdict(lambda: [0, 0]), []
    for flight in flights:
        day = (flight['time'] - EPOCH).days
        counts = told[flight['carrier'], day, flight['dest']]
        counts[0] += 1
        counts[1] += flight['dep_delay']
        if flight['dep_delay'] > LATE:
            late.append({'carrier': flight['carrier'], 'value': flight['dep_delay']})
    with open(Path(folder) / 'told.jsonl', 'w', encoding='utf-8') as file:
        for (carrier, day, dest), (count, delay) in told.items():
            row = {'carrier': carrier, 'day': day, 'dest': dest, 'flights': count, 'delay': delay}
            file.write(json.dumps(row, separators=(',', ':')) + '\n')
    with open(Path(folder) / 'late.jsonl', 'w', encoding='utf-8') as file:
        file.writelines(json.dumps(row, separators=(',', ':')) + '\n' for row in late)


if __name__ == '__main__':
    main(*sys.argv[1:])
