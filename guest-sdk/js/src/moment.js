// What is the same for a whole call: its processing time, its pseudo-random numbers, its metrics; and the row that log lines are about.

import { utf8 } from './bytes.js';
import { section } from './frame.js';
import { Column, words64 } from './writer.js';

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

  begin(input) {
    this.now = input.now;
    this.row = undefined;
    this.numbers.seed(input.seed);
    this.metrics.clear();
  },

  /** Takes back what a row counted. */
  undo(row) {
    for (const delta of this.metrics.values()) if (delta.row === row) delta.values = delta.before;
  },

  /** A delta that the current row is about to change. */
  delta(kind, name) {
    const id = kind === 0 ? name : `\0${name}`;
    let delta = this.metrics.get(id);
    if (delta === undefined) {
      delta = { kind, name, values: undefined, row: -1, before: undefined };
      this.metrics.set(id, delta);
    }
    if (delta.row !== this.row) {
      delta.row = this.row;
      delta.before = delta.values;
    }
    return delta;
  },

  /** Adds to a counter. What a failed element counted is taken back. */
  count(name, n = 1) {
    const delta = this.delta(0, name);
    const sum = delta.values ?? 0;
    // numbers are quicker, and exact up to 2^53
    delta.values = typeof sum === 'number' && typeof n === 'number' && sum < 2 ** 52 && n < 2 ** 52 ? sum + n : BigInt(sum) + BigInt(n);
  },

  /** Reports a value to a distribution: its count, sum, minimum and maximum. */
  report(name, given) {
    const value = BigInt(given);
    const delta = this.delta(1, name);
    const [count, sum, low, high] = delta.values ?? [0n, 0n, value, value];
    delta.values = [count + 1n, sum + value, value < low ? value : low, value > high ? value : high];
  },

  /** Adds the section of the metrics, if there are any, and starts again from nothing. */
  drain(writer) {
    const [columns, names] = [[], []];
    let at = 0;
    for (const { kind, name, values } of this.metrics.values()) {
      if (values === undefined) continue;
      const bytes = utf8(name);
      const words = new Column();
      for (const word of [kind, 0, at, (at += bytes.length)]) words.push(word);
      columns.push(words.bytes, words64(...(kind === 0 ? [BigInt(values), 0n, 0n, 0n] : values)));
      names.push(bytes);
    }
    if (names.length) writer.section(section.METRICS, Uint8Array.of(names.length, names.length >> 8, 0, 0, 0, 0, 0, 0), ...columns, ...names);
    this.metrics.clear();
  },
};
