"""Functions of the conformance component in a stock Beam program: a stateful DoFn with timers, CombineFns, a key selector.

usage: wasm_kinds.py COMPONENT timers|ledger|top|windows|keys [OPTION...]; prints one line of JSON: what came out, sorted.
"""
import json
import sys
import tempfile
import typing
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from apache_beam.transforms.window import Sessions
from apache_beam.transforms.window import TimestampedValue

import thalweg

TEXTS = typing.Tuple[str, str]
TOP = typing.Tuple[str, typing.Iterable[int]]


def at(elements, element_type):
    """Elements, each behind its event time in seconds."""
    def stamp(element):
        return TimestampedValue(element[1], element[0])

    return lambda p: p | beam.Create(elements) | beam.Map(stamp).with_output_types(element_type)


def timers(p, component):
    commands = [(1, ('a', 'event 3000')), (1, ('a', 'event 2000 x')), (2, ('a', 'event 2500 gone')), (2, ('a', 'clear gone')),
                (4, ('b', 'event 4500 again'))]
    windowed = at(commands, TEXTS)(p) | beam.WindowInto(FixedWindows(10))
    return windowed | thalweg.Wasm(component, 'timers', output_type=TEXTS)


def ledger(p, component):
    commands = [('a', 'sum.add 4; map.put m 1; multi.add k v; list.add 3 l; set.add s; bag.add b; value.set one; '
                      'sum.get; map.all; multi.all; list.all; set.all; bag.all; value.get')]
    return p | beam.Create(commands).with_output_types(TEXTS) | thalweg.Wasm(component, 'ledger', output_type=TEXTS)


def top(p, component):
    numbers = [(key, n) for n in range(1000) for key in ('a', 'b')]
    pairs = p | beam.Create(numbers).with_output_types(typing.Tuple[str, int])
    return pairs | thalweg.Wasm(component, 'top', output_type=TOP) | beam.Map(lambda kv: (kv[0], list(kv[1])))


def windows(p, component):
    numbers = [(1, ('a', 5)), (2, ('a', 7)), (30, ('a', 1)), (31, ('b', 2)), (3, ('a', 6)), (1, ('a', 4))]
    sessions = at(numbers, typing.Tuple[str, int])(p) | beam.WindowInto(Sessions(5))
    return sessions | thalweg.Wasm(component, 'top', output_type=TOP) | beam.Map(lambda kv: (kv[0], list(kv[1])))


def keys(p, component):
    lines = p | beam.Create(['to be', 'or', 'to do']).with_output_types(str)
    selected = lines | thalweg.Wasm(component, 'first_word', output_type=TEXTS)
    return selected | beam.GroupByKey() | beam.MapTuple(lambda key, values: (key, sorted(values)))


def main():
    component, kind, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as folder:
        with beam.Pipeline(options=PipelineOptions(options)) as p:
            result = globals()[kind](p, component)
            _ = result | beam.Map(json.dumps) | beam.io.WriteToText(str(Path(folder) / 'out'), shard_name_template='')
        lines = (Path(folder) / 'out').read_text(encoding='utf-8').splitlines()
    print(json.dumps(sorted(json.loads(line) for line in lines)))


if __name__ == '__main__':
    main()
