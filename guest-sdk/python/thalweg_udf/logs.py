"""Python's ``logging`` as lines of the job's log, each with the row that was being processed."""
import logging
from typing import Any
from typing import Callable

from . import moment

TRACE, DEBUG, INFO, WARN, ERROR = range(5)


class HostHandler(logging.Handler):
    """Sends records to the host."""

    def __init__(self, write: Callable[[int, Any, str], None]):
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record."""
        steps = ((logging.DEBUG, TRACE), (logging.INFO, DEBUG), (logging.WARNING, INFO), (logging.ERROR, WARN))
        level = next((level for below, level in steps if record.levelno < below), ERROR)
        self._write(level, moment.place.row if moment.place.row >= 0 else None, self.format(record))


def install(write: Callable[[int, Any, str], None]) -> HostHandler:
    """Makes the host the place where the root logger's records go, from INFO up."""
    handler, root = HostHandler(write), logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    return handler
