"""Beam's own streaming examples, unchanged: what Pub/Sub would give comes from a TestStream, what it or BigQuery would take goes to a file.

The first argument names the example, `--script=FILE` is a JSON list of events: {"watermark": SECONDS} or {"messages": [[SECONDS, TEXT], ...]},
`--lines=FILE` takes the lines. All else goes to the example.
"""

import argparse
import importlib
import json

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue

EXAMPLES = {
    'streaming_wordcount': 'apache_beam.examples.streaming_wordcount',
    'leader_board': 'apache_beam.examples.complete.game.leader_board',
}


class Append(beam.DoFn):
    def __init__(self, path):
        self.path = path

    def process(self, line):
        with open(self.path, 'a') as file:
            file.write(line + '\n')


def source(script):
    """What stands in for `ReadFromPubSub`."""
    stream = TestStream(coder=BytesCoder())
    for event in script:
        if 'watermark' in event:
            stream.advance_watermark_to(event['watermark'])
        else:
            stream.add_elements([TimestampedValue(text.encode(), second) for second, text in event['messages']])
    return lambda **_: stream.advance_watermark_to_infinity()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('example', choices=sorted(EXAMPLES))
    parser.add_argument('--script')
    parser.add_argument('--lines')
    args, rest = parser.parse_known_args()
    with open(args.script) as file:
        beam.io.ReadFromPubSub = source(json.load(file))
    beam.io.WriteToPubSub = lambda _: beam.Map(bytes.decode) | beam.ParDo(Append(args.lines))

    class ToFile(beam.PTransform):
        """Stands in for BigQuery: rows without the time of the clock."""
        def __init__(self, table, dataset, schema, project):
            super().__init__()
            self.columns = sorted(set(schema) - {'processing_time'})

        def expand(self, rows):
            return (
                rows | beam.Map(lambda row: ' '.join(str(row[column]) for column in self.columns))
                | beam.ParDo(Append(args.lines)))

    example = importlib.import_module(EXAMPLES[args.example])
    example.WriteToBigQuery = ToFile
    example.run(rest, save_main_session=False)


if __name__ == '__main__':
    main()
