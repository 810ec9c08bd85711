#!/usr/bin/env python3
"""Run Thalweg, the plain Rust limit and timely dataflow on the same input, and print CPU per event.

usage: bench.py --limit BIN --timely BIN --thalweg BIN --data DIR --tenth DIR --components DIR [--rounds N] [--json FILE]

Functions in Rust take the whole input; those in Go, JavaScript and Python, which stand beside them, a tenth of it. A system
that does not have a workload, or whose component was not built, is left out.

All run in the same session, one after the other, round by round; of the rounds the median counts. CPU is user and system
time of the whole process, as the kernel accounts it. A run whose rows or checksum are not those of the reference is
dropped and named, and the exit code is 1.
"""
import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time

# workload: what is counted; events, rows and checksum of the full data and of a tenth (the reference is the plain Rust program)
WORKLOADS = {
    'w1': ('word', (10_000_000, 10_000, 10_000_000), (1_000_000, 10_000, 1_000_000)),
    'w2': ('event', (1_000_000, 109_637, 1_000_000), (100_000, 64_600, 100_000)),
    'w3': ('document', (1_000_000, 500_538, 250_413_067_498), (100_000, 49_914, 2_494_547_264)),
    'w4': ('event', (1_000_000, 1_000_000, 51_010_299), (100_000, 100_000, 600_177)),
    'w5': ('event', (1_000_000, 900_044, 11_125_874_725), (100_000, 89_876, 1_110_069_119)),
}
TITLES = {'w1': 'W1 split and count words', 'w2': 'W2 count per key and minute', 'w3': 'W3 change JSON documents',
          'w4': 'W4 running count per key', 'w5': 'W5 join with a table'}
MARKS_US = {'w1': 0.12, 'w2': 1.0, 'w3': 1.0, 'w4': 0.5, 'w5': 1.0}
LANGUAGES = ('go', 'js', 'python')
SYSTEMS = ('limit', 'timely', 'thalweg native', 'thalweg wasm', *(f'thalweg wasm {language}' for language in LANGUAGES))
RUN_SECONDS = 300


def command(args, system, workload):
    if system == 'limit':
        return [args.limit, workload, args.data]
    if system == 'timely':
        return [args.timely, workload, args.data]
    _, udf, *language = system.split()
    suffix = f'_{language[0]}' if language else ''
    component = os.path.join(args.components, f'bench_udfs{suffix}.wasm')
    return [args.thalweg, 'bench', workload, args.tenth if language else args.data, '--udf', udf, '--component', component]


def is_there(args, system, workload):
    if system == 'timely':
        return workload in ('w1', 'w2', 'w4')
    return not system.startswith('thalweg wasm') or os.path.exists(command(args, system, workload)[-1])


def scale(system, workload):
    """Events, rows and checksum of what a system is given."""
    return WORKLOADS[workload][2 if system.split()[-1] in LANGUAGES else 1]


def measure(argv):
    """Runs a command: (wall seconds, CPU seconds, the name=value pairs that it printed) or an error text."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f'no end after {RUN_SECONDS} s'
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        return f'exit code {process.returncode}: {(err or out).strip()[-300:]}'
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, dict(re.findall(r'(\w+)=(\S+)', out))


def verdict(system, workload, pairs):
    """What is wrong with the rows and the checksum; None if nothing is."""
    events, rows, check = scale(system, workload)
    wanted = {'rows': rows, 'check': check, 'events': events}
    found = {'rows': pairs.get('rows', pairs.get('out')), 'check': pairs.get('check'), 'events': pairs.get('events', events)}
    wrong = [f'{name} {found[name]}, not {wanted[name]}' for name in wanted if str(found[name]) != str(wanted[name])]
    return ', '.join(wrong) or None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('limit', 'timely', 'thalweg', 'data', 'tenth', 'components'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--json', help='append the figures of every run to this file')
    args = parser.parse_args()

    runs, dropped = {}, {}
    load = os.getloadavg()[0]
    for number in range(args.rounds):
        for workload in WORKLOADS:
            for system in SYSTEMS:
                cell = workload, system
                if cell in dropped or not is_there(args, system, workload):
                    continue
                result = measure(command(args, system, workload))
                problem = result if isinstance(result, str) else verdict(system, workload, result[2])
                if problem:
                    dropped[cell] = problem
                    print(f'DROPPED {workload} {system}: {problem}', file=sys.stderr)
                    continue
                runs.setdefault(cell, []).append(result)
                if args.json:
                    with open(args.json, 'a', encoding='utf-8') as file:
                        file.write(json.dumps({'workload': workload, 'system': system, 'round': number,
                                               'wall': round(result[0], 3), 'cpu': round(result[1], 3)}) + '\n')
        print(f'round {number + 1} of {args.rounds} done', file=sys.stderr)

    print(f'CPU microseconds per event, median of {args.rounds} (least to most); load before {load:.1f}, {os.cpu_count()} cores')
    for workload, (unit, (events, _, _), _) in WORKLOADS.items():
        print(f'\n{TITLES[workload]} ({events:,} {unit}s; mark for thalweg wasm: {MARKS_US[workload]} us)')
        print(f"  {'':<21}{'us/' + unit:>10}{'range':>16}{'x limit':>10}{'x timely':>10}{'wall s':>9}{'own CPU us':>12}")
        middle = {}
        for system in SYSTEMS:
            if (workload, system) in dropped:
                print(f'  {system:<21}   DROPPED: {dropped[workload, system]}')
                continue
            if (workload, system) not in runs:
                continue
            events = scale(system, workload)[0]
            cpus = sorted(cpu / events * 1e6 for _, cpu, _ in runs[workload, system])
            middle[system] = statistics.median(cpus)
            own = [float(pairs['cpu_seconds']) / events * 1e6 for _, _, pairs in runs[workload, system] if 'cpu_seconds' in pairs]

            def ratio(to):
                return f'{middle[system] / middle[to]:.2f}' if middle.get(to) else '-'

            wall = statistics.median(wall for wall, _, _ in runs[workload, system])
            print(f"  {system:<21}{middle[system]:>10.3f}{f'{cpus[0]:.3f}-{cpus[-1]:.3f}':>16}{ratio('limit'):>10}{ratio('timely'):>10}"
                  f"{wall:>9.2f}{f'{statistics.median(own):.3f}' if own else '-':>12}")
    print('\nown CPU: what the program says of itself, without its start')
    return 1 if dropped else 0


if __name__ == '__main__':
    sys.exit(main())
