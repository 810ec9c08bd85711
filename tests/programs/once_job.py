"""A slow job that notes each time that one of its functions is called with an element.

usage: once_job.py ENDPOINT FOLDER [OPTION...]; prints the last state of the job, and the sums of its keys if it is done.

Numbers are noted in FOLDER/first by a function without state and in FOLDER/second by one with state, a line each time.
"""
import json
import os
import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import userstate

NUMBERS = 600
KEYS = 4


def note(folder, name, number):
    with open(os.path.join(folder, name), 'a', encoding='utf-8') as file:
        file.write(f'{number}\n')


class First(beam.DoFn):
    def __init__(self, folder):
        self.folder = folder

    def process(self, number):
        time.sleep(0.005)
        note(self.folder, 'first', number)
        yield number % KEYS, number


class Second(beam.DoFn):
    SUM = userstate.CombiningValueStateSpec('sum', sum)

    def __init__(self, folder):
        self.folder = folder

    def process(self, element, total=beam.DoFn.StateParam(SUM)):
        time.sleep(0.003)
        key, number = element
        note(self.folder, 'second', number)
        total.add(number)
        yield key, total.read()


def main():
    endpoint, folder, *options = sys.argv[1:]
    pipeline = beam.Pipeline(options=PipelineOptions(
        ['--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK', '--state_name=once',
         *options]))

    def write(sums):
        with open(os.path.join(folder, 'result'), 'a', encoding='utf-8') as file:
            file.write(json.dumps(sums) + '\n')

    (pipeline | beam.Create(range(NUMBERS)) | beam.Reshuffle() | beam.ParDo(First(folder)).with_output_types(tuple[int, int])
     | beam.ParDo(Second(folder)).with_output_types(tuple[int, int]) | beam.CombinePerKey(max)
     | beam.combiners.ToList() | beam.Map(sorted) | beam.Map(write))
    state = pipeline.run().wait_until_finish()
    print(json.dumps(state))


if __name__ == '__main__':
    main()
