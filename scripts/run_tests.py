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
import tempfile
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
    return target['kind'] == ['test'] and 'broker' in pathlib.Path(target['src_path']).read_text(encoding='utf-8').lower()


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
            name = f'{os.path.basename(folder)}/{target["name"]}'
            self.say(f'=== {name} begins')
            begun = time.monotonic()
            try:
                code, text = run(executable, folder)
            except OSError as error:
                code, text = error, ''
            if code != 0 and not re.search(r'^test result: FAILED', text, re.MULTILINE):
                text += f'---- {name} stdout ----\nit ended with {code}'
            self.say(f'\n=== {name}: {time.monotonic() - begun:.0f} s\n{text}')
            with self.lock:
                if code == 0:
                    self.passed += 1
                else:
                    self.failed.append(name)

    def say(self, text):
        with self.lock:
            print(text, flush=True)


def run(executable, folder):
    """What a binary ends with, and what it prints; not what prints whoever it leaves behind."""
    with tempfile.TemporaryFile() as output:
        code = subprocess.run([executable], cwd=folder, env={**os.environ, 'CARGO_MANIFEST_DIR': folder},
                              stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT).returncode
        output.seek(0)
        return code, output.read().decode(errors='replace')


def main():
    chosen, known = sys.argv[1:], binaries()
    unknown = set(chosen) - {target['name'] for target, _, _ in known}
    if unknown:
        sys.exit(f'no binary with tests is called {" or ".join(sorted(unknown))}')
    lanes = Lanes([b for b in known if not chosen or b[0]['name'] in chosen])
    count = sum(map(len, lanes.lists))
    threads = [threading.Thread(target=lanes.run, args=(lane,)) for lane in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not chosen and subprocess.run(['cargo', 'test', '--workspace', '--doc', '--no-fail-fast']).returncode != 0:
        lanes.failed.append('doctests')
    print(f'{lanes.passed} binaries passed, {len(lanes.failed)} failed: {" ".join(lanes.failed)}')
    return 0 if lanes.passed == count and not lanes.failed else 1


if __name__ == '__main__':
    sys.exit(main())
