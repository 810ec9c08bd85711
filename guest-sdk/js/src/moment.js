// What is the same for a whole call: its processing time, its pseudo-random numbers, its metrics; and the row that log lines are about.

import { utf8 } from './bytes.js';
import { Column, section, words64 } from './frame.js';

/** SplitMix64, the generator that all SDKs share. */
class Numbers {
  constructor() {
    this.state = 0n;
  }

  seed(number) {
    this.state = number;
  }

  /** 64 bits. */
  next() {
    this.state = BigInt.asUintN(64, this.state + 0x9e37_79b9_7f4a_7c15n);
    let z = this.state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return z ^ (z >> 31n);
  }

  /** At least 0 and below 1. */
  random() {
    return Number(this.next() >> 11n) / 2 ** 53;
  }
}

/** The running call: a guest has one thread and runs one call at a time. */
export const moment = {
  /** Processing time in milliseconds since 1970. */
  now: 0,
  /** The row that is being processed. */
  row: undefined,
  numbers: new Numbers(),
  metrics: new Map(),
  /** What the row found before it changed them. */
  before: new Map(),

  begin(input) {
    this.now = input.now;
    this.row = undefined;
    this.numbers.seed(input.seed);
    this.metrics.clear();
    this.before.clear();
  },

  /** Moves on to a row. */
  enter(row) {
    this.row = row;
    if (this.before.size) this.before.clear();
  },

  /** Takes back what the row counted. */
  undo() {
    for (const [id, delta] of this.before) {
      if (delta) this.metrics.set(id, delta);
      else this.metrics.delete(id);
    }
    this.before.clear();
  },

  /** Makes a delta another one, so that what the row counts can be taken back. */
  change(id, delta) {
    if (!this.before.has(id)) this.before.set(id, this.metrics.get(id));
    this.metrics.set(id, delta);
  },

  /** Adds to a counter. What a failed element counted is taken back. */
  count(name, n = 1) {
    const sum = this.metrics.get(`0${name}`)?.values[0] ?? 0n;
    this.change(`0${name}`, { kind: 0, name, values: [sum + BigInt(n), 0n, 0n, 0n] });
  },

  /** Reports a value to a distribution: its count, sum, minimum and maximum. */
  report(name, given) {
    const value = BigInt(given);
    const [count, sum, low, high] = this.metrics.get(`1${name}`)?.values ?? [0n, 0n, value, value];
    const values = [count + 1n, sum + value, value < low ? value : low, value > high ? value : high];
    this.change(`1${name}`, { kind: 1, name, values });
  },

  /** Adds the section of the metrics, if there are any, and starts again from nothing. */
  drain(writer) {
    if (!this.metrics.size) return;
    const [columns, names] = [[], []];
    let at = 0;
    for (const { kind, name, values } of this.metrics.values()) {
      const bytes = utf8(name);
      const words = new Column();
      for (const word of [kind, 0, at, (at += bytes.length)]) words.push(word);
      columns.push(words.bytes, words64(...values));
      names.push(bytes);
    }
    writer.section(section.METRICS, Uint8Array.of(names.length, names.length >> 8, 0, 0, 0, 0, 0, 0), ...columns, ...names);
    this.metrics.clear();
  },
};
