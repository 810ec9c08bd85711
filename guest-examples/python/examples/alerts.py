"""Alerts that are limited in their rate: after an alert of a sensor there is silence for a while; what would have been an alert
meanwhile is told as one when the silence ends. In: pairs of sensor and reading.
"""
from typing import NamedTuple

from thalweg_udf import DoFn
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import TimeDomain
from thalweg_udf import TimerSpec
from thalweg_udf import on_timer

from .config import positive


class Alert(NamedTuple):
    """A reading over the limit, or the largest of those that were held back, and how many."""
    sensor: str
    value: float
    missed: int


class Alerts(DoFn):
    """Tells what is over the limit."""
    outputs = {'alerts': Alert}
    # how many alerts were held back; there is a value while there is silence
    MISSED = ReadModifyWriteStateSpec('missed', int, eager=True)
    # the largest reading of them
    WORST = ReadModifyWriteStateSpec('worst', float, eager=True)
    SILENCE = TimerSpec('silence', TimeDomain.WATERMARK)

    def __init__(self, limit=30.0, silence_ms=60_000):
        self._limit, self._silence = float(limit), positive('silence_ms', silence_ms)

    def process(self, element: tuple[str, float], time=DoFn.TimestampParam, missed=DoFn.StateParam(MISSED),
                worst=DoFn.StateParam(WORST), silence=DoFn.TimerParam(SILENCE)):
        sensor, value = element
        if value <= self._limit:
            return
        held_back = missed.read()
        if held_back is not None:
            missed.write(held_back + 1)
            known = worst.read()
            worst.write(value if known is None else max(known, value))
            return
        yield Alert(sensor, value, 0)
        missed.write(0)
        silence.set(time + self._silence)

    @on_timer(SILENCE)
    def on_silence(self, sensor=DoFn.KeyParam, fire=DoFn.FireTimestampParam, missed=DoFn.StateParam(MISSED),
                   worst=DoFn.StateParam(WORST), silence=DoFn.TimerParam(SILENCE)):
        value = worst.read()
        worst.clear()
        if value is None:
            missed.clear()
            return
        yield Alert(sensor, value, missed.read() or 0)
        missed.write(0)
        silence.set(fire + self._silence)
