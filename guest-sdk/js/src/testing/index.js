// Runs a function in an ordinary test, without Wasm and without a runner: the same loop, the same frames, a host that keeps state in
// memory.
//
//   const kit = new Kit(Double);
//   assert.deepEqual(kit.run([21]).elements(), [42]);

import { binary } from '../bytes.js';
import { NamedFunction } from '../component.js';
import { EXPIRES, section } from '../frame.js';
import { Column, Writer, words64 } from '../writer.js';
import { GlobalWindow, IntervalWindow, encodeSet } from '../windows.js';
import { Outcome } from './outcome.js';
import { plan } from './shapes.js';
import { World, groupName } from './world.js';

export { CombineKit, KeyKit, WindowKit } from './shapes.js';
export { Outcome } from './outcome.js';

const PROCESS = 0;
const START_BUNDLE = 1;
const FINISH_BUNDLE = 2;
const EMPTY = new Uint8Array(0);

/** An element with an event time of its own, for `Kit.run`. */
export class Timed {
  constructor(time, element) {
    this.time = time;
    this.element = element;
  }
}

/** An element with an event time of its own, for `Kit.run`. */
export function timed(time, element) {
  return new Timed(time, element);
}

/** One open DoFn, the state and timers of its keys, its side inputs and tables. All of it lives from one `run` to the next. */
export class Kit {
  /** @param {object} [config] what the pipeline has under `config` */
  constructor(Fn, config) {
    const named = new NamedFunction('it', Fn);
    this.shape = named.shape;
    const bags = this.shape.slots.flatMap(([, slot], i) => (slot.kind === 'bag' ? [[i, slot.coder]] : []));
    this.world = new World(new Map(bags));
    this.instance = named.open(plan(config), this.world);
  }

  /** Grouped values of more than so many bytes come by page, as they do from the runner; 256 KiB without it. */
  pageBytes(bytes) {
    this.world.pageBytes = bytes;
  }

  /** Fills a side input by its name: with its elements, or with pairs of key and value. */
  side(name, elements) {
    const index = this.shape.sides.findIndex(([found]) => found === name);
    const { coder } = this.shape.sides[index][1];
    const row = (e) => (coder.keyed ? [coder.key.toBytes(e[0]), coder.value.toBytes(e[1])] : [EMPTY, coder.toBytes(e)]);
    this.world.sides.set(index, [...elements].map(row));
  }

  /** Fills a table by its name, with pairs of key and value. */
  table(name, entries) {
    const index = this.shape.tables.findIndex(([found]) => found === name);
    const { key, value } = this.shape.tables[index][1];
    this.world.tables.set(index, new Map([...entries].map((e) => [binary(key.toBytes(e[0])), value.toBytes(e[1])])));
  }

  /**
   * Runs elements as one batch. Elements of a keyed function are brought together by key, as the runner does; the outcome counts
   * them in the order given here.
   *
   * @param elements elements, or what `timed` makes of them
   * @param {{time?: number, window?: object}} [more] event time of those that have none, and the window
   */
  run(elements, { time = 0, window = new GlobalWindow() } = {}) {
    const coder = this.shape.input;
    const rows = [...elements].map((given, place) => {
      const own = given instanceof Timed ? given : { time, element: given };
      const key = coder.keyed ? coder.key.toBytes(own.element[0]) : EMPTY;
      const value = coder.keyed ? coder.value.toBytes(own.element[1]) : coder.toBytes(own.element);
      return { place, time: own.time, key, value, window, kind: 0, fire: 0 };
    });
    if (this.shape.keyed) {
      const order = new Map(rows.map((row) => [row, binary(row.key)]));
      rows.sort((a, b) => (order.get(a) < order.get(b) ? -1 : order.get(a) > order.get(b) ? 1 : a.place - b.place));
    }
    const outcome = new Outcome(this.shape.outputs);
    if (this.shape.bundles) this.call(START_BUNDLE, [], outcome);
    this.call(PROCESS, rows, outcome);
    if (this.shape.bundles) this.call(FINISH_BUNDLE, [], outcome);
    return outcome;
  }

  /**
   * Moves the watermark on: event-time timers up to it fire, in the order of time, and windows that it has passed expire with what their
   * keys kept. `Infinity` ends the global window too. What the function says to a timer or the end of a window is thrown.
   */
  advanceWatermark(to) {
    const outcome = this.fire('event', to);
    for (const { group } of this.world.expired(to)) {
      if (this.shape.expires) {
        const time = group.window instanceof IntervalWindow ? group.window.maxTimestamp : 0;
        this.call(PROCESS, [{ ...group, place: 0, time, value: EMPTY, kind: EXPIRES, fire: time }], outcome);
      }
      this.world.forget(group);
    }
    return outcome.allGood();
  }

