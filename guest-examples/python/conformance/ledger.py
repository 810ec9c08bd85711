"""All kinds of state, by commands: ``map.put a 1``, ``multi.get k``, ``fail set.add x``. What is asked for comes out as a text."""
import json

from thalweg_udf import BagStateSpec
from thalweg_udf import CombineFn
from thalweg_udf import CombiningValueStateSpec
from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import MapStateSpec
from thalweg_udf import MultimapStateSpec
from thalweg_udf import OrderedListStateSpec
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import SetStateSpec


class Sum(CombineFn):
    """A sum."""

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, accumulator, value: int):
        return accumulator + value

    def merge_accumulators(self, accumulators):
        return sum(accumulators)

    def extract_output(self, accumulator) -> int:
        return accumulator


def number(text):
    try:
        return int(text)
    except ValueError:
        raise Failure('NUMBER', f'{text!r} is no number') from None


def sizes(bag, added):
    """Walks over a bag, and adds to it on the way."""
    count = size = 0
    for text in bag:
        count, size = count + 1, size + len(text)
        if count == 1:
            bag.add(added)
    return f'{count} of {size} bytes'


def quoted(value):
    """As the other languages write it."""
    return 'None' if value is None else f'Some({json.dumps(value)})'


class Ledger(DoFn):
    """Runs commands on its state."""
    outputs = {'answers': tuple[str, str]}
    VALUE = ReadModifyWriteStateSpec('value', str)
    SUM = CombiningValueStateSpec('sum', Sum, eager=True)
    BAG = BagStateSpec('bag', str)
    MAP = MapStateSpec('map', str, int)
    SET = SetStateSpec('set', str)
    MULTI = MultimapStateSpec('multi', str, str)
    LIST = OrderedListStateSpec('list', str)

    def process(self, element: tuple[str, str], value=DoFn.StateParam(VALUE), sum=DoFn.StateParam(SUM), bag=DoFn.StateParam(BAG),
                map=DoFn.StateParam(MAP), set=DoFn.StateParam(SET), multi=DoFn.StateParam(MULTI), list=DoFn.StateParam(LIST)):
        key, commands = element
        verbs = {
            'value.set': lambda a, b: value.write(a),
            'value.clear': lambda a, b: value.clear(),
            'value.get': lambda a, b: quoted(value.read()),
            'sum.add': lambda a, b: sum.add(number(a)),
            'sum.clear': lambda a, b: sum.clear(),
            'sum.get': lambda a, b: str(sum.read()),
            'bag.add': lambda a, b: bag.add(a),
            'bag.clear': lambda a, b: bag.clear(),
            'bag.all': lambda a, b: ','.join(bag.read()),
            'bag.walk': lambda a, b: ','.join(bag),
            'bag.sizes': lambda a, b: sizes(bag, a),
            'map.put': lambda a, b: map.put(a, number(b)),
            'map.remove': lambda a, b: map.remove(a),
            'map.clear': lambda a, b: map.clear(),
            'map.fetch': lambda a, b: map.prefetch(a, b),
            'map.has': lambda a, b: str(a in map).lower(),
            'map.get': lambda a, b: quoted(map.get(a)),
            'map.all': lambda a, b: '[' + ', '.join(f'({json.dumps(k)}, {v})' for k, v in map.items()) + ']',
            'set.add': lambda a, b: set.add(a),
            'set.remove': lambda a, b: set.remove(a),
            'set.clear': lambda a, b: set.clear(),
            'set.has': lambda a, b: str(a in set).lower(),
            'set.all': lambda a, b: ','.join(set.read()),
            'multi.add': lambda a, b: multi.put(a, b),
            'multi.remove': lambda a, b: multi.remove(a),
            'multi.clear': lambda a, b: multi.clear(),
            'multi.get': lambda a, b: ','.join(multi.get(a)),
            'multi.all': lambda a, b: ','.join(f'{k}:{"+".join(values)}' for k, values in multi.items()),
            'list.add': lambda a, b: list.add(number(a), b),
            'list.drop': lambda a, b: list.clear_range(number(a), number(b)),
            'list.clear': lambda a, b: list.clear(),
            'list.range': lambda a, b: ','.join(f'{time}:{text}' for time, text in list.read_range(number(a), number(b))),
            'list.all': lambda a, b: ','.join(f'{time}:{text}' for time, text in list.read()),
        }
        for command in commands.split('; '):
            fails = command.startswith('fail ')
            verb, a, b = (*command.removeprefix('fail ').split(' '), '', '')[:3]
            if verb not in verbs:
                raise Failure('COMMAND', f'{verb!r} is no command')
            answer = verbs[verb](a, b)
            if answer is not None:
                yield key, answer
            if fails:
                raise Failure('FAIL', 'as it was told')
