"""What is the same for a whole call: its processing time and its pseudo-random numbers; and where it is."""
import random
from . import metrics
from .frame import Input
from .seeded import SeededRandom

#: Processing time in milliseconds since 1970.
now = 0


class Place:
    """Where the running call is.

    Attributes:
      row: the row that is being processed; -1 between calls.
      group: its group.
      windows: index of its window set.
    """

    __slots__ = ('row', 'group', 'windows')

    def __init__(self):
        self.row, self.group, self.windows = -1, -1, 0


#: A guest has one thread and runs one call at a time: there is one place, which all that belongs to a row looks at.
place = Place()
#: The numbers of the call.
numbers = SeededRandom()


def seed(number: int) -> None:
    """Starts the pseudo-random numbers: those of the SDK and of the module ``random``."""
    numbers.seed(number)
    random.seed(number)


def begin(input: Input) -> None:
    """Begins a call."""
    global now
    now = input.now
    place.row, place.group, place.windows = -1, -1, 0
    seed(input.seed)
    metrics.begin()
