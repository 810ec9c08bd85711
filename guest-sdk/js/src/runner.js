// A DoFn at work: its description, and the loop that runs it over the rows of a frame.

import { Cursor } from './bytes.js';
import { Coder } from './coder.js';
import { ListCoder } from './coders.js';
import { To } from './dofn.js';
import { BadFrame, Failure, failureOf } from './failure.js';
import { EXPIRES, Input, NONE } from './frame.js';
import { failedSection } from './writer.js';
import { moment } from './moment.js';
import { Rows } from './outputs.js';
import { Reads, readerOf, tableReaderOf } from './side.js';
import { State } from './state.js';
import { Timer, Timers } from './timers.js';
import { listOf } from './values.js';
import { GlobalWindow, PaneInfo, decodeSet } from './windows.js';

/** Outputs leave before the call ends when they are this large. */
const FLUSH_BYTES = 256 * 1024;
const PROCESS = 0;
const START_BUNDLE = 1;
const FINISH_BUNDLE = 2;

export function noOperation(kind, op) {
  return new Failure('NO_OPERATION', `a ${kind} has no operation ${op}`);
}

/** Reads the element of a row. */
export function elementOf(input, row, coder, cursor) {
  if (!coder.keyed) return coder.decode(input.value(row, cursor));
  const key = coder.key.decode(input.key(row, cursor));
  return [key, coder.value.decode(input.value(row, cursor))];
}

/** What reads the elements of a frame, which are asked for in their order. */
function elements(input, coder, cursor, read) {
  const element = plainElements(input, coder, cursor);
  if (coder instanceof ListCoder) return (row) => listOf(coder, element(row), input.large?.get(row), read);
  if (!(coder.value instanceof ListCoder)) return element;
  return (row) => {
    const pair = element(row);
    pair[1] = listOf(coder.value, pair[1], input.large?.get(row), read);
    return pair;
  };
}

/** The same, with lists as far as they are in the frame. */
function plainElements(input, coder, cursor) {
  const words = (pieces) => pieces?.numbers ?? new Uint32Array(input.rows * 2);
  const values = words(input.values);
  if (!coder.keyed) {
    const read = coder.reader(cursor);
    return (row) => read(values[row * 2], values[row * 2 + 1]);
  }
  const [readKey, readValue] = [coder.key.reader(cursor), coder.value.reader(cursor)];
  const place = input.keys ? (row) => [row * 2, input.keys.numbers] : (row) => [input.groupOf(row) * 4, input.groups.numbers];
  // the rows of a group stand together
  let last = -1;
  let key;
  return (row) => {
    const group = input.group && !input.keys ? input.group[row] : row;
    if (group !== last) {
      const [at, numbers] = place(row);
      key = readKey(numbers[at] ?? 0, numbers[at + 1] ?? 0);
      last = group;
    }
    return [key, readValue(values[row * 2], values[row * 2 + 1])];
  };
}

/** What a DoFn class is. */
export class Shape {
  constructor(DoFnClass) {
    const has = (name) => typeof DoFnClass.prototype[name] === 'function';
    if (!has('process')) throw new TypeError(`${DoFnClass.name} has no process`);
    if (!(DoFnClass.input instanceof Coder)) throw new TypeError(`${DoFnClass.name}.input is no type, such as t.string`);
    this.DoFnClass = DoFnClass;
    this.input = DoFnClass.input;
    this.outputs = Object.entries(DoFnClass.outputs);
    this.slots = Object.entries(DoFnClass.state);
    this.timers = Object.entries(DoFnClass.timers);
    this.sides = Object.entries(DoFnClass.sideInputs);
    this.tables = Object.entries(DoFnClass.tables);
    this.bundles = has('startBundle') || has('finishBundle');
    this.expires = has('onWindowExpiration');
    this.keyed = this.slots.length > 0 || this.timers.length > 0 || this.expires;
    if (this.keyed && !this.input.keyed) throw new TypeError(`${DoFnClass.name} has state or timers: its input has to be a t.kv`);
    for (const [name, domain] of this.timers) {
      if (domain !== 'event' && domain !== 'processing') throw new TypeError(`the timer ${name} is neither event nor processing`);
    }
    if (this.timers.length && !has('onTimer')) throw new TypeError(`${DoFnClass.name} has timers and no onTimer`);
  }