  /** Moves the clock on, to milliseconds since 1970: processing-time timers up to it fire, in the order of time. */
  advanceClock(to) {
    this.world.now = to;
    return this.fire('processing', to).allGood();
  }

  /** The timers that are set: name of the family, tag, and when it fires. */
  get timers() {
    return [...this.world.timers.values()].map(({ family, tag, fire }) => ({ name: this.shape.timers[family][0], tag, time: fire }));
  }

  /** How often the function asked the host about state so far. */
  get stateCalls() {
    return this.world.calls;
  }

  /** Drops the instance. */
  close() {
    this.instance.close();
  }

  fire(domain, to) {
    const outcome = new Outcome(this.shape.outputs);
    const ours = (family) => this.shape.timers[family][1] === domain;
    for (;;) {
      const due = this.world.due(to, ours);
      if (!due.length) return outcome;
      const rows = due.map(({ group, family, tag, fire, hold }) => {
        return { ...group, place: 0, time: hold, value: Uint8Array.from(tag, (c) => c.charCodeAt(0)), kind: family + 1, fire };
      });
      this.call(PROCESS, rows, outcome);
    }
  }

  call(op, rows, outcome) {
    const { world } = this;
    let result;
    try {
      result = this.instance.call(op, this.frame(rows));
    } finally {
      outcome.logs.push(...world.logs);
      world.logs = [];
    }
    const isEvent = (family) => this.shape.timers[family][1] === 'event';
    world.apply(result, rows.map(({ time }) => time), isEvent);
    outcome.calls.push({ frames: [...world.emitted, result], order: rows });
    world.emitted = [];
  }

  frame(rows) {
    const writer = new Writer(rows.length);
    const [groups, group, times, fires, values, keys] = [[], new Column(), new Column(), new Column(), new Column(), new Column()];
    const [data, tokens, large] = [[], [], new Column()];
    let at = 0;
    let last;
    this.world.pages = [];
    for (const [i, row] of rows.entries()) {
      const cut = row.kind ? undefined : this.world.cut(this.shape.input.value ?? this.shape.input, row.value);
      const value = cut?.head ?? row.value;
      if (cut) {
        const start = tokens.reduce((sum, token) => sum + token.length, 0);
        [i, 0, start, start + cut.token.length].forEach((word) => large.push(word));
        tokens.push(cut.token);
      }
      const name = groupName(row);
      if (name !== last) groups.push({ key: row.key, window: row.window, start: at });
      last = name;
      group.push(groups.length - 1);
      times.push64(row.time);
      fires.push64(row.fire);
      keys.push(at);
      keys.push((at += row.key.length));
      values.push(at);
      values.push((at += value.length));
      data.push(row.key, value);
    }
    if (rows.some(({ kind }) => kind)) {
      writer.section(section.KIND, Uint8Array.from(rows, ({ kind }) => kind));
      writer.section(section.FIRE, fires.bytes);
    }
    if (tokens.length) writer.table(section.LARGE, [tokens.length, 0], large.bytes, ...tokens);
    writer.section(section.TIME, times.bytes);
    writer.section(section.VALUE, values.bytes);
    writer.section(section.ARENA, ...data);
    writer.section(section.WINDOWS, group.bytes);
    writer.dictionary(section.WINDOW_SETS, groups.map(({ window }) => encodeSet([window])));
    writer.section(section.CLOCK, words64(BigInt(this.world.now)));
    writer.section(section.SEED, words64(7n));
    this.shape.tables.forEach(([, { byKey }], i) => {
      if (byKey) this.world.tableCells(writer, i, rows.map(({ key }) => key));
    });
    if (!this.shape.keyed) {
      writer.section(section.KEY, keys.bytes);
      return writer.finish();
    }
    writer.section(section.GROUP, group.bytes);
    const entries = new Column();
    groups.forEach(({ key, start }, i) => [start, start + key.length, i, 0].forEach((word) => entries.push(word)));
    writer.table(section.GROUPS, [groups.length, 0], entries.bytes);
    this.world.groups = groups;
    this.shape.slots.forEach(([, { eager }], i) => {
      if (eager) this.world.cells(writer, i, groups.keys());
    });
    return writer.finish();
  }
}
