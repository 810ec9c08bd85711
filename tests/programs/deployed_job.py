"""An endless job that counts in a component, into which other versions of the function are deployed.

usage: deployed_job.py ENDPOINT COMPONENT FOLDER; prints the id of the job, and stays until it is killed.

Every count is a line of FOLDER/counts: `KEY COUNT VERSION`.
"""
import os
import sys
import time
import typing

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse

import thalweg


class Write(beam.DoFn):
    """Appends lines to a file."""
    def __init__(self, folder):
        self.path = os.path.join(folder, 'counts')

    def process(self, line):
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(f'{line}\n')


def main(endpoint, component, folder):
    options = PipelineOptions([
        '--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK', '--streaming',
        '--job_name=deployed', '--state_name=deployed'])
    pipeline = beam.Pipeline(options=options)
    ticks = pipeline | 'Ticks' >> PeriodicImpulse(fire_interval=0.05)
    keyed = ticks | 'Key' >> beam.Map(lambda _: ('a', '')).with_output_types(typing.Tuple[str, str])
    counts = keyed | 'Count' >> thalweg.Wasm(component, 'one', output_type=str)
    counts | 'Write' >> beam.ParDo(Write(folder))
    print(pipeline.run()._job_id, flush=True)
    time.sleep(600)


if __name__ == '__main__':
    main(*sys.argv[1:])