  describe() {
    const described = { kind: 'dofn', input: this.input.describe() };
    described.outputs = this.outputs.map(([name, coder]) => ({ name, coder: coder.describe() }));
    const list = (title, all, describe) => {
      if (all.length) described[title] = all.map(describe);
    };
    list('slots', this.slots, ([name, slot]) => slot.describe(name));
    list('timers', this.timers, ([name, domain]) => ({ name, domain }));
    list('side_inputs', this.sides, ([name, spec]) => spec.describe(name));
    list('tables', this.tables, ([name, spec]) => spec.describe(name));
    described.pages = ['values'];
    if (this.expires) described.on_window_expiration = true;
    if (this.bundles) described.bundles = true;
    return described;
  }
}

/** What `process` gets beside the element. */
class Context {
  #runner;

  constructor(runner, state, timers, sides, tables) {
    this.#runner = runner;
    /** State by the names of `static state`. */
    this.state = state;
    /** Timers by the names of `static timers`. */
    this.timers = timers;
    /** Side inputs by the names of `static sideInputs`. */
    this.side = sides;
    /** Tables by the names of `static tables`. */
    this.tables = tables;
    /** Puts an element out, with a time and windows of its own if they are given. */
    this.emit = (name, element, more) => {
      const output = runner.outputs.get(name);
      if (more !== undefined || output === undefined || runner.row < 0) runner.push(name, element, more?.time, more?.windows);
      else runner.rows.add(output.index, output.coder, element);
    };
  }

  /** The element's event time in milliseconds since 1970. */
  get time() {
    return this.#runner.input.time(this.#runner.row);
  }

  /** All windows of the element. */
  get windows() {
    const { input, row } = this.#runner;
    return input.windowSets.length ? decodeSet(input.windowSets.get(input.windowOf(row))) : [new GlobalWindow()];
  }

  /** The window of the element; the first, if it has several. Elements of a keyed function have one. */
  get window() {
    return this.windows[0] ?? new GlobalWindow();
  }

  /** Which firing of its window the element belongs to. */
  get pane() {
    return new PaneInfo(this.#runner.input.pane(this.#runner.row));
  }

  /** The key of the element, of the timer, or of the window that is over. */
  get key() {
    return this.#runner.key();
  }

  /** The processing time of the call in milliseconds since 1970: constant in a call, equal when it is retried. */
  get now() {
    return moment.now;
  }

  /** A pseudo-random number, at least 0 and below 1: the same ones come again when a call is retried. */
  random() {
    return moment.numbers.random();
  }

  /** A pseudo-random number of 64 bits. */
  random64() {
    return moment.numbers.next();
  }

  /** Adds to a counter. */
  count(name, n) {
    moment.count(name, n);
  }

  /** Reports a value to a distribution. */
  report(name, value) {
    moment.report(name, value);
  }
}

/** A DoFn that is open. */
export class Runner {
  constructor(shape, fn, host) {
    Object.assign(this, { shape, fn, host });
    const keyed = shape.outputs.some(([, coder]) => coder.keyed);
    this.rows = new Rows(keyed, shape.outputs.length > 1, () => this.flush());
    this.timers = new Timers();
    this.reads = new Reads(host);
    this.state = new State(shape.slots.map(([, slot]) => slot), host);
    this.outputs = new Map(shape.outputs.map(([name, coder], index) => [name, { index, coder }]));
    this.main = shape.outputs.length ? this.outputs.get(shape.outputs[0][0]) : undefined;
    const named = (all, make) => Object.fromEntries(all.map(([name, spec], i) => [name, make(spec, i)]));
    this.context = new Context(
      this,
      named(shape.slots, (slot, i) => slot.bind(this.state.slots[i])),
      named(shape.timers, (_, i) => new Timer(this.timers, i)),
      named(shape.sides, (spec, i) => readerOf(this.reads, i, spec)),
      named(shape.tables, (spec, i) => tableReaderOf(this.reads, i, spec)),
    );
    this.row = -1;
    fn.setup?.();
  }

