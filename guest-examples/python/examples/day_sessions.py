"""Windows of a WindowFn of one's own that merge: sessions that end at midnight (UTC). Windows that overlap or touch become one, if
they lie in the same day; so the result is the same in whatever order they come.
"""
from thalweg_udf import IntervalWindow
from thalweg_udf import WindowFn

from .config import positive

DAY = 86_400_000


class DaySessions(WindowFn):
    """Sessions within a day."""

    def __init__(self, gap_ms=1_800_000):
        self._gap = positive('gap_ms', gap_ms)

    def assign(self, context):
        time = context.timestamp
        midnight = (time // DAY + 1) * DAY
        return [IntervalWindow(time, min(midnight, time + self._gap))]

    def merge(self, merge_context):
        chains = []
        for window in sorted(merge_context.windows):
            last = chains[-1] if chains else None
            if last and window.start <= max(w.end for w in last) and window.start // DAY == last[0].start // DAY:
                last.append(window)
            else:
                chains.append([window])
        for chain in chains:
            if len(chain) > 1:
                merge_context.merge(chain, IntervalWindow(chain[0].start, max(window.end for window in chain)))
