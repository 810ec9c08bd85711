// Sessions of a user, made by state and timers: events that follow each other within a gap belong together. In: pairs of user and amount.
// Out: a row per session, when it is over.

import { DoFn, Failure, state, t } from 'thalweg-udf';
import { positive } from './config.js';

/** Events of one user without a gap between them. The end is that of the last, and the gap behind it. */
const Session = t.row({ user: t.string, start: t.integer, end: t.integer, events: t.integer, total: t.int64 });

/** Makes sessions. */
export class Sessionize extends DoFn {
  static input = t.kv(t.string, t.int64);
  static outputs = { sessions: Session };
  static state = {
    // when the timer is set for
    next: state.value(t.integer, { eager: true }),
    // the amounts of the events, by their time
    seen: state.orderedList(t.int64),
  };
  static timers = { gap: 'event' };

  constructor({ gap_ms = 5000 }) {
    super();
    this.gap = positive('gap_ms', gap_ms);
  }

  process([, amount], ctx) {
    if (amount < 0n) throw new Failure('AMOUNT', `${amount} is negative`);
    ctx.state.seen.add(ctx.time, amount);
    const due = ctx.time + this.gap;
    const next = ctx.state.next.read();
    if (next === undefined || due < next) this.wait(due, ctx);
  }

  *onTimer(timer, ctx) {
    const { next, seen } = ctx.state;
    next.clear();
    for (const events of this.sessions(seen.read())) {
      const start = events[0][0];
      const last = events.at(-1)[0];
      const end = last + this.gap;
      if (end > timer.time) {
        this.wait(end, ctx);
        return;
      }
      seen.deleteRange(start, last + 1);
      const total = events.reduce((sum, [, amount]) => sum + amount, 0n);
      yield { user: ctx.key, start, end, events: events.length, total };
    }
  }

  wait(due, ctx) {
    ctx.timers.gap.set(due);
    ctx.state.next.write(due);
  }

  /** The events, cut where one comes a gap or more behind the one before. */
  sessions(events) {
    const sessions = [];
    for (const event of events) {
      const last = sessions.at(-1);
      if (last && event[0] - last.at(-1)[0] < this.gap) last.push(event);
      else sessions.push([event]);
    }
    return sessions;
  }
}