  /** Runs an operation on a frame and gives the frame with the results. */
  call(op, frame) {
    const input = new Input(frame);
    this.input = input;
    this.cursor = new Cursor(input.arena, input.ascii);
    moment.begin(input);
    this.rows.clear();
    this.failed = [];
    this.timers.begin();
    this.state.begin(input.groups.length);
    this.reads.begin(input);
    if (op === PROCESS) this.process(input);
    else if (op === START_BUNDLE || op === FINISH_BUNDLE) this.bundle(op);
    else throw noOperation('DoFn', op);
    return this.end();
  }

  process(input) {
    const { fn, context, rows, reads, timers, shape } = this;
    const element = elements(input, shape.input, this.cursor, (token, bytes) => this.host.iterablesRead(token, bytes));
    for (let row = 0; row < input.rows; row++) {
      this.row = row;
      moment.row = row;
      reads.row = row;
      rows.from(row);
      if (input.windows) reads.windows = input.windows[row];
      if (shape.keyed) {
        const group = input.groupOf(row);
        timers.row = row;
        timers.group = group;
        this.state.enter(row, group, input);
      }
      try {
        const given = input.kinds && input.kinds[row] ? this.due(row, input) : fn.process(element(row), context);
        if (given !== undefined) this.take(given);
      } catch (error) {
        if (error instanceof BadFrame) throw error;
        this.state.undo(row);
        timers.undo(row);
        moment.undo(row);
        this.failed.push([row, failureOf(error)]);
      }
    }
  }

  /** A timer, or the end of a window. */
  due(row, input) {
    const kind = input.kind(row);
    if (kind === EXPIRES) return this.fn.onWindowExpiration?.(this.context);
    const family = this.shape.timers[kind - 1];
    if (!family) return undefined;
    const tagAt = input.value(row, this.cursor);
    const timer = { name: family[0], tag: tagAt.text(tagAt.end - tagAt.at), time: input.fire(row) };
    return this.fn.onTimer(timer, this.context);
  }

  key() {
    const { key } = this.shape.input;
    return key && key.fromBytes(this.input.keyBytes(this.row));
  }

  /** Puts out what a method yields or returns. */
  take(given) {
    if (given === null) return;
    if (typeof given === 'string' || typeof given[Symbol.iterator] !== 'function') {
      const async = typeof given.then === 'function' ? ': async does not cross the boundary' : '';
      throw new TypeError(`a method yields outputs or returns an array of them${async}`);
    }
    for (const item of given) {
      if (item instanceof To) this.push(item.output, item.element, item.time, item.windows);
      else this.push(undefined, item, undefined, undefined);
    }
  }

  push(name, element, time, windows) {
    const output = name === undefined ? this.main : this.outputs.get(name);
    if (!output) throw new TypeError(`there is no output ${name}`);
    if (this.row < 0 && (time === undefined || windows === undefined)) {
      throw new Failure('NO_WINDOW', 'what leaves at the end of a bundle has a time and windows');
    }
    this.rows.push(output.index, output.coder, element, time, windows);
  }

  flush() {
    if (this.rows.size < FLUSH_BYTES) return;
    // rows of an element that fails later are dropped by the host, so it does not matter that they have left
    this.host.emit(this.rows.write().finish());
    this.rows.clear();
    this.rows.from(this.row < 0 ? NONE : this.row);
  }

  bundle(op) {
    this.row = -1;
    this.rows.from(NONE);
    this.take((op === START_BUNDLE ? this.fn.startBundle?.(this.context) : this.fn.finishBundle?.(this.context)) ?? null);
  }

  end() {
    const writer = this.rows.write();
    this.state.finish(writer);
    this.timers.finish(writer);
    failedSection(this.failed, writer);
    moment.drain(writer);
    moment.row = undefined;
    return writer.finish();
  }

  close() {
    this.fn.teardown?.();
  }
}
