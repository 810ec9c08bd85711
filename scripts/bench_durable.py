#!/usr/bin/env python3
"""Durable and exactly-once: Thalweg beside Flink and Kafka Streams in one session, then its latency and its restarts.

usage: bench_durable.py --thalweg BIN --limit BIN --component FILE --java DIR --data DIR --out DIR [--rounds N]
                        [--only files,kafka,keys,latency,restart]

files    W2 and W4 over a file. Flink with RocksDB and a checkpoint every 10 s; Thalweg with RocksDB, an epoch every 500 ms, fsync each.
kafka    W2 and W4 from topic to topic, exactly once, a commit every 500 ms: Kafka Streams; Thalweg with its state on this disk; Thalweg
         as a cluster of one process, its state in a changelog.
keys     W4 with 10,000,000 keys, RocksDB with a cache of 64 MiB and 64 MiB of write buffers, fsync each epoch; Flink likewise.
latency  from a record to its committed result, at a fixed rate, epochs of 100 ms: Kafka -> Wasm -> GroupByKey -> count -> Kafka.
restart  a process is killed and started again, with a gigabyte of state, a million keys of a kilobyte: until its first result, with its
         local copy and without.

Rates are per CPU second of the program, without its start: the difference of a run over 3,000,000 events to one over 1,000,000. Systems
take turns, round by round; the median counts. Rows and checksums are those of a plain loop, or the run is dropped and named. The load
average stands beside each row; above 2 it is marked noisy.
"""
import argparse
import base64
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf('SC_CLK_TCK')
SCALES = {'full': 1, 'triple': 3}
EVENTS = 1_000_000
KEYS = 10_000_000
AGAIN = 5_000_000
WIDE = 1_000_000
WIDE_AGAIN = 50_000
EPOCH_MS = 500
CHECKPOINT_MS = 10_000
RUN_SECONDS = 900
JAVA = ['java', '-Xmx1500m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
        *(f'--add-opens=java.base/java.{part}=ALL-UNNAMED' for part in ('util', 'lang', 'time'))]


def load():
    return os.getloadavg()[0]


def cpu_of(pid):
    """CPU seconds of a running process."""
    with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
        return sum(map(int, file.read().rsplit(')', 1)[1].split()[11:13])) / TICK


def pairs(text):
    return dict(re.findall(r'(\w+)=(\S+)', text))


def fill(target, rows):
    """Writes events, whole or not at all, unless they are there."""
    if target.exists():
        return
    target.parent.mkdir(exist_ok=True)
    part = target.with_suffix('.part')
    with open(part, 'w', encoding='utf-8') as out:
        out.writelines(rows)
    part.rename(target)


def triple(data):
    """Three times the events, one after the other in time as well."""
    def rows():
        for turn in range(3):
            with open(data / 'full/events.tsv', encoding='utf-8') as lines:
                for line in lines:
                    key, time_ms, value = line.split('\t')
                    yield f'{key}\t{int(time_ms) + turn * 600_000}\t{value}'

    fill(data / 'triple/events.tsv', rows())


def each_key(keys, again, name):
    """Events of every key once, in an order that is none, then of some of them again."""
    for i in range(keys + again):
        # a multiplier without a common divisor with the number of keys goes through all of them
        yield f'{name(i * 7_368_787 % keys)}\t{1_700_000_000_000 + i // 100}\t{i % 1000}\n'


def many_keys(data):
    """Every key once, then half as many again."""
    fill(data / 'keys/events.tsv', each_key(KEYS, AGAIN, lambda key: f'key-{key:08d}'))


def wide(data):
    """A gigabyte of keys: each once, then a twentieth of them again."""
    def name(key):
        return f'key-{key:06d}{base64.b85encode(random.Random(key).randbytes(792)).decode()}'

    fill(data / 'wide/events.tsv', each_key(WIDE, WIDE_AGAIN, name))


