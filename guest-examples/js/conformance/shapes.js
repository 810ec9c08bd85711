// The kinds of functions that are no DoFns, and a DoFn of grouped values.

import { CombineFn, DoFn, Failure, IntervalWindow, WindowFn, dofn, keySelector, mergeOverlapping, state, t } from 'thalweg-udf';

/** Sums up the grouped values of a key. */
export const total = dofn(
  { input: t.kv(t.string, t.values(t.integer)), outputs: { totals: t.kv(t.string, t.integer) } },
  function* ([key, values]) {
    let sum = 0;
    for (const value of values) sum += value;
    yield [key, sum];
  },
);

/** Goes over the grouped values of a key: to the first, to the last, and once more. It keeps how many it saw. */
export class Walks extends DoFn {
  static input = t.kv(t.string, t.values(t.bytes));
  static outputs = { walked: t.kv(t.string, t.string) };
  static state = { seen: state.value(t.integer) };

  /** Tells what it found. The key "bad" fails behind the last value. */
  *process([key, values], { state }) {
    let [first, count, size, again] = [0, 0, 0, 0];
    for (const value of values) {
      first = value.length;
      break;
    }
    for (const value of values) {
      count += 1;
      size += value.length;
    }
    for (const value of values) again += value ? 1 : 0;
    if (key === 'bad') throw new Failure('BAD', 'the key is bad');
    const total = (state.seen.read() ?? 0) + count;
    state.seen.write(total);
    yield [key, `${count} of ${size} bytes, the first of ${first}, ${again} again, ${total} seen`];
  }
}

/** The largest numbers, the largest first. Configuration: how many, alone or as `n`; 3 without one. */
export class Top extends CombineFn {
  static input = t.integer;
  static accumulator = t.list(t.integer);
  static output = t.list(t.integer);

  constructor(config) {
    super();
    this.n = typeof config === 'number' ? config : (config.n ?? 3);
  }

  createAccumulator() {
    return [];
  }

  addInput(top, number) {
    if (number < 0) throw new Failure('NEGATIVE', `${number} is negative`);
    top.push(number);
    return top;
  }

  mergeAccumulators(tops) {
    return tops.flat();
  }

  compact(top) {
    // an array of doubles is sorted by one call, without one per pair
    return Array.from(Float64Array.from(top).sort().reverse().subarray(0, this.n));
  }

  extractOutput(top) {
    return this.compact(top);
  }
}

/** Sessions: a window of ten milliseconds per element, merged where they overlap. */
export class Sessions extends WindowFn {
  assign(time) {
    return [new IntervalWindow(time, time + 10)];
  }

  merge(windows) {
    return mergeOverlapping(windows);
  }
}

/** Two windows per element, as long as its value says and twice that. */
export class Spans extends WindowFn {
  static input = t.kv(t.string, t.integer);

  assign(time, [, length]) {
    if (length <= 0) throw new Failure('LENGTH', 'there is no length');
    return [1, 2].map((n) => new IntervalWindow(time, time + n * length));
  }
}

/** The first word of a line. */
export const firstWord = keySelector({ input: t.string, key: t.string }, (line) => {
  const [word] = line.trim().split(/\s+/);
  if (!word) throw new Failure('EMPTY', 'the line has no word');
  return word;
});
