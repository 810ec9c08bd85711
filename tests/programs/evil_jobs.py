"""Runs hostile components as jobs of one server, and an honest job beside them again and again.

usage: evil_jobs.py ENDPOINT HONEST COMPONENT...; prints as JSON how each job ended (its error code, or nothing, and seconds) and what the
honest job gave: alone, and every time beside the others.
"""
import json
import re
import sys
import tempfile
import threading
import time
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import thalweg

# small ones, so that the test is short; what they bound is the same
LIMITS = {'cpu_ms': 200, 'memory_bytes': 128 << 20, 'output_bytes': 4 << 20, 'state_bytes': 2 << 20}


def pipeline(endpoint):
    return beam.Pipeline(options=PipelineOptions([
        '--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK']))


def attack(endpoint, component):
    start = time.monotonic()
    p = pipeline(endpoint)
    pairs = p | beam.Create([(b'a', b'1'), (b'b', b'2')]).with_output_types(typing.Tuple[bytes, bytes])
    _ = pairs | thalweg.Wasm(component, 'f', output_type=bytes, limits=LIMITS)
    code = ''
    try:
        p.run().wait_until_finish()
    except Exception as error:
        found = re.search(r'WASM_[A-Z_]+', str(error))
        code = found.group() if found else str(error)
    return code, time.monotonic() - start


def honest(endpoint, component):
    with tempfile.TemporaryDirectory() as folder:
        p = pipeline(endpoint)
        numbers = p | beam.Create([(key, n) for n in range(500) for key in ('a', 'b')]).with_output_types(typing.Tuple[str, int])
        top = numbers | thalweg.Wasm(component, 'top', output_type=typing.Tuple[str, typing.Iterable[int]])
        texts = top | beam.MapTuple(lambda key, values: f'{key} {list(values)}')
        _ = texts | beam.io.WriteToText(str(Path(folder) / 'out'), shard_name_template='')
        p.run().wait_until_finish()
        return sorted((Path(folder) / 'out').read_text(encoding='utf-8').splitlines())


def main(endpoint, neighbour, *components):
    alone = honest(endpoint, neighbour)
    beside, over = [], threading.Event()

    def again():
        while not over.is_set():
            beside.append(honest(endpoint, neighbour))

    with ThreadPoolExecutor(1) as threads:
        loop = threads.submit(again)
        ended = [attack(endpoint, component) for component in components]
        over.set()
        loop.result()
    names = [Path(component).stem.removeprefix('evil_') for component in components]
    print(json.dumps({'codes': dict(zip(names, ended)), 'alone': alone, 'beside': beside}))


if __name__ == '__main__':
    main(*sys.argv[1:])
