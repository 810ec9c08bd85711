#!/usr/bin/env python3
"""Compile and run all tests in Rust, two binaries at a time.

usage: run_tests.py [NAME...]

Cargo runs one binary after the other, and those that start brokers and processes wait most of their time. Here one lane runs
those, the other the rest, and helps when it is through. What a binary printed is printed when it has ended. NAMEs choose
binaries; doctests run if none is named. Exit code 1 if a test failed. The last line tells how many binaries passed.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

# Those of the acceptance tests that take longest begin first.
LONGEST = ['cluster', 'savepoint', 'cluster_life', 'cluster_damage', 'cluster_grown', 'wasm', 'udf', 'wasm_kinds']


def binaries():
    """(name, executable, folder of its crate) of every binary with tests, compiled."""
    command = ['cargo', 'test', '--workspace', '--no-run', '--message-format=json-render-diagnostics']
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit(built.returncode)
    found = []
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message['reason'] == 'compiler-artifact' and message['executable'] and message['profile']['test']:
            folder = os.path.dirname(message['manifest_path'])
            found.append((message['target'], message['executable'], folder))
    return found


def starts_brokers(target):
    """Whether the source of a test says so."""
    return target['kind'] == ['test'] and 'Broker' in pathlib.Path(target['src_path']).read_text(encoding='utf-8')


def rank(binary):
    name = binary[0]['name']
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


class Lanes:
    """What is yet to run, and how it went."""

    def __init__(self, all_binaries):
        all_binaries.sort(key=rank)
        self.lists = [[b for b in all_binaries if starts_brokers(b[0]) == brokers] for brokers in (True, False)]
        self.lock = threading.Lock()
        self.passed, self.failed = 0, []

    def take(self, lane):
        with self.lock:
            for waiting in (self.lists[lane], self.lists[1 - lane]):
                if waiting:
                    return waiting.pop(0)
        return None

    def run(self, lane):
        while binary := self.take(lane):
            target, executable, folder = binary
            begun = time.monotonic()
            environment = {**os.environ, 'CARGO_MANIFEST_DIR': folder}
            ended = subprocess.run(
                [executable], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
            with self.lock:
                text = ended.stdout.decode(errors='replace')
                name = f'{os.path.basename(folder)}/{target["name"]}'
                print(f'\n=== {name}: {time.monotonic() - begun:.0f} s\n{text}', flush=True)
                if ended.returncode == 0:
                    self.passed += 1
                else:
                    self.failed.append(name)
                    if not re.search(r'^test result: FAILED', text, re.MULTILINE):
                        print(f'---- {name} stdout ----\nit ended with {ended.returncode}', flush=True)


def main():
    chosen = sys.argv[1:]
    lanes = Lanes([b for b in binaries() if not chosen or b[0]['name'] in chosen])
    threads = [threading.Thread(target=lanes.run, args=(lane,)) for lane in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not chosen and subprocess.run(['cargo', 'test', '--workspace', '--doc', '--no-fail-fast']).returncode != 0:
        lanes.failed.append('doctests')
    print(f'{lanes.passed} binaries passed, {len(lanes.failed)} failed: {" ".join(lanes.failed)}')
    return 1 if lanes.failed or lanes.passed == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
