"""One key gets a list of MEGABYTES in all, which a component walks over within 16 MiB of memory.

usage: large_list.py COMPONENT MEGABYTES [OPTION...]; prints as JSON what the function of the conformance guest says of it.
"""
import json
import sys
import tempfile
import typing
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import thalweg


def main(component, megabytes, options):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'out'
        with beam.Pipeline(options=PipelineOptions(options)) as p:
            walks = thalweg.Wasm(component, 'walks', output_type=typing.Tuple[str, str],
                                 limits={'memory_bytes': 16 << 20, 'cpu_ms': 60_000})
            _ = (p | beam.Create(range(int(megabytes) * 16))
                 | beam.Map(lambda _: ('k', bytes(1 << 16))).with_output_types(typing.Tuple[str, bytes])
                 | beam.GroupByKey() | walks | beam.Map(json.dumps) | beam.io.WriteToText(str(out), shard_name_template=''))
        print(json.dumps([json.loads(line) for line in out.read_text().splitlines()]))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
