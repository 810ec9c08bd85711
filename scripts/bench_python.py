#!/usr/bin/env python3
"""Python pipelines on Thalweg, on Beam's Prism and on Beam's FnApiRunner in the same run; and one harness against bundle size.

usage: bench_python.py --thalweg BIN --python PY --data DIR --out DIR [--prism BIN] [--driver BIN] [--rounds N] [--csv FILE]
                       [--only workloads,curve]

Workloads W1-W5 of bench/beam_bench.py, each on every runner in turn, round by round; the median counts. Rates are in wall time
with start-up; CPU is that of the program (under LOOPBACK the functions run in it) and of the runner's process beside it. Thalweg
runs them once more with two workers, processes of Beam's worker pool (sdk_worker_parallelism=2).

The curve: W3's function on one harness (a process of Beam's worker pool) with bundles of 1 to 50,000 elements: fed by
Thalweg (bench/feed.py), and by the bare driver (bench/fnapi), which is what a harness can do. One CSV line per point.
Without --prism or --driver their columns are left out, and said to be.
"""
import argparse
import csv
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time

# workload: what is counted, how many, rows and checksum. W2 has the full input, because only there a key and minute has several
# events; of the others a tenth says as much.
WORKLOADS = {
    'w1': ('words', 1_000_000, '10000', '1000000'),
    'w2': ('events', 1_000_000, '109637', '1000000'),
    'w3': ('documents', 100_000, '49914', '2494547264'),
    'w4': ('events', 100_000, '100000', '600177'),
    'w5': ('events', 100_000, '89876', '1110069119'),
}
SIZES = [1, 5, 20, 50, 100, 200, 500, 1000, 3000, 5000, 10000, 50000]
IN_FLIGHT = 8
TICK = os.sysconf('SC_CLK_TCK')
RUN_SECONDS = 300
TWO_WORKERS = 'thalweg, 2 workers'


def free_port():
    with socket.socket() as s:
        s.bind(('localhost', 0))
        return s.getsockname()[1]


def cpu_of(pid):
    """CPU seconds of a running process and of its children that have ended."""
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
        return sum(map(int, file.read().rsplit(')', 1)[1].split()[11:15])) / TICK


