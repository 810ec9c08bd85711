"""Enrichment by a table: the name of an airline is looked up by the element's key before the call. In: pairs of airline and delay."""
from typing import NamedTuple

from thalweg_udf import DoFn
from thalweg_udf import Table
from thalweg_udf import TaggedOutput


class Delay(NamedTuple):
    """A delay in minutes, with the airline's name."""
    carrier: str
    name: str
    delay: int


class Enrich(DoFn):
    """Adds the names."""
    outputs = {'named': Delay, 'unknown': tuple[str, int]}
    AIRLINES = Table('airlines', str, str, by_key=True)

    def process(self, element: tuple[str, int], airlines=DoFn.TableParam(AIRLINES)):
        carrier, delay = element
        name = airlines.joined()
        yield TaggedOutput('unknown', element) if name is None else Delay(carrier, name, delay)
