#!/usr/bin/env python3
"""Print what the demo found: a short table, where the output is, and what to try next.

usage: demo_report.py HOURLY_DIR MODELS_DIR
"""
import json
import os
import sys
from collections import defaultdict

AIRPORTS = 'guest-examples/data/airports.csv'


def load(path):
    with open(path, encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def main(hourly_dir, models_dir):
    groups = defaultdict(lambda: [0, 0.0, -10_000])
    for row in load(os.path.join(hourly_dir, 'hourly.jsonl')):
        group = groups[row['origin']]
        group[0] += row['count']
        group[1] += row['count'] * row['mean_dep_delay']
        group[2] = max(group[2], row['max_dep_delay'])
    models = defaultdict(list)
    for row in load(os.path.join(models_dir, 'models.jsonl')):
        models[row['origin']].append(row['per_hour'])
    dead = defaultdict(int)
    for row in load(os.path.join(hourly_dir, 'dead_letters.jsonl')):
        dead[row['reason']] += 1
    with open(AIRPORTS, encoding='utf-8') as file:
        names = dict(line.split(',')[:2] for line in file)

    print(f"\n{'airport':<24}{'flights':>10}{'mean delay':>13}{'longest':>10}{'models':>9}{'delay grows by':>21}")
    for origin, (count, total, longest) in sorted(groups.items()):
        slopes = sorted(models[origin])
        median = f'{slopes[len(slopes) // 2]:+.2f} min per hour' if slopes else '-'
        print(f'{names.get(origin, origin)[:23]:<24}{count:>10,}{total / count:>9.1f} min{longest:>6} min'
              f'{len(slopes):>9}{median:>21}')
    print('no flight: ' + ', '.join(f'{count:,} {reason}' for reason, count in sorted(dead.items())))
    print(f"""
Output:   {hourly_dir}/hourly.jsonl, {hourly_dir}/dead_letters.jsonl, {models_dir}/models.jsonl
Try next: make demo DATA=full                        the 336,776 flights of the whole year
          make demo-kafka                            the same through a real Kafka broker
          guest-examples/flights/pipeline.yaml       change the window or add a field, and run it again
          guest-examples/flights/parse/src/lib.rs    the Wasm function: `make guests` builds it""")


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