class Bench:
    """Where everything is, and what came out."""
    def __init__(self, args):
        self.args = args
        self.out, self.data, self.java = Path(args.out).resolve(), Path(args.data).resolve(), Path(args.java).resolve()
        self.runs, self.dropped, self.number = {}, {}, 0

    def fresh(self, name):
        """An empty directory."""
        self.number += 1
        path = self.out / f'durable-{name}-{self.number}'
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def peer(self, kind, main, *args):
        return [*JAVA, '-cp', f'{self.java}/{kind}/classes:{self.java}/{kind}/lib/*', main, *map(str, args)]

    def topics(self, what, *args):
        argv = ['java', '-Dorg.slf4j.simpleLogger.defaultLogLevel=error', '-cp', f'{ROOT}/.cache/kafka/lib/*',
                ROOT / 'scripts/kafka/Topics.java', what, self.bootstrap, *args]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.split()

    def delete(self, prefix):
        """A system's results, and what it made beside them."""
        self.topics('delete', *(name for name in self.topics('list') if name.startswith(prefix)))

    def run(self, argv):
        """Wall seconds, CPU seconds, memory in MiB, what was printed."""
        start = time.monotonic()
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                out, err = process.communicate(timeout=RUN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise RuntimeError(f'no end after {RUN_SECONDS} s') from None
        if process.returncode != 0:
            raise RuntimeError(f'exit code {process.returncode}: {(err or out).strip()[-300:]}')
        return time.monotonic() - start, out

    def measured(self, argv):
        """The same with CPU and memory, which GNU time would give: a child of its own, so that nobody else's counts."""
        wrapper = ('import json,os,resource,subprocess,sys;p=subprocess.run(sys.argv[1:]);u=resource.getrusage(resource.RUSAGE_CHILDREN);'
                   'print(json.dumps([u.ru_utime+u.ru_stime,u.ru_maxrss/1024]));sys.exit(p.returncode)')
        wall, out = self.run([sys.executable, '-c', wrapper, *map(str, argv)])
        *said, last = out.strip().splitlines()
        cpu, mib = json.loads(last)
        return wall, cpu, mib, pairs('\n'.join(said))

    def reference(self, workload, scale):
        wall, out = self.run([self.args.limit, workload, self.data / scale, self.out / 'limit.txt'])
        del wall
        found = pairs(out)
        return found['out'], found['check']

    def record(self, cell, run, wanted=None):
        """Does one run, checks it, keeps it."""
        if cell in self.dropped:
            return
        before = load()
        try:
            wall, cpu, mib, found = run()
        except RuntimeError as error:
            self.dropped[cell] = str(error)
            print(f'DROPPED {cell}: {error}', file=sys.stderr)
            return
        if wanted and (found.get('rows'), found.get('check')) != wanted:
            self.dropped[cell] = f'rows and check {found.get("rows")}, {found.get("check")}, not {wanted}'
            print(f'DROPPED {cell}: {self.dropped[cell]}', file=sys.stderr)
            return
        self.runs.setdefault(cell, []).append((wall, cpu, mib, before, found))
        with open(self.out / 'durable.jsonl', 'a', encoding='utf-8') as file:
            file.write(json.dumps({'cell': cell, 'wall': round(wall, 2), 'cpu': round(cpu, 2), 'mib': round(mib), 'load': before,
                                   **found}) + '\n')

    # what is measured

    def files(self):
        for workload in ('w2', 'w4'):
            for scale in SCALES:
                wanted = self.reference(workload, scale)
                for system in ('flink', 'thalweg'):
                    self.record(('files', workload, system, scale), lambda w=workload, s=scale, y=system: self.over_files(y, w, s), wanted)

    def over_files(self, system, workload, scale, *memory):
        state = self.fresh('state')
        data = self.data / scale
        if system == 'flink':
            argv = self.peer('flink', 'Flink', workload, data, CHECKPOINT_MS, state, *([sum(memory)] if memory else []))
        else:
            argv = [self.args.thalweg, 'bench', workload, data, '--component', self.args.component, '--state-dir', state,
                    '--epoch-ms', EPOCH_MS, '--fsync', 'epoch']
            if memory:
                argv += ['--state-cache-mib', memory[0], '--state-buffer-mib', memory[1]]
        try:
            return self.measured(argv)
        finally:
            shutil.rmtree(state)

    def keys(self):
        wanted = self.reference('w4', 'keys')
        for system in ('flink', 'thalweg'):
            self.record(('keys', 'w4', system, 'keys'), lambda y=system: self.over_files(y, 'w4', 'keys', 64, 64), wanted)

    def kafka(self):
        for workload in ('w2', 'w4'):
            for scale in SCALES:
                wanted = self.reference(workload, scale)
                for system in ('kafka streams', 'thalweg', 'thalweg cluster'):
                    self.record(('kafka', workload, system, scale), lambda w=workload, s=scale, y=system: self.over_topics(y, w, s), wanted)

    def over_topics(self, system, workload, scale):
        state = self.fresh('state')
        to = f'out-{self.number}'
        self.topics('create', f'{to}:2')
        flow = ['--component', self.args.component, '--kafka', self.bootstrap, '--from', f'events-{scale}', '--to', to]
        broker = cpu_of(self.broker)
        try:
            if system == 'kafka streams':
                wall, cpu, mib, _ = self.measured(
                    self.peer('kafka', 'Streams', workload, self.bootstrap, f'events-{scale}', to, state, EPOCH_MS))
            elif system == 'thalweg':
                wall, cpu, mib, _ = self.measured(
                    [self.args.thalweg, 'bench', workload, *flow, '--state-dir', state, '--epoch-ms', EPOCH_MS])
            else:
                with Server(self, to, state, EPOCH_MS) as server:
                    start = time.monotonic()
                    server.wait(server.submit(workload, *flow))
                    wall, cpu, mib = time.monotonic() - start, cpu_of(server.pid), server.memory()
            broker = cpu_of(self.broker) - broker
            _, told = self.run(self.peer('kafka', 'Tally', self.bootstrap, to))
            return wall, cpu, mib, {**pairs(told), 'broker': broker}
        finally:
            self.delete(to)
            shutil.rmtree(state, ignore_errors=True)

    def latency(self):
        rate, seconds, warm_up = 10_000, 40, 10
        for system in ('thalweg', 'thalweg cluster'):
            state = self.fresh('state')
            from_, to = f'latency-in-{self.number}', f'latency-out-{self.number}'
            self.topics('create', f'{from_}:2', f'{to}:2')
            flow = ['--component', self.args.component, '--kafka', self.bootstrap, '--from', from_, '--to', to, '--endless']

            def measure():
                wall, told = self.run(self.peer('kafka', 'Latency', self.bootstrap, from_, to, rate, seconds, warm_up))
                return wall, 0.0, 0.0, pairs(told)

            if system == 'thalweg':
                argv = [self.args.thalweg, 'bench', 'latency', *flow, '--state-dir', state, '--epoch-ms', '100']
                with subprocess.Popen(list(map(str, argv))) as process:
                    self.record(('latency', 'latency', system, f'{rate}/s'), measure)
                    process.kill()
            else:
                with Server(self, to, state, 100) as server:
                    server.submit('latency', *flow)
                    self.record(('latency', 'latency', system, f'{rate}/s'), measure)
            shutil.rmtree(state, ignore_errors=True)

    def restart(self):
        """Fills a job's state, then kills its process and starts it again, with its local copy and without."""
        state = self.fresh('state')
        to = f'restart-{self.number}'
        self.topics('create', f'{to}:2')
        flow = ['--component', self.args.component, '--kafka', self.bootstrap, '--from', 'events-wide', '--to', to, '--endless',
                '--state-name', to]
        with Server(self, to, state, EPOCH_MS) as server:
            with self.awaiting(to, WIDE + WIDE_AGAIN) as all_there:
                server.submit('w4', *flow)
                all_there.finish()
            time.sleep(3)
            server.kill()
        sizes = sum(path.stat().st_size for path in state.rglob('*') if path.is_file()) / 1e6
        for _ in range(self.args.rounds):
            for how in ('local copy', 'changelog'):
                if how == 'changelog':
                    shutil.rmtree(state)
                    state.mkdir()
                self.begun_again(how, to, state, sizes)
        shutil.rmtree(state, ignore_errors=True)

    def begun_again(self, how, to, state, sizes):
        """Until the first result of a process whose last life was ended; it is ended again."""
        with self.awaiting(to, 1) as first:
            self.one_record('events-wide')
            before, start = load(), time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            with Server(self, to, state, EPOCH_MS) as server:
                seconds = (first.finish() - start) / 1e9
                log = server.log.read_text(encoding='utf-8')
                server.kill()
                shutil.copy(server.log, self.out / f'restart from the {how}.log')
        restored = re.findall(r'state is there partition=\d+ epoch=\d+ records=(\d+) bytes=(\d+) ms=(\d+)', log)
        rate = sum(int(size) for _, size, _ in restored) / 1e3 / max([int(ms) for *_, ms in restored] or [1])
        self.runs.setdefault(('restart', 'w4', 'thalweg cluster', how), []).append((seconds, rate, sizes, before, {}))

    def one_record(self, topic):
        path = self.out / 'one.tsv'
        path.write_text('key-00000001\t1700000000000\t1\n', encoding='utf-8')
        self.run(self.peer('kafka', 'Load', self.bootstrap, topic, 2, path))

    def awaiting(self, topic, count):
        return Awaiting(self.peer('kafka', 'Await', self.bootstrap, topic, count, RUN_SECONDS))

    def with_broker(self, parts):
        place = self.out / 'broker'
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        script = ROOT / 'scripts/kafka.sh'
        subprocess.run([script, 'start', place], check=True)
        try:
            self.bootstrap = f'127.0.0.1:{(place / "port").read_text().strip()}'
            self.broker = int((place / 'pid').read_text())
            for scale in [*(SCALES if 'kafka' in parts else []), *(['wide'] if 'restart' in parts else [])]:
                self.run(self.peer('kafka', 'Load', self.bootstrap, f'events-{scale}', 2, self.data / scale / 'events.tsv'))
            for _ in range(self.args.rounds):
                for part in ('kafka', 'latency'):
                    if part in parts:
                        getattr(self, part)()
            if 'restart' in parts:
                self.restart()
        finally:
            subprocess.run([script, 'stop', place], check=False)
            shutil.rmtree(place, ignore_errors=True)

    # what is printed

    def rates(self, part, title):
        """CPU microseconds per event without the start, and events per CPU second."""
        print(f'\n{title}')
        print(f"  {'':<22}{'CPU us/event':>13}{'range':>15}{'events/CPU s':>14}{'CPU s of 1 M':>14}{'broker us':>11}{'MiB':>6}{'load':>12}")
        middle = {}
        for _, workload, system in dict.fromkeys(cell[:3] for cell in [*self.runs, *self.dropped] if cell[0] == part):
            cells = [(part, workload, system, scale) for scale in SCALES]
            if any(cell in self.dropped for cell in cells):
                print(f'  {workload} {system:<19} DROPPED: {[self.dropped[c] for c in cells if c in self.dropped][0]}')
                continue
            one, three = (self.runs[cell] for cell in cells)
            each = sorted((b[1] - a[1]) / (2 * EVENTS) * 1e6 for a, b in zip(one, three))
            brokers = [(b[4]['broker'] - a[4]['broker']) / 2 for a, b in zip(one, three) if 'broker' in a[4]]
            middle[workload, system] = statistics.median(each)
            loads = [run[3] for run in one + three]
            print(f"  {workload} {system:<19}{statistics.median(each):>13.2f}{f'{each[0]:.2f}-{each[-1]:.2f}':>15}"
                  f"{1e6 / statistics.median(each):>14,.0f}{statistics.median(run[1] for run in one):>14.1f}"
                  f"{f'{statistics.median(brokers):.2f}' if brokers else '-':>11}{max(run[2] for run in three):>6.0f}{span(loads):>12}")
        return middle


class Server:
    """A process of a cluster."""
    def __init__(self, bench, cluster, state, epoch_ms):
        self.bench, self.log = bench, bench.out / f'{cluster}.log'
        with open(self.log, 'w', encoding='utf-8') as log:
            self.process = subprocess.Popen(
                list(map(str, [bench.args.thalweg, 'serve', '--bootstrap', bench.bootstrap, '--cluster', cluster, '--partitions', 2,
                               '--process-id', 'bench', '--state-dir', state, '--epoch-ms', epoch_ms, '--port', 0])),
                stdout=log, stderr=subprocess.STDOUT)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def address(self):
        for _ in range(600):
            found = re.search(r'takes jobs at (\S+)', self.log.read_text(encoding='utf-8'))
            if found:
                return found[1]
            time.sleep(0.1)
        raise RuntimeError(f'no server: {self.log.read_text(encoding="utf-8")[-300:]}')

    def submit(self, workload, *flow):
        _, said = self.bench.run([self.bench.args.thalweg, 'bench', workload, *map(str, flow), '--server', self.address()])
        return said.strip()

    def wait(self, job):
        _, said = self.bench.run([self.bench.args.thalweg, 'job', 'wait', job, '--server', self.address()])
        if said.strip() != 'DONE':
            raise RuntimeError(f'the job ended {said.strip()}: {self.log.read_text(encoding="utf-8")[-300:]}')

    def memory(self):
        status = Path(f'/proc/{self.pid}/status').read_text(encoding='utf-8')
        return int(re.search(r'VmHWM:\s+(\d+)', status)[1]) / 1024


class Awaiting:
    """A reader at the end of a topic."""
    def __init__(self, argv):
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        if self.process.stdout.readline().strip() != 'ready':
            raise RuntimeError('the reader of the results did not start')
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def finish(self):
        """When the last record was there, in nanoseconds of the monotonic clock, which Java's nanoTime is on Linux."""
        said = self.process.stdout.readline().strip()
        if not said.startswith('at='):
            raise RuntimeError(f'records of the results are missing: {said}')
        return int(said.removeprefix('at='))


def span(loads):
    text = f'{min(loads):.1f}-{max(loads):.1f}'
    return f'{text} noisy' if max(loads) > 2 else text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('thalweg', 'limit', 'component', 'java', 'data', 'out'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--only', default='files,kafka,keys,latency,restart')
    args = parser.parse_args()
    parts = args.only.split(',')
    bench = Bench(args)
    bench.out.mkdir(parents=True, exist_ok=True)
    if {'files', 'kafka'} & set(parts):
        triple(bench.data)
    if 'keys' in parts:
        many_keys(bench.data)
    if 'restart' in parts:
        wide(bench.data)
    for _ in range(args.rounds):
        if 'files' in parts:
            bench.files()
        if 'keys' in parts:
            bench.keys()
    if {'kafka', 'latency', 'restart'} & set(parts):
        bench.with_broker(parts)

    print(f'Durable, exactly once; median of {args.rounds} rounds, {os.cpu_count()} cores')
    if 'files' in parts:
        middle = bench.rates('files', f'Over a file: Flink (RocksDB, checkpoint every {CHECKPOINT_MS // 1000} s), Thalweg (RocksDB, fsync each epoch of {EPOCH_MS} ms)')
        ratios(middle, 'flink', 4)
    if 'kafka' in parts:
        middle = bench.rates('kafka', f'From topic to topic, exactly once, a commit every {EPOCH_MS} ms: Kafka Streams, Thalweg')
        ratios(middle, 'kafka streams', 2)
    for (_, workload, system, _), runs in ((c, r) for c, r in bench.runs.items() if c[0] == 'keys'):
        each = sorted(run[1] / (KEYS + AGAIN) * 1e6 for run in runs)
        wall = statistics.median(run[0] for run in runs)
        print(f'\n{workload} with {KEYS:,} keys, cache and buffers of 64 MiB each, {system}: {statistics.median(each):.2f} CPU us/event '
              f'({each[0]:.2f}-{each[-1]:.2f}), {(KEYS + AGAIN) / wall:,.0f} events/s, {max(run[2] for run in runs):.0f} MiB, '
              f'load {span([run[3] for run in runs])}')
    for (_, _, system, rate), runs in ((c, r) for c, r in bench.runs.items() if c[0] == 'latency'):
        p50, p99 = (statistics.median(float(run[4][name]) for run in runs) for name in ('p50_ms', 'p99_ms'))
        print(f'\nKafka -> Wasm -> GroupByKey -> count -> Kafka, epochs of 100 ms, {rate}, {system}: p50 {p50:.0f} ms, p99 {p99:.0f} ms (mark 500), '
              f'{runs[0][4]["missing"]} missing, load {span([run[3] for run in runs])}')
    for (_, _, _, how), runs in ((c, r) for c, r in bench.runs.items() if c[0] == 'restart'):
        seconds, rate, size = (statistics.median(run[i] for run in runs) for i in range(3))
        print(f'\nRestart with {size:,.0f} MB of state from the {how}: first result after {seconds:.2f} s, {rate:.0f} MB/s of changelog, '
              f'load {span([run[3] for run in runs])}')
    for cell, why in bench.dropped.items():
        print(f'DROPPED {" ".join(cell)}: {why}')
    return 1 if bench.dropped else 0


def ratios(middle, peer, mark):
    for (workload, system), cost in middle.items():
        if system != peer and (workload, peer) in middle:
            print(f'  {workload} {system}: {middle[workload, peer] / cost:.1f} times the rate of {peer} per CPU second (mark {mark})')


if __name__ == '__main__':
    sys.exit(main())
