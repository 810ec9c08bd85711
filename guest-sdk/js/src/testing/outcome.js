// What a function gave in a test: its elements, failures, metrics and log lines.

import { Cursor, number64, textOf } from '../bytes.js';
import { Failure } from '../failure.js';
import { NONE, Pieces, dictionary, find, section, sections, words } from '../frame.js';
import { decodeSet } from '../windows.js';

/** The rows that failed: pairs of row and failure. */
export function failedRows(result) {
  const payload = find(result, section.FAILED);
  if (!payload) return [];
  const [count] = words(payload, 1);
  const numbers = words(payload, count * 6, 8);
  const texts = payload.subarray(8 + count * 24);
  return Array.from({ length: count }, (_, i) => {
    const [row, , a, b, c, d] = numbers.subarray(i * 6, i * 6 + 6);
    return [row, new Failure(textOf(texts.subarray(a, b)), textOf(texts.subarray(c, d)))];
  });
}

/** The columns of an output frame. */
export class OutputRows {
  constructor(frame) {
    const found = new Map(sections(frame));
    this.rows = words(found.get(section.HEADER))[1];
    const arena = found.get(section.ARENA) ?? new Uint8Array(0);
    const column = (number) => found.has(number) && words(found.get(number));
    const pieces = (number) => (found.has(number) ? new Pieces(words(found.get(number)), arena, 'a column') : undefined);
    this.keys = pieces(section.KEY);
    this.values = pieces(section.VALUE);
    const [sources, outputs, times, windows] = [section.SOURCE, section.OUTPUT, section.TIME, section.WINDOWS].map(column);
    const sets = found.get(section.WINDOW_SETS);
    const dictionaryOfSets = sets && dictionary(sets, 'WINDOW_SETS');
    this.source = (i) => (sources ? sources[i] : i);
    this.output = (i) => (outputs ? outputs[i] : 0);
    /** The row's own time; undefined if it inherits. */
    this.time = (i) => {
      const inherits = !times || (times[i * 2] === 0 && times[i * 2 + 1] === 0x8000_0000);
      return inherits ? undefined : number64(times[i * 2], times[i * 2 + 1]);
    };
    /** The row's own windows; undefined if it inherits. */
    this.windows = (i) => (windows && windows[i] !== NONE ? decodeSet(dictionaryOfSets.get(windows[i])) : undefined);
  }

  key(i) {
    return this.keys ? this.keys.get(i) : new Uint8Array(0);
  }

  value(i) {
    return this.values ? this.values.get(i) : new Uint8Array(0);
  }

  element(i, coder) {
    if (!coder.keyed) return coder.fromBytes(this.value(i));
    return [coder.key.fromBytes(this.key(i)), coder.value.decode(new Cursor(this.value(i)))];
  }
}

/** What a batch, or the timers that came due, gave. */
export class Outcome {
  constructor(outputs) {
    this.outputs = outputs;
    this.calls = [];
    /** Level (0 trace to 4 error) and text of the log's lines. */
    this.logs = [];
  }

  /**
   * Event time, windows and element of what an output got, without what failed elements gave. Without a name it is the main
   * output.
   */
  rows(name = this.outputs[0][0]) {
    const index = this.outputs.findIndex(([found]) => found === name);
    const coder = this.outputs[index][1];
    const found = [];
    for (const { frames, order } of this.calls) {
      const failed = new Set(failedRows(frames[frames.length - 1]).map(([row]) => row));
      for (const rows of frames.map((frame) => new OutputRows(frame))) {
        for (let i = 0; i < rows.rows; i++) {
          const source = rows.source(i);
          if (rows.output(i) !== index || failed.has(source)) continue;
          const from = order[source];
          const windows = rows.windows(i) ?? (from ? [from.window] : []);
          found.push({ time: rows.time(i) ?? from?.time ?? 0, windows, element: rows.element(i, coder) });
        }
      }
    }
    return found;
  }

  /** The elements that an output got. */
  elements(name) {
    return this.rows(name).map(({ element }) => element);
  }

  /** The failed elements: place in the batch, code and message. */
  get failures() {
    return this.calls.flatMap(({ frames, order }) => {
      const failed = failedRows(frames[frames.length - 1]);
      return failed.map(([row, { code, message }]) => ({ place: order[row].place, code, message }));
    });
  }

  /** The outcome, if nothing in it failed; else the failure is thrown. */
  allGood() {
    for (const { code, message } of this.failures) throw new Failure(code, message);
    return this;
  }

  /** What the batch added to a metric: a counter's sum; of a distribution count, sum, minimum, maximum. */
  metric(name) {
    for (const { frames } of this.calls) {
      const payload = find(frames[frames.length - 1], section.METRICS);
      if (!payload) continue;
      const [count] = words(payload, 1);
      const names = payload.subarray(8 + count * 48);
      for (let i = 0; i < count; i++) {
        const entry = payload.slice(8 + i * 48, 8 + i * 48 + 48);
        const [kind, , start, end] = words(entry, 4);
        const values = [...new BigInt64Array(entry.buffer, 16, 4)].map(Number);
        if (textOf(names.subarray(start, end)) === name) return kind ? values : values[0];
      }
    }
    return undefined;
  }
}
