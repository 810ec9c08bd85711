"""What is the same for a whole call: its processing time and its pseudo-random numbers; and the row that log lines are about."""
import random
from typing import Optional

from . import metrics
from .frame import Input
from .seeded import SeededRandom

#: Processing time in milliseconds since 1970.
now = 0
#: The row that is being processed.
row: Optional[int] = None
#: The numbers of the call.
numbers = SeededRandom()


def seed(number: int) -> None:
    """Starts the pseudo-random numbers: those of the SDK and of the module ``random``."""
    numbers.seed(number)
    random.seed(number)


def begin(input: Input) -> None:
    """Begins a call."""
    global now, row
    now, row = input.now, None
    seed(input.seed)
    metrics.begin()
