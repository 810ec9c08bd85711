"""Functions of components in Beam's own combines and windows, with side inputs and tables, in a stock Beam program.

usage: wasm_fronts.py COMPONENT FOLDER combine|windows|spans|lookups|join|several [OPTION...]; prints one line of JSON: what came out,
sorted. FOLDER holds own.csv and other.jsonl.
"""
import json
import sys
import tempfile
import typing
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from apache_beam.transforms.window import TimestampedValue

import thalweg

TEXTS = typing.Tuple[str, str]
NUMBERS = typing.Tuple[str, int]


class Own(typing.NamedTuple):
    code: str
    name: str


class Other(typing.NamedTuple):
    code: str
    n: int


class Visit(typing.NamedTuple):
    who: str
    other: str


class Joined(typing.NamedTuple):
    who: str
    other: str
    name: typing.Optional[str]


for row_type in (Own, Other, Visit, Joined):
    beam.coders.registry.register_row(row_type)


def at(p, elements, element_type, label='Create'):
    """Elements, each behind its event time in seconds."""
    def stamp(element):
        return TimestampedValue(element[1], element[0])

    return p | label >> beam.Create(elements) | f'{label} stamped' >> beam.Map(stamp).with_output_types(element_type)


def combine(p, component, folder):
    """A lifted combine per key, a combine of all, and one per window."""
    top = thalweg.Wasm(component, 'top', output_type=typing.Iterable[int], kind='combinefn')
    numbers = p | beam.Create([(key, n) for n in range(1000) for key in ('a', 'b')]).with_output_types(NUMBERS)
    one = thalweg.Wasm(component, 'top', output_type=typing.Iterable[int], kind='combinefn', config={'n': 1})
    best = thalweg.Wasm(component, 'top', output_type=typing.Iterable[int], kind='combinefn', config={'n': 2})
    keys = numbers | beam.CombinePerKey(top)
    # Beam packs sibling combines of the same input into one, if it can
    largest = numbers | 'One' >> beam.CombinePerKey(one)
    all_of_them = numbers | beam.Values() | beam.CombineGlobally(best).without_defaults()
    windowed = at(p, [(1, ('w', 5)), (2, ('w', 7)), (30, ('w', 1))], NUMBERS, 'Timed') | beam.WindowInto(FixedWindows(10))
    return [keys, largest, all_of_them | beam.Map(lambda best: ('all', best)), windowed | 'Windowed' >> beam.CombinePerKey(top)]


def sessions(component):
    return beam.WindowInto(thalweg.Wasm(component, 'sessions', kind='windowfn', merges=True))


def windows(p, component, folder):
    """Merging windows of ten milliseconds; a combine in them, and a grouping."""
    top = thalweg.Wasm(component, 'top', output_type=typing.Iterable[int], kind='combinefn')
    times = [(.100, ('a', 1)), (.107, ('a', 2)), (.116, ('a', 3)), (.200, ('a', 4)), (.103, ('b', 5))]
    windowed = at(p, times, NUMBERS) | sessions(component)
    def spanned(element, window=beam.DoFn.WindowParam):
        key, values = element
        return key, sorted(values), window.start.micros // 1000, window.end.micros // 1000

    return [windowed | beam.CombinePerKey(top), windowed | beam.GroupByKey() | beam.Map(spanned)]


def spans(p, component, folder):
    """Windows that depend on the element, two for each."""
    elements = at(p, [(0, ('a', 1000)), (1, ('a', 1000)), (2, ('b', 500))], NUMBERS)
    windowed = elements | beam.WindowInto(thalweg.Wasm(component, 'spans', kind='windowfn'))
    def spanned(element, window=beam.DoFn.WindowParam):
        return element[0], sorted(element[1]), window.start.micros // 1000, window.end.micros // 1000

    return [windowed | beam.GroupByKey() | beam.Map(spanned)]


def lookups(p, component, folder):
    """Side inputs and tables."""
    numbers = p | 'Numbers' >> beam.Create([3, 4, 5]).with_output_types(int)
    names = p | 'Names' >> beam.Create([('a', 'Ann'), ('b', 'Bea'), ('a', 'Ada')]).with_output_types(TEXTS)
    wasm = thalweg.Wasm(
        component, 'lookups', output_type=str,
        side_inputs={'numbers': beam.pvalue.AsIter(numbers), 'names': beam.pvalue.AsMultiMap(names)},
        tables={
            'own': thalweg.Table(Own, key='code', value='name', path=folder / 'own.csv'),
            'other': thalweg.Table(Other, key='code', value='n', path=folder / 'other.jsonl'),
        })
    elements = p | 'Main' >> beam.Create([('a', 'z'), ('c', 'x')]).with_output_types(TEXTS)
    # names of a key come in no order
    return [elements | wasm | beam.Map(lambda text: text.replace('Ada+Ann', 'Ann+Ada'))]


def join(p, component, folder):
    """Rows joined with a table in the engine."""
    visits = p | beam.Create([Visit('a', 'z'), Visit('c', 'x')]).with_output_types(Visit)
    table = thalweg.Table(Own, key='code', path=folder / 'own.csv')
    return [visits | thalweg.TableJoin(table, key='who', output_type=Joined) | beam.Map(list)]


def wrong_access(p, component, folder):
    """An iterable given as a multimap."""
    numbers = p | 'Numbers' >> beam.Create([('a', 3)]).with_output_types(NUMBERS)
    return side(p, component, numbers, beam.pvalue.AsMultiMap)


def wrong_type(p, component, folder):
    """Texts where the function takes numbers."""
    return side(p, component, p | 'Numbers' >> beam.Create(['x']).with_output_types(str), beam.pvalue.AsIter)


def side(p, component, numbers, access):
    names = p | 'Names' >> beam.Create([('a', 'Ann')]).with_output_types(TEXTS)
    sides = {'numbers': access(numbers), 'names': beam.pvalue.AsMultiMap(names)}
    elements = p | 'Main' >> beam.Create([('a', 'z')]).with_output_types(TEXTS)
    return [elements | thalweg.Wasm(component, 'lookups', output_type=str, side_inputs=sides)]


def wrong_merging(p, component, folder):
    """Windows that are declared as such that do not merge."""
    windows = thalweg.Wasm(component, 'sessions', kind='windowfn', merges=False)
    return [at(p, [(1, ('a', 1))], NUMBERS) | beam.WindowInto(windows) | beam.GroupByKey() | beam.Keys()]


def wrong_kind(p, component, folder):
    """A DoFn as a CombineFn."""
    total = thalweg.Wasm(component, 'ledger', output_type=str, kind='combinefn')
    return [p | beam.Create([('a', 'x')]).with_output_types(TEXTS) | beam.CombinePerKey(total)]


def main():
    component, folder, kind, options = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:]
    with tempfile.TemporaryDirectory() as out:
        with beam.Pipeline(options=PipelineOptions(options)) as p:
            for i, result in enumerate(globals()[kind](p, component, folder)):
                lines = result | f'Json{i}' >> beam.Map(lambda x: json.dumps(x, default=list)).with_output_types(str)
                whole = lines | f'Whole{i}' >> beam.WindowInto(beam.window.GlobalWindows())
                _ = whole | f'Write{i}' >> beam.io.WriteToText(f'{out}/{i}', shard_name_template='')
        found = [sorted(json.loads(line) for line in file.read_text(encoding='utf-8').splitlines())
                 for file in sorted(Path(out).iterdir())]
    print(json.dumps(found))


if __name__ == '__main__':
    main()
