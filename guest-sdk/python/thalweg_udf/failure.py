"""Why an element, or a whole call, could not be dealt with."""
import os
import re
import traceback
from types import TracebackType
from typing import Optional

_OURS = os.path.dirname(__file__) + os.sep


class Failure(Exception):
    """Raise it for a bad element: what the element did is taken back, and the runner reports it or sends it to a dead-letter
    output. The other elements stand.

    Attributes:
      code: stable, short, upper case: what programs and counters look at.
      message: one sentence for a person.
    """

    def __init__(self, code: str, message: str):
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f'{self.code}: {self.message}'


def stack(error: BaseException) -> str:
    """The stack of an error, without what lies inside the SDK above the user's code."""
    frames: Optional[TracebackType] = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    return ''.join(traceback.format_exception(type(error), error, frames)).rstrip()


def of(error: BaseException) -> Failure:
    """What is said of an element that ended with an error: a :class:`Failure` as it is; of another error its class in upper
    case (``ValueError`` is ``VALUE_ERROR``), its text, and behind it the stack."""
    if isinstance(error, Failure):
        return error
    code = re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', type(error).__name__).upper()
    return Failure(code, f'{error}\n{stack(error)}')
