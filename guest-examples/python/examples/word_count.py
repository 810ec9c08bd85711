"""Word count: lines become pairs of a word and 1, which a CombineFn sums up."""
import re
from typing import Iterator

from thalweg_udf import CombineFn
from thalweg_udf import Counter
from thalweg_udf import DoFn

WORD = re.compile("[A-Za-z0-9']+")
COUNTED = Counter('words')


class Words(DoFn):
    """Splits lines into words: runs of ASCII letters, digits and apostrophes, in lower case."""
    outputs = {'words': tuple[str, int]}

    def process(self, line: str) -> Iterator[tuple[str, int]]:
        for word in WORD.findall(line):
            COUNTED.inc()
            yield word.lower(), 1


class Sum(CombineFn):
    """Sums up."""

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, total, number: int):
        return total + number

    def merge_accumulators(self, totals):
        return sum(totals)

    def extract_output(self, total) -> int:
        return total
