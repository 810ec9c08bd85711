// Key selectors: every element gets a key.

import { Cursor } from './bytes.js';
import { Coder } from './coder.js';
import { failureOf } from './failure.js';
import { Input } from './frame.js';
import { failedSection } from './writer.js';
import { moment } from './moment.js';
import { Values } from './outputs.js';
import { elementOf, noOperation } from './runner.js';

/** Gives elements their key. */
export class KeySelector {
  /** Type of the elements. */
  static input = undefined;
  /** Type of the keys. */
  static key = undefined;
  /** What of the machine it wants to see: `clock`, `random`, `env(NAME)`. */
  static capabilities = [];

  constructor(config) {
    void config;
  }
}

/** Makes a KeySelector of a function: `keySelector({ input, key }, fn)`. */
export function keySelector(shape, key) {
  class Made extends KeySelector {}
  Object.assign(Made, shape);
  Made.prototype.key = key;
  return Made;
}

export function describeKeys(Fn) {
  for (const name of ['input', 'key']) {
    if (!(Fn[name] instanceof Coder)) throw new TypeError(`${Fn.name}.${name} is no type, such as t.string`);
  }
  return { kind: 'keyselector', input: Fn.input.describe(), outputs: [{ name: 'key', coder: Fn.key.describe() }] };
}

/** A key selector that is open. */
export class KeyRunner {
  constructor(Fn, fn) {
    this.fn = fn;
    this.input = Fn.input;
    this.key = Fn.key;
    fn.setup?.();
  }

  call(op, frame) {
    if (op !== 0) throw noOperation('key selector', op);
    const input = new Input(frame);
    moment.begin(input);
    const cursor = new Cursor(input.arena, input.ascii);
    const [values, failed] = [new Values(), []];
    for (let row = 0; row < input.rows; row++) {
      try {
        const bytes = this.key.toBytes(this.fn.key(elementOf(input, row, this.input, cursor)));
        values.push((out) => out.bytes(bytes));
      } catch (error) {
        failed.push([row, failureOf(error)]);
        values.push(() => {});
      }
    }
    const writer = values.write();
    failedSection(failed, writer);
    return writer.finish();
  }

  close() {
    this.fn.teardown?.();
  }
}
