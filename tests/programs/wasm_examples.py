"""An example of a component over its script in guest-examples/expected, as a stock Beam program: a TestStream plays the script.

usage: wasm_examples.py COMPONENT SCRIPT [OPTION...]; prints one line of JSON: what came out (`gives`) and what should have (`wanted`), sorted.
Elements that the script has fail are left out, as the program has no output for dead letters.
"""
import json
import sys
import tempfile
import typing
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

import thalweg


class Session(typing.NamedTuple):
    user: str
    start: int
    end: int
    events: int
    total: int


class Alert(typing.NamedTuple):
    sensor: str
    value: float
    missed: int


for row_type in (Session, Alert):
    beam.coders.registry.register_row(row_type)

# input and output type, and the name of the output
TYPES = {
    'sessionize': (typing.Tuple[str, int], Session, 'sessions'),
    'alerts': (typing.Tuple[str, float], Alert, 'alerts'),
}


def instant(ms):
    return Timestamp(micros=ms * 1000)


def played(script, element_type):
    stream = TestStream(coder=beam.coders.registry.get_coder(element_type))
    for step in script['steps']:
        failing = {place for place, _ in step.get('fails', [])}
        elements = [
            TimestampedValue(tuple(element['value']), instant(element['time']))
            for place, element in enumerate(step.get('elements', [])) if place not in failing
        ]
        if elements:
            stream = stream.add_elements(elements)
        if 'watermark' in step:
            stream = stream.advance_watermark_to(instant(step['watermark']))
    return stream.advance_watermark_to_infinity()


def shown(element, output, time=beam.DoFn.TimestampParam):
    # a row comes back as a tuple of its fields
    return json.dumps({'output': output, 'time': time.micros // 1000, 'value': element._asdict()}, sort_keys=True)


def keep(line, path):
    # what is unbounded cannot be written as a text file is
    with open(path, 'a', encoding='utf-8') as file:
        file.write(line + '\n')


def main():
    component, path, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    script = json.loads(Path(path).read_text(encoding='utf-8'))
    element_type, output_type, output = TYPES[script['function']]
    options = PipelineOptions(options)
    options.view_as(StandardOptions).streaming = True
    with tempfile.TemporaryDirectory() as folder:
        with beam.Pipeline(options=options) as p:
            elements = p | played(script, element_type).with_output_types(element_type)
            function = thalweg.Wasm(component, script['function'], output_type=output_type, config=script.get('config'))
            _ = elements | function | beam.Map(shown, output) | beam.Map(keep, str(Path(folder) / 'out'))
        lines = (Path(folder) / 'out').read_text(encoding='utf-8').splitlines()
    wanted = [json.dumps(one, sort_keys=True) for step in script['steps'] for one in step['gives']]
    print(json.dumps({'gives': sorted(lines), 'wanted': sorted(wanted)}))


if __name__ == '__main__':
    main()
