#!/usr/bin/env python3
"""Run one of Beam's suites against a runner's binary, and compare with the list of known gaps.

usage: run_suite.py BINARY [-k WORDS] [--jobs N] [--times N] [--suite FILE] [--gaps FILE] [--report DIR] [-- ARGUMENTS...]

What stands behind `--` is added to the arguments of the server, for instance `-- --shards 4`; STATE there is the path of an
empty folder that is deleted afterwards.

Tests without a gap run first, so that a gap that hangs the server cannot spoil them; then the gaps. Exit code 1 if a test
fails that is no gap, if a gap passes, or if the list names a test that does not run. The last line is `N passed, N failed,
N gaps` (and what Beam itself skips for every runner); only tests inherited from Beam are counted.
"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

TEST_SECONDS = 90
GAP_SECONDS = 45
SHOWN_LINES = 12


def read_gaps(path):
    """Test name -> reason."""
    gaps = {}
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            name, _, reason = line.partition(' ')
            if not reason.strip():
                sys.exit(f'{path}:{number}: {name} has no reason')
            if name in gaps:
                sys.exit(f'{path}:{number}: {name} stands there twice')
            gaps[name] = reason.strip()
    return gaps


def pytest(arguments, environment, output=None):
    """Runs pytest in a session of its own; afterwards nothing that it started is left."""
    command = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', *arguments]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output or subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        text, _ = process.communicate()
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return process.returncode, text


def collect(suite, words, environment):
    """Test name -> pytest's id of it."""
    code, text = pytest([suite, '--collect-only', '-q', *(['-k', words] if words else [])], environment)
    found = [line.split('::') for line in text.splitlines() if '::test' in line]
    if code != 0 or not found:
        sys.exit(f'no tests could be collected:\n{text}')
    return {parts[-1]: '::'.join([suite, *parts[1:]]) for parts in found}


def run(ids, names, seconds, jobs, environment, report):
    """Test name -> (outcome, text); the outcome is passed, failed or skipped."""
    if not names:
        return {}
    with tempfile.NamedTemporaryFile(suffix='.xml') as result, open(report, 'w', encoding='utf-8') as output:
        # the thread method ends the process of a test that hangs in a call; xdist then starts another
        pytest(['-q', '-n', str(jobs), f'--timeout={seconds}', '--timeout-method=thread', '--tb=short',
                f'--junitxml={result.name}', *(ids[name] for name in names)], environment, output)
        found = {name: ('failed', 'no result: pytest ended early') for name in names}
        try:
            cases = list(xml.parse(result.name).iter('testcase'))
        except xml.ParseError:
            cases = []
        for case in cases:
            name = case.get('name').split('::')[-1]
            problems = [child for child in case if child.tag in ('failure', 'error')]
            if problems:
                text = (problems[0].get('message') or '') + '\n' + (problems[0].text or '')
                found[name] = ('failed', text.strip())
            elif case.find('skipped') is not None:
                found[name] = ('skipped', case.find('skipped').get('message') or '')
            else:
                found[name] = ('passed', '')
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'tests', 'suites')
    parser.add_argument('binary')
    parser.add_argument('-k', metavar='WORDS', help="pytest's choice of tests by name")
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--suite', default=os.path.join(here, 'portable_suite.py'))
    parser.add_argument('--gaps', default=os.path.join(here, 'known-gaps.txt'))
    parser.add_argument('--report', default='out/test', help='folder for the full output of pytest')
    parser.add_argument('--times', type=int, default=1, help='runs, one after the other')
    own = sys.argv[1:sys.argv.index('--')] if '--' in sys.argv else sys.argv[1:]
    args = parser.parse_args(own)
    args.arguments = sys.argv[2 + len(own):]

    code = 0
    for _ in range(args.times):
        with tempfile.TemporaryDirectory() as state:
            added = ' '.join(argument.replace('STATE', state) for argument in args.arguments)
            code = max(code, once(args, {'RUNNER_ARGS': added} if added else {}))
    return code


def once(args, added):
    environment = {**os.environ, 'RUNNER_BIN': os.path.abspath(args.binary), **added}
    if not os.access(environment['RUNNER_BIN'], os.X_OK):
        sys.exit(f'{args.binary} is not an executable file')
    os.makedirs(args.report, exist_ok=True)
    gaps = read_gaps(args.gaps)
    ids = collect(args.suite, args.k, environment)
    names = list(ids)
    unknown = [] if args.k else sorted(set(gaps) - set(names))

    results = run(ids, [n for n in names if n not in gaps], TEST_SECONDS, args.jobs, environment,
                  os.path.join(args.report, 'suite.log'))
    results |= run(ids, [n for n in names if n in gaps], GAP_SECONDS, args.jobs, environment,
                   os.path.join(args.report, 'suite-gaps.log'))

    def having(outcome, gap):
        return [n for n in names if results[n][0] == outcome and (n in gaps) == gap]

    failed, closed = having('failed', False), having('passed', True)
    for name in failed:
        print(f'FAILED {name}')
        for line in results[name][1].splitlines()[-SHOWN_LINES:]:
            print(f'    {line}')
    for name in closed:
        print(f'PASSES {name}: delete its line in {args.gaps}')
    for name in unknown:
        print(f'UNKNOWN {name}: {args.gaps} names a test that the suite does not have')
    skipped_gaps = having('skipped', True)
    for name in skipped_gaps:
        print(f'SKIPPED {name}: Beam skips it for every runner, it is no gap')
    print(f'{len(having("passed", False))} passed, {len(failed)} failed, {len(having("failed", True))} gaps, '
          f'{len(having("skipped", False))} skipped by Beam')
    return 1 if failed or closed or unknown or skipped_gaps else 0


if __name__ == '__main__':
    sys.exit(main())
