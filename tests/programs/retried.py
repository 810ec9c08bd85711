"""Bundles that fail and are run again: what stable input and bundle finalization promise of them.

usage: retried.py ENDPOINT FOLDER stable|finalized [OPTION...]; prints one line of JSON.

stable: a function that asks for stable input, behind one that draws lots; how many elements it was given in all, whether an element came
back as it was, and what went on. finalized: which numbers were finalized, sorted, and what went on.
"""
import json
import os
import random
import sys
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

COUNT = 5


def note(folder, name, what):
    """Adds a line to a file; the number of its lines."""
    path = os.path.join(folder, name)
    with open(path, 'a', encoding='utf-8') as file:
        file.write(json.dumps(what) + '\n')
    return len(noted(folder, name))


def noted(folder, name):
    with open(os.path.join(folder, name), encoding='utf-8') as file:
        return [json.loads(line) for line in file]


class Failing(beam.DoFn):
    """Raises at the third and at the seventh element that it is given."""
    def __init__(self, folder):
        self.folder = folder

    def process(self, element):
        if note(self.folder, 'seen', element) in (3, 7):
            raise ValueError('again, please')
        yield element


class Finalized(Failing):
    def process(self, element, finalizer=beam.DoFn.BundleFinalizerParam):
        finalizer.register(lambda: self.late(element[0]))
        yield from super().process(element)

    def late(self, number):
        time.sleep(0.2)  # who waits for the job waits for this too
        note(self.folder, 'finalized', number)


def stable(transform):
    """A ParDo whose input is to be stable: Python has no word for it."""
    asked = transform.to_runner_api_parameter

    def asking(context, **extra):
        urn, payload = asked(context, **extra)
        payload.requires_stable_input = True
        context.add_requirement('beam:requirement:pardo:stable_input:v1')
        return urn, payload

    transform.to_runner_api_parameter = asking
    return transform


def main():
    endpoint, folder, what, *options = sys.argv[1:]
    pipeline = beam.Pipeline(options=PipelineOptions(
        ['--runner=PortableRunner', f'--job_endpoint={endpoint}', '--environment_type=LOOPBACK', *options]))
    lots = pipeline | beam.Create(range(COUNT)) | 'lots' >> beam.Map(lambda n: [n, random.random()])
    tried = lots | (stable(beam.ParDo(Failing(folder))) if what == 'stable' else beam.ParDo(Finalized(folder)))
    tried | 'on' >> beam.Map(lambda row: note(folder, 'on', row[0]))
    state = pipeline.run().wait_until_finish()
    seen = noted(folder, 'seen')
    answer = {'state': state, 'retried': len(seen) > COUNT}
    if what == 'stable':
        answer['same'] = len({tuple(row) for row in seen}) == COUNT
    else:
        answer['finalized'] = sorted(noted(folder, 'finalized'))
    print(json.dumps(answer))


if __name__ == '__main__':
    main()
