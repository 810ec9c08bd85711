// CombineFns: values of a key become an accumulator, accumulators become one, and that one an output. One call has the values of many
// keys.

import { Cursor } from './bytes.js';
import { Coder } from './coder.js';
import { BadFrame, failureOf } from './failure.js';
import { Input } from './frame.js';
import { failedSection } from './writer.js';
import { moment } from './moment.js';
import { Values } from './outputs.js';
import { noOperation } from './runner.js';

const ADD = 16;
const MERGE = 17;
const EXTRACT = 18;
const COMPACT = 19;

/** Sums up the values of a key, in any order and in parts. */
export class CombineFn {
  /** Type of the values. */
  static input = undefined;
  /** Type of what is known of the values so far. */
  static accumulator = undefined;
  /** Type of the result. */
  static output = undefined;
  /** What of the machine it wants to see: `clock`, `random`, `env(NAME)`. */
  static capabilities = [];

  constructor(config) {
    void config;
  }

  /** An accumulator that means the same and is smaller, before it is stored or sent. */
  compact(accumulator) {
    return accumulator;
  }
}

/** The coders of a CombineFn. */
export function combineCoders(Fn) {
  for (const name of ['input', 'accumulator', 'output']) {
    if (!(Fn[name] instanceof Coder)) throw new TypeError(`${Fn.name}.${name} is no type, such as t.integer`);
  }
  return { input: Fn.input, accumulator: Fn.accumulator, output: Fn.output };
}

export function describeCombine(Fn) {
  const { input, accumulator, output } = combineCoders(Fn);
  return {
    kind: 'combinefn',
    input: input.describe(),
    accumulator: accumulator.describe(),
    outputs: [{ name: 'main', coder: output.describe() }],
  };
}

/** A CombineFn that is open. */
export class CombineRunner {
  constructor(Fn, fn) {
    this.fn = fn;
    this.coders = combineCoders(Fn);
    fn.setup?.();
  }

  call(op, frame) {
    const input = new Input(frame);
    moment.begin(input);
    this.cursor = new Cursor(input.arena, input.ascii);
    this.failed = [];
    const values = new Values();
    if (op === ADD) this.groups(input, values, (rows) => this.add(input, rows));
    else if (op === MERGE) this.groups(input, values, (rows) => this.merge(input, rows));
    else if (op === EXTRACT || op === COMPACT) this.each(input, values, op);
    else throw noOperation('CombineFn', op);
    const writer = values.write();
    failedSection(this.failed, writer);
    return writer.finish();
  }

  /** One accumulator per group of the frame, whose rows stand together. */
  groups(input, values, fold) {
    let row = 0;
    for (let group = 0; group < input.groups.length; group++) {
      const first = row;
      while (row < input.rows && input.groupOf(row) === group) row += 1;
      const accumulator = this.fn.compact(fold({ first, behind: row }));
      values.push((out) => this.coders.accumulator.encode(accumulator, out));
    }
    if (row < input.rows) throw new BadFrame('the rows of a group do not stand together');
  }

  attempt(row, action) {
    try {
      action();
      return true;
    } catch (error) {
      this.failed.push([row, failureOf(error)]);
      return false;
    }
  }

  add(input, { first, behind }) {
    let accumulator = this.fn.createAccumulator();
    for (let row = first; row < behind; row++) {
      this.attempt(row, () => {
        // a value that is a pair stands in one column, whole: the group has the key
        accumulator = this.fn.addInput(accumulator, this.coders.input.decode(input.value(row, this.cursor)));
      });
    }
    return accumulator;
  }

  merge(input, { first, behind }) {
    const found = [];
    for (let row = first; row < behind; row++) {
      this.attempt(row, () => found.push(this.coders.accumulator.decode(input.value(row, this.cursor))));
    }
    if (!found.length) return this.fn.createAccumulator();
    return found.length > 1 ? this.fn.mergeAccumulators(found) : found[0];
  }

  each(input, values, op) {
    for (let row = 0; row < input.rows; row++) {
      const done = this.attempt(row, () => {
        const accumulator = this.coders.accumulator.decode(input.value(row, this.cursor));
        const made = op === EXTRACT ? this.fn.extractOutput(accumulator) : this.fn.compact(accumulator);
        const coder = op === EXTRACT ? this.coders.output : this.coders.accumulator;
        const bytes = coder.toBytes(made);
        values.push((out) => out.bytes(bytes));
      });
      if (!done) values.push(() => {});
    }
  }

  close() {
    this.fn.teardown?.();
  }
}
