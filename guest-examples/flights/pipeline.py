#!/usr/bin/env python3
"""Part 2 of the flights example: a delay model per airport and day, in a stock Beam program.

  python guest-examples/flights/pipeline.py --runner=PrismRunner --prism_location=/path/to/thalweg
  python guest-examples/flights/pipeline.py --runner=thalweg.ThalwegRunner
  python guest-examples/flights/pipeline.py --runner=FnApiRunner          (Beam alone: the parser runs in Python)

A WebAssembly component parses the lines. Then the flights of each airport and UTC day are grouped, and numpy fits
dep_delay = intercept + per_hour * hour + per_mile * distance. Writes `models.jsonl` and `dead_letters.jsonl`.
"""

import argparse
import json
import os
from datetime import datetime
from datetime import timezone

import apache_beam as beam
import numpy as np
import thalweg
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows

import parse_fallback
from flight_rows import DeadLetter
from flight_rows import Flight
from flight_rows import Line

DAY_SECONDS = 24 * 60 * 60
FLIGHTS_MIN = 30


class ReadNumberedLines(beam.DoFn):
    """Yields the lines of a file with their numbers: the first one after the header is row 1."""

    def process(self, path):
        with FileSystems.open(path) as file:
            for row, line in enumerate(file):
                if row > 0:
                    yield Line(line.removesuffix(b'\n').removesuffix(b'\r').decode('utf-8'), row)


class FitModel(beam.DoFn):
    """Fits the delays of one airport in one window; yields nothing for few flights, or if the fit is not unique."""

    def process(self, element, window=beam.DoFn.WindowParam):
        origin, flights = element
        hours, miles, delays = np.array(list(flights), dtype=np.float64).T
        if len(delays) < FLIGHTS_MIN:
            return
        features = np.column_stack([np.ones_like(delays), hours, miles])
        coefficients, _, rank, _ = np.linalg.lstsq(features, delays, rcond=None)
        if rank < features.shape[1]:
            return
        intercept, per_hour, per_mile = map(float, coefficients)
        start = datetime.fromtimestamp(window.start.seconds(), timezone.utc)
        yield json.dumps({
            'origin': origin,
            'window_start': start.strftime('%Y-%m-%dT%H:%M:%SZ'),
            'flights': len(delays),
            'intercept': intercept,
            'per_hour': per_hour,
            'per_mile': per_mile,
        })


def by_airport(flight) -> tuple[str, tuple[int, int, int]]:
    return flight.origin, (flight.hour, flight.distance, flight.dep_delay)


def write_lines(path):
    return beam.io.WriteToText(path, shard_name_template='')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--input', default='guest-examples/data/flights-2013-01.csv')
    parser.add_argument('--output', default='out/flights-models', help='folder for the results')
    parser.add_argument('--component', default='target/guests/components/flights_parse.wasm')
    args, pipeline_args = parser.parse_known_args()

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        parsed = (
            p
            | 'Input' >> beam.Create([args.input])
            | 'ReadLines' >> beam.ParDo(ReadNumberedLines()).with_output_types(Line)
            | 'Parse' >> thalweg.Wasm(
                args.component, 'parse', output_type=Flight, outputs={'dead_letters': DeadLetter},
                fallback=parse_fallback.parse))

        (
            parsed.main
            | 'Daily' >> beam.WindowInto(FixedWindows(DAY_SECONDS))
            | 'ByAirport' >> beam.Map(by_airport)
            | 'Group' >> beam.GroupByKey()
            | 'Fit' >> beam.ParDo(FitModel())
            | 'WriteModels' >> write_lines(os.path.join(args.output, 'models.jsonl')))

        (
            parsed.dead_letters
            | 'ToJson' >> beam.Map(lambda letter: json.dumps(letter._asdict()))
            | 'WriteDeadLetters' >> write_lines(os.path.join(args.output, 'dead_letters.jsonl')))


if __name__ == '__main__':
    main()
