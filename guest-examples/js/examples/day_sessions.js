// Windows of a WindowFn of one's own that merge: sessions that end at midnight (UTC). Windows that overlap or touch become one, if they lie
// in the same day; so the result is the same in whatever order they come.

import { IntervalWindow, WindowFn } from 'thalweg-udf';
import { positive } from './config.js';

const DAY = 86_400_000;
const dayOf = (time) => Math.floor(time / DAY);

/** Sessions within a day. */
export class DaySessions extends WindowFn {
  constructor({ gap_ms = 1_800_000 }) {
    super();
    this.gap = positive('gap_ms', gap_ms);
  }

  assign(time) {
    return [new IntervalWindow(time, Math.min((dayOf(time) + 1) * DAY, time + this.gap))];
  }

  merge(windows) {
    const order = windows.map((_, i) => i).sort((a, b) => windows[a].start - windows[b].start || windows[a].end - windows[b].end);
    const merged = [];
    for (const i of order) {
      const { start, end } = windows[i];
      const last = merged.at(-1);
      if (last && start <= last.into.end && dayOf(start) === dayOf(last.into.start)) {
        last.into = new IntervalWindow(last.into.start, Math.max(last.into.end, end));
        last.members.push(i);
      } else {
        merged.push({ into: windows[i], members: [i] });
      }
    }
    return merged.filter(({ members }) => members.length > 1);
  }
}
