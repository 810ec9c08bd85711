"""Sessions of a user, made by state and timers: events that follow each other within a gap belong together. In: pairs of user and
amount. Out: a row per session, when it is over.
"""
from typing import NamedTuple

from thalweg_udf import DoFn
from thalweg_udf import Failure
from thalweg_udf import OrderedListStateSpec
from thalweg_udf import ReadModifyWriteStateSpec
from thalweg_udf import TimeDomain
from thalweg_udf import TimerSpec
from thalweg_udf import on_timer

from .config import positive


class Session(NamedTuple):
    """Events of one user without a gap between them. The end is that of the last, and the gap behind it."""
    user: str
    start: int
    end: int
    events: int
    total: int


class Sessionize(DoFn):
    """Makes sessions."""
    outputs = {'sessions': Session}
    # when the timer is set for
    NEXT = ReadModifyWriteStateSpec('next', int, eager=True)
    # the amounts of the events, by their time
    SEEN = OrderedListStateSpec('seen', int)
    GAP = TimerSpec('gap', TimeDomain.WATERMARK)

    def __init__(self, gap_ms=5000):
        self._gap = positive('gap_ms', gap_ms)

    def process(self, element: tuple[str, int], time=DoFn.TimestampParam, next=DoFn.StateParam(NEXT), seen=DoFn.StateParam(SEEN),
                gap=DoFn.TimerParam(GAP)):
        _, amount = element
        if amount < 0:
            raise Failure('AMOUNT', f'{amount} is negative')
        seen.add(time, amount)
        due, known = time + self._gap, next.read()
        if known is None or due < known:
            gap.set(due)
            next.write(due)

    @on_timer(GAP)
    def on_gap(self, user=DoFn.KeyParam, fire=DoFn.FireTimestampParam, next=DoFn.StateParam(NEXT), seen=DoFn.StateParam(SEEN),
               gap=DoFn.TimerParam(GAP)):
        next.clear()
        for events in self._sessions(seen.read()):
            start, last = events[0][0], events[-1][0]
            end = last + self._gap
            if end > fire:
                gap.set(end)
                next.write(end)
                return
            seen.clear_range(start, last + 1)
            yield Session(user, start, end, len(events), sum(amount for _, amount in events))

    def _sessions(self, events):
        """The events, cut where one comes a gap or more behind the one before."""
        sessions = []
        for event in events:
            if sessions and event[0] - sessions[-1][-1][0] < self._gap:
                sessions[-1].append(event)
            else:
                sessions.append([event])
        return sessions
