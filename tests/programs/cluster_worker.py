"""Submits a job of a cluster that counts per key in worker processes, and prints its id.

usage: cluster_worker.py ENDPOINT BOOTSTRAP INPUT LEDGER [HANG]

Each record of the input is a JSON object with `who`; for each the ledger gets one with `who` and `value`, the count so far. Whoever finds the
file HANG first takes it away, and never comes to an end with the record that it has.
"""
import json
import os
import sys
import time

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.io.kafka import WriteToKafka
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec


class Count(beam.DoFn):
    SEEN = ReadModifyWriteStateSpec('seen', VarIntCoder())

    def __init__(self, hang):
        self.hang = hang

    def wait(self):
        try:
            os.remove(self.hang)
        except OSError:
            return
        while True:
            time.sleep(1)

    def process(self, element, seen=beam.DoFn.StateParam(SEEN)):
        who, _ = element
        if self.hang:
            self.wait()
        count = (seen.read() or 0) + 1
        seen.write(count)
        yield b'', json.dumps({'who': who, 'value': str(count)}).encode()


def main(endpoint, bootstrap, source, ledger, hang=None):
    config = json.dumps({'command': f'{sys.executable} -m thalweg.boot'})
    options = PipelineOptions([
        '--runner=PortableRunner', f'--job_endpoint={endpoint}', '--job_name=workers', '--environment_type=PROCESS',
        f'--environment_config={config}', '--streaming', '--save_main_session'])
    pipeline = beam.Pipeline(options=options)
    consumer = {'bootstrap.servers': bootstrap, 'auto.offset.reset': 'earliest'}
    (
        pipeline
        | ReadFromKafka(consumer, [source], expansion_service=endpoint)
        | 'Who' >> beam.MapTuple(lambda key, value: (json.loads(value)['who'], 1)).with_output_types(tuple[str, int])
        | 'Count' >> beam.ParDo(Count(hang)).with_output_types(tuple[bytes, bytes])
        | WriteToKafka({'bootstrap.servers': bootstrap}, ledger, expansion_service=endpoint))
    print(json.dumps(pipeline.run()._job_id))


if __name__ == '__main__':
    main(*sys.argv[1:])
