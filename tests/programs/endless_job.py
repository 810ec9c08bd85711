"""Starts a job that takes hours, waits until it runs, then cancels it or waits; prints its states as JSON.

usage: endless_job.py ENDPOINT cancel|wait
"""

import json
import os
import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState


def slow(number):
    time.sleep(0.05)
    return number


def main(endpoint, word):
    options = PipelineOptions(
        ['--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK', '--job_name=endless'])
    pipeline = beam.Pipeline(options=options)
    pipeline | beam.Create(range(20_000)) | beam.Reshuffle() | 'Slow' >> beam.Map(slow)
    result = pipeline.run()
    states = []
    try:
        while result.state != PipelineState.RUNNING:
            time.sleep(0.05)
        states.append(result.state)
        print(json.dumps(states), flush=True)
        if word == 'cancel':
            time.sleep(0.5)
            result.cancel()
        result.wait_until_finish()
    except Exception as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
    try:
        states.append(result.state)
    except Exception as error:
        states.append(type(error).__name__)
    print(json.dumps(states), flush=True)
    # the function may still sleep
    os._exit(0)


if __name__ == '__main__':
    main(*sys.argv[1:])
