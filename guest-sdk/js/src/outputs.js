// Output rows as columns, written into the frame that a call returns or puts out early. A column that all rows so far could do
// without is empty.

import { Bytes } from './bytes.js';
import { unfit } from './failure.js';
import { Column, NONE, Writer, section } from './frame.js';
import { encodeSet } from './windows.js';

/** The rows so far. */
export class Rows {
  constructor() {
    this.source = new Column();
    this.value = new Column();
    this.key = new Column();
    this.output = new Column();
    this.time = new Column();
    this.windows = new Column();
    this.arena = new Bytes(4096);
    this.sets = [];
    this.count = 0;
  }

  /** Forgets them. */
  clear() {
    for (const column of [this.source, this.value, this.key, this.output, this.time, this.windows, this.arena]) column.length = 0;
    this.sets = [];
    this.count = 0;
  }

  /** About how many bytes they are. */
  get size() {
    return this.arena.length + this.count * 16;
  }

  /** Adds a row; `time` and `windows` are undefined if it inherits them. */
  push(output, source, coder, element, time, windows) {
    if (time !== undefined && !Number.isInteger(time)) throw unfit(time, 'a whole number of milliseconds');
    const { arena, count } = this;
    const start = arena.length;
    let middle = start;
    try {
      if (coder.keyed) {
        coder.pair(element);
        coder.key.encode(element[0], arena);
        middle = arena.length;
        coder.value.encode(element[1], arena);
      } else {
        coder.encode(element, arena);
      }
    } catch (error) {
      arena.length = start;
      throw error;
    }
    this.source.push(source);
    this.value.push(middle);
    this.value.push(arena.length);
    if (coder.keyed || this.key.length) {
      while (this.key.length < count * 2) this.key.push(0);
      this.key.push(start);
      this.key.push(middle);
    }
    if (output || this.output.length) {
      while (this.output.length < count) this.output.push(0);
      this.output.push(output);
    }
    if (time !== undefined || this.time.length) {
      while (this.time.length < count * 2) this.time.push64(undefined);
      this.time.push64(time);
    }
    if (windows !== undefined || this.windows.length) {
      while (this.windows.length < count) this.windows.push(NONE);
      this.windows.push(windows === undefined ? NONE : this.sets.length);
      if (windows !== undefined) this.sets.push(encodeSet(windows));
    }
    this.count += 1;
  }

  /** The frame of the rows. */
  write() {
    const writer = new Writer(this.count);
    writer.section(section.SOURCE, this.source.bytes);
    writer.section(section.VALUE, this.value.bytes);
    if (this.key.length) writer.section(section.KEY, this.key.bytes);
    if (this.time.length) writer.section(section.TIME, this.time.bytes);
    if (this.output.length) writer.section(section.OUTPUT, this.output.bytes);
    if (this.windows.length) {
      writer.section(section.WINDOWS, this.windows.bytes);
      writer.dictionary(section.WINDOW_SETS, this.sets);
    }
    writer.section(section.ARENA, this.arena.data.subarray(0, this.arena.length));
    return writer;
  }
}

/** Rows that have values alone. */
export class Values {
  constructor() {
    this.ranges = new Column();
    this.arena = new Bytes(4096);
    this.count = 0;
  }

  /** Adds a row, which `write` appends. */
  push(write) {
    const start = this.arena.length;
    write(this.arena);
    this.ranges.push(start);
    this.ranges.push(this.arena.length);
    return this.count++;
  }

  /** The frame of the rows. */
  write() {
    const writer = new Writer(this.count);
    writer.section(section.VALUE, this.ranges.bytes);
    writer.section(section.ARENA, this.arena.data.subarray(0, this.arena.length));
    return writer;
  }
}
