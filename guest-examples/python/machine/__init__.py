"""What a function in Python sees of the machine, by questions: with capabilities, and without any."""
import os
import time
from typing import Iterator

from thalweg_udf import DoFn
from thalweg_udf import export


def clock() -> str:
    start = time.time()
    for _ in range(100_000):
        if time.time() > start:
            return 'passes'
    return 'stands'


def garbage() -> str:
    for _ in range(100):
        bytearray(1 << 20)
    return 'collected'


QUESTIONS = {
    'year': lambda: str(time.gmtime().tm_year),
    'clock': clock,
    'garbage': garbage,
    'random': lambda: os.urandom(8).hex(),
    'env': lambda: f'{os.environ.get("REGION", "")}{len(os.environ)}',
}


class Blind(DoFn):
    """Asks for nothing."""

    def process(self, question: str) -> Iterator[str]:
        yield QUESTIONS[question]()


class Seen(Blind):
    """Asks for all there is."""

    capabilities = ('clock', 'random', 'env:REGION')


Guest = export(seen=Seen, blind=Blind)
