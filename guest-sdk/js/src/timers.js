// Timers of a key and window: the timers that the rows of a call set and clear.

import { utf8 } from './bytes.js';
import { section } from './frame.js';
import { Column } from './writer.js';
import { unfit } from './failure.js';

const SET = 0;
const CLEAR = 1;

/** What the rows of a call do to timers. */
export class Timers {
  constructor() {
    this.begin();
  }

  begin() {
    this.ops = [];
    this.markRow = -1;
    this.mark = 0;
    this.row = 0;
    this.group = 0;
  }

  add(family, op, fire, hold, tag) {
    if (this.markRow !== this.row) {
      this.markRow = this.row;
      this.mark = this.ops.length;
    }
    this.ops.push({ group: this.group, family, op, row: this.row, fire, hold, tag: utf8(tag) });
  }

  /** Takes back what the row did. */
  undo(row) {
    if (this.markRow === row) this.ops.length = this.mark;
  }

  /** @param {import("./frame.js").Writer} writer gets the section of the changes, if there are any */
  finish(writer) {
    if (!this.ops.length) return;
    const columns = new Column();
    let at = 0;
    for (const { group, family, op, row, fire, hold, tag } of this.ops) {
      columns.push(group, family, op, row);
      columns.push64(fire);
      columns.push64(hold);
      columns.push(at);
      columns.push((at += tag.length));
    }
    writer.table(section.TIMER_OPS, [this.ops.length, 0], columns.bytes, ...this.ops.map(({ tag }) => tag));
  }
}

function whole(time) {
  if (!Number.isInteger(time)) throw unfit(time, 'a whole number of milliseconds');
  return time;
}

/** The timers of a family, of the element's key and window: one per tag, and one without. */
export class Timer {
  constructor(timers, family) {
    this.timers = timers;
    this.family = family;
  }

  /**
   * Sets the timer; one that is set already moves.
   *
   * @param {number} time when it fires, in milliseconds of its family's clock
   * @param {{tag?: string, hold?: number}} [more] `tag` names one timer of the family; `hold` is the time of what it will put
   *   out, which holds the watermark back until then: without it when it fires, or in processing time the time of the element
   *   that sets it
   */
  set(time, { tag = '', hold } = {}) {
    this.timers.add(this.family, SET, whole(time), hold === undefined ? undefined : whole(hold), tag);
  }

  /** Clears the timer. */
  clear({ tag = '' } = {}) {
    this.timers.add(this.family, CLEAR, 0, undefined, tag);
  }
}
