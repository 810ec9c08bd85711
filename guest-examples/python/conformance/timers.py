"""Timers of both clocks, by commands: ``event 100``, ``event 100 tag``, ``event 100 tag 50`` (the time of what it puts out),
``processing 5``, ``clear tag``; the end of windows; and a function that gathers elements until its bundle ends.
"""
import json

from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import GlobalWindow
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import TimeDomain
from thalweg_udf import TimerSpec
from thalweg_udf import WindowedValue
from thalweg_udf import on_timer


def number(text):
    try:
        return int(text)
    except ValueError:
        raise Failure('NUMBER', f'{text!r} is no number') from None


class Timers(DoFn):
    """Sets timers."""
    outputs = {'fired': tuple[str, str]}
    EVENT = TimerSpec('event', TimeDomain.WATERMARK)
    CLOCK = TimerSpec('clock', TimeDomain.REAL_TIME)
    SEEN = ReadModifyWriteStateSpec('seen', int, eager=True)

    def process(self, element: tuple[str, str], seen=DoFn.StateParam(SEEN), event=DoFn.TimerParam(EVENT),
                clock=DoFn.TimerParam(CLOCK)):
        seen.write((seen.read() or 0) + 1)
        verb, *words = element[1].split(' ')
        if verb == 'event':
            hold = number(words[2]) if len(words) > 2 else None
            event.set(number(words[0]), tag=words[1] if len(words) > 1 else '', hold_timestamp=hold)
        elif verb == 'processing':
            clock.set(number(words[0]))
        elif verb == 'clear':
            event.clear(tag=words[0] if words else '')
        elif verb == 'fail':
            event.set(1)
            raise Failure('FAIL', 'as it was told')
        else:
            raise Failure('COMMAND', f'{element[1]!r} is no command')

    @on_timer(EVENT)
    def on_event(self, key=DoFn.KeyParam, tag=DoFn.DynamicTimerTagParam, fire=DoFn.FireTimestampParam, time=DoFn.TimestampParam,
                 seen=DoFn.StateParam(SEEN), event=DoFn.TimerParam(EVENT)):
        if tag == 'again' and fire < 1000:
            event.set(fire + 500, tag='again')
        yield key, f'event {json.dumps(tag)} at {fire} time {time} seen {seen.read() or 0}'

    @on_timer(CLOCK)
    def on_clock(self, key=DoFn.KeyParam, tag=DoFn.DynamicTimerTagParam, fire=DoFn.FireTimestampParam, time=DoFn.TimestampParam,
                 seen=DoFn.StateParam(SEEN)):
        yield key, f'clock {json.dumps(tag)} at {fire} time {time} seen {seen.read() or 0}'

    def on_window_expiration(self, key=DoFn.KeyParam, seen=DoFn.StateParam(SEEN)):
        yield key, f'over seen {seen.read() or 0}'


class Buffer(DoFn):
    """Sums up the numbers of a bundle."""
    outputs = {'sums': int}

    def __init__(self):
        self._sum = None

    def start_bundle(self):
        self._sum = 0

    def process(self, element: int):
        if self._sum is None:
            raise Failure('NO_BUNDLE', 'an element outside of a bundle')
        self._sum += element

    def finish_bundle(self):
        yield WindowedValue(self._sum, 5, (GlobalWindow(), ))
        self._sum = None

    def teardown(self):
        print('the buffer is closed')