class Server:
    """A process that listens on a port of its own, stopped at the end."""
    def __init__(self, argv, port, log, path=''):
        self.port = port
        self.log = open(log, 'w', encoding='utf-8')
        env = {**os.environ, 'PATH': path + os.environ['PATH']}
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=subprocess.STDOUT, env=env)
        for _ in range(300):
            try:
                socket.create_connection(('localhost', port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        raise SystemExit(f'{argv[0]} does not listen; see {log}')

    def cpu(self):
        return cpu_of(self.process.pid)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def run(argv, server=None):
    """Runs a program to its end: (the pairs it printed, its CPU seconds, the server's), or a text that says what went wrong."""
    before = server.cpu() if server else 0
    own = os.times()
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f'no end after {RUN_SECONDS} s'
    if ended.returncode:
        return f'exit code {ended.returncode}: {ended.stderr.strip()[-300:]}'
    after = os.times()
    cpu = after.children_user + after.children_system - own.children_user - own.children_system
    return dict(re.findall(r'(\w+)=(\S+)', ended.stdout)), cpu, server.cpu() - before if server else 0


def runners(servers):
    """The columns of the workloads: what a runner is called, its process if it has one, and the options that lead to it."""
    def one(name):
        return name, servers[name], [f'--job_endpoint=localhost:{servers[name].port}', '--environment_type=LOOPBACK']

    several = [f"--job_endpoint=localhost:{servers['thalweg'].port}", '--environment_type=EXTERNAL',
               f'--environment_config=localhost:{servers["pool"].port}', '--sdk_worker_parallelism=2']
    peers = [one('prism')] if 'prism' in servers else []
    return [one('thalweg'), (TWO_WORKERS, servers['thalweg'], several), *peers, ('FnApiRunner', None, [])]


def workloads(args, servers):
    program = 'bench/beam_bench.py'
    runs, lost = {}, {}
    systems = runners(servers)
    for number in range(args.rounds):
        for workload, (_, _, rows, check) in WORKLOADS.items():
            for system, server, options in systems:
                if (workload, system) in lost:
                    continue
                # windows and state requests cost the FnApiRunner up to milliseconds: it gets a tenth of them
                small = workload in ('w2', 'w4') and not server
                scales = ('s10', 'full') if workload == 'w2' else ('s1', 's10')
                place = os.path.abspath(os.path.join(args.data, scales[0 if small else 1]))
                kind = 'portable' if server else 'fnapi'
                result = run([args.python, program, workload, place, kind, *options], server)
                if not isinstance(result, str) and not small and (result[0].get('out'), result[0].get('check')) != (rows, check):
                    result = f"rows {result[0].get('out')} and checksum {result[0].get('check')}, not {rows} and {check}"
                if isinstance(result, str):
                    lost[workload, system] = result
                    print(f'DROPPED {workload} {system}: {result}', file=sys.stderr)
                    continue
                pairs, cpu, runner = result
                runs.setdefault((workload, system), []).append((float(pairs['secs']) * (10 if small else 1), cpu, runner))
        print(f'workloads: round {number + 1} of {args.rounds} done', file=sys.stderr)
    print(f'\nPython pipelines, one harness, and two of a worker pool; median of {args.rounds}; rates in wall time, start-up included')
    print(f"  {'':<4}{'':<20}{'k/s':>9}{'x prism':>9}{'seconds':>9}{'program CPU s':>15}{'runner CPU s':>14}")
    for workload, (unit, events, _, _) in WORKLOADS.items():
        middle = {system: [statistics.median(column) for column in zip(*runs[workload, system])]
                  for system, _, _ in systems if (workload, system) in runs}
        for system, (wall, cpu, runner) in middle.items():
            ratio = f"{middle['prism'][0] / wall:.2f}" if 'prism' in middle else '-'
            # the pool's workers are no children of the program
            own = '-' if system == TWO_WORKERS else f'{cpu:.2f}'
            print(f'  {workload:<4}{system:<20}{events / wall / 1000:>9.1f}{ratio:>9}{wall:>9.2f}{own:>15}{runner:>14.2f}  {unit}')
    return not lost


def sample(args, size):
    """A file with as many documents as make a run of some seconds."""
    # many bundles for the few in flight, and so many documents that the start of the job is a small part of the CPU that is measured
    lines = min(400_000, max(2_000, size * 400))
    path = os.path.join(args.out, f'feed-{lines}.jsonl')
    if not os.path.exists(path):
        with open(os.path.join(args.data, 'full', 'events.jsonl'), encoding='utf-8') as source, \
             open(path, 'w', encoding='utf-8') as file:
            file.writelines(line for _, line in zip(range(lines), source))
    return path


def describe(args):
    """The folder of what the bare driver needs."""
    folder = os.path.join(args.out, 'driver')
    os.makedirs(folder, exist_ok=True)
    events = os.path.join(args.data, 's10', 'events.jsonl')
    subprocess.run([args.python, 'bench/fnapi/make_descriptor.py', 'json', events, folder], check=True, capture_output=True)
    return folder


def driver_rate(args, folder, size):
    """Documents a second with bundles of a size, as the bare driver feeds them."""
    argv = [args.driver, '-python', args.python, '-dir', folder, '-udf', 'json', '-inflight', str(IN_FLIGHT),
            '-sizes', str(size), '-secs', '2']
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_SECONDS, check=True)
    rows = [line.split() for line in ended.stdout.splitlines() if line.strip() and line.split()[0].isdigit()]
    return float(rows[0][4])


def point(args, server, ends, folder, size):
    """One point of the curve: of the rounds the middle one. The driver's run stands beside each of ours."""
    rounds = []
    for _ in range(args.rounds):
        bare = driver_rate(args, folder, size or max(SIZES)) if args.driver else None
        result = run([args.python, 'bench/feed.py', sample(args, size or max(SIZES)), str(size), *ends], server)
        if isinstance(result, str):
            return result
        pairs, _, runner = result
        elements = int(pairs['elements'])
        rounds.append((float(pairs['rate']), bare, runner / elements * 1e6, elements, int(pairs['bundles'])))
    rates, bares, costs, elements, bundles = zip(*rounds)
    ratio = round(statistics.median(a / b for a, b in zip(rates, bares)), 3) if args.driver else ''
    return {'bundle': size or 'adaptive', 'elements': elements[0], 'bundles': bundles[0],
            'rate': round(statistics.median(rates)), 'bare_rate': round(statistics.median(bares)) if args.driver else '',
            'ratio': ratio, 'runner_us': round(statistics.median(costs), 3)}


def worker_pool(args):
    """A process that starts Beam's Python workers, each as a process of its own."""
    port = free_port()
    # the pool starts its workers as `python`
    return Server([args.python, '-m', 'apache_beam.runners.worker.worker_pool_main', f'--service_port={port}'], port,
                  os.path.join(args.out, 'pool.log'), os.path.dirname(os.path.abspath(args.python)) + ':')


def curve(args, servers):
    server, points, good = servers['thalweg'], [], True
    ends = [f'localhost:{server.port}', f"localhost:{servers['pool'].port}"]
    run([args.python, 'bench/feed.py', sample(args, 1), '0', *ends], server)  # warm up
    folder = describe(args) if args.driver else ''
    for size in [*SIZES, 0]:
        found = point(args, server, ends, folder, size)
        if isinstance(found, str):
            print(f'DROPPED bundle size {size}: {found}', file=sys.stderr)
            good = False
        else:
            points.append(found)
    print(f"\nOne harness, JSON documents, thousands a second; the driver keeps {IN_FLIGHT} bundles in flight")
    print(f"  {'bundle':>8}{'thalweg':>10}{'driver':>10}{'ratio':>8}{'runner CPU us/element':>24}{'bundles':>9}")
    for p in points:
        ratio = p['ratio'] or '-'
        driver = f"{p['bare_rate'] / 1000:.2f}" if p['bare_rate'] else '-'
        print(f"  {p['bundle']:>8}{p['rate'] / 1000:>10.2f}{driver:>10}{ratio:>8}{p['runner_us']:>24.3f}{p['bundles']:>9}")
    if args.csv and points:
        with open(args.csv, 'w', newline='', encoding='utf-8') as file:
            writer = csv.DictWriter(file, list(points[0]), lineterminator='\n')
            writer.writeheader()
            writer.writerows(points)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('thalweg', 'python', 'data', 'out'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--prism')
    parser.add_argument('--driver')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--csv')
    parser.add_argument('--only', default='workloads,curve')
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    for name in ('prism', 'driver'):
        if not getattr(args, name):
            print(f'no {name}: its column is left out', file=sys.stderr)

    servers, good = {}, True
    port = free_port()
    servers['thalweg'] = Server([args.thalweg, 'serve', f'--port={port}', '--log-level=warn'], port,
                                os.path.join(args.out, 'thalweg.log'))
    try:
        servers['pool'] = worker_pool(args)
        if args.prism:
            port = free_port()
            servers['prism'] = Server([args.prism, f'--job_port={port}', '--serve_http=false', '--log_level=error'], port,
                                      os.path.join(args.out, 'prism.log'))
        print(json.dumps({'cores': os.cpu_count(), 'load': os.getloadavg()[0]}))
        if 'workloads' in args.only:
            good &= workloads(args, servers)
        if 'curve' in args.only:
            good &= curve(args, servers)
    finally:
        for server in servers.values():
            server.stop()
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
