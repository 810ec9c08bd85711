// Alerts that are limited in their rate: after an alert of a sensor there is silence for a while; what would have been an alert meanwhile
// is told as one when the silence ends. In: pairs of sensor and reading.

import { DoFn, Failure, state, t } from 'thalweg-udf';
import { positive } from './config.js';

/** A reading over the limit, or the largest of those that were held back, and how many. */
const Alert = t.row({ sensor: t.string, value: t.double, missed: t.integer });

/** Tells what is over the limit. */
export class Alerts extends DoFn {
  static input = t.kv(t.string, t.double);
  static outputs = { alerts: Alert };
  static state = {
    // how many alerts were held back; there is a value while there is silence
    missed: state.value(t.integer, { eager: true }),
    // the largest reading of them
    worst: state.value(t.double, { eager: true }),
  };
  static timers = { silence: 'event' };

  constructor({ limit = 30, silence_ms = 60_000 }) {
    super();
    if (typeof limit !== 'number') throw new Failure('CONFIG', 'limit must be a number');
    this.limit = limit;
    this.silence = positive('silence_ms', silence_ms);
  }

  *process([sensor, value], ctx) {
    if (value <= this.limit) return;
    const { missed, worst } = ctx.state;
    const heldBack = missed.read();
    if (heldBack !== undefined) {
      missed.write(heldBack + 1);
      worst.write(Math.max(worst.read() ?? value, value));
      return;
    }
    yield { sensor, value, missed: 0 };
    missed.write(0);
    ctx.timers.silence.set(ctx.time + this.silence);
  }

  *onTimer(timer, ctx) {
    const { missed, worst } = ctx.state;
    const value = worst.read();
    worst.clear();
    if (value === undefined) {
      missed.clear();
      return;
    }
    yield { sensor: ctx.key, value, missed: missed.read() ?? 0 };
    missed.write(0);
    ctx.timers.silence.set(timer.time + this.silence);
  }
}
