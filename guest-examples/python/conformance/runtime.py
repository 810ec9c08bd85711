"""What the runtime of Python does in a component, by commands: the clock, randomness, output, files, and ways in which an element goes
wrong. The other languages have no function of this name here.
"""
import logging
import os
import random
import sys
import time
import uuid
from typing import Iterator

from thalweg_udf import Failure
from thalweg_udf import dofn


def clock():
    start, ticks = time.time(), time.monotonic()
    time.sleep(3600)
    return f'{start * 1000:.0f} {time.time() * 1000:.0f} {time.monotonic() - ticks >= 3600}'


def numbers():
    return f'{random.random()} {random.randrange(1000)} {uuid.uuid4()}'


def files():
    try:
        open('/etc/passwd', encoding='utf-8')
    except OSError as error:
        return f'{type(error).__name__} {len(os.environ)}'


def lines():
    print('one', 'line ü')
    sys.stderr.write('to the other\n')
    logging.getLogger('mine').warning('warned %s', 5)
    logging.debug('not told')


def told():
    raise Failure('TOLD', 'as it was told')


def broken():
    return {}['nothing']


def leave():
    sys.exit(3)


def recursion():
    return recursion() + 1


def loop():
    while True:
        pass


def memory():
    kept = []
    while True:
        kept.append(bytes(1 << 20))


COMMANDS = [clock, numbers, files, lines, told, broken, leave, recursion, loop, memory]


@dofn
def run(command: str) -> Iterator[str]:
    """Runs the command of an element."""
    said = {known.__name__: known for known in COMMANDS}[command]()
    yield str(said)
