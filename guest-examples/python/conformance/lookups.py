"""Side inputs and tables."""
from typing import Iterator

from thalweg_udf import AsList
from thalweg_udf import AsMultiMap
from thalweg_udf import DoFn
from thalweg_udf import Table

NUMBERS = AsList('numbers', int)
NAMES = AsMultiMap('names', str, str)
OWN = Table('own', str, str, by_key=True)
OTHER = Table('other', str, int)


class Lookups(DoFn):
    """Looks everything up."""

    outputs = {'found': str}

    def process(self, element: tuple[str, str], numbers=DoFn.SideInputParam(NUMBERS), names=DoFn.SideInputParam(NAMES),
                own=DoFn.TableParam(OWN), others=DoFn.TableParam(OTHER)) -> Iterator[str]:
        key, other = element
        others.prefetch(other, 'never')
        found = others.get(other)
        found = 'None' if found is None else f'Some({found})'
        text = f'sum {sum(numbers)}, names {"+".join(names[key])} of {len(names.keys())}'
        yield f'{key}: {text}, own {own.joined("none")}, other {found}'
