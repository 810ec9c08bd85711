// Tests of CombineFns, WindowFns and key selectors: through the same frames as in a pipeline.

import { t } from '../coders.js';
import { NamedFunction } from '../component.js';
import { Failure } from '../failure.js';
import { find, section, words } from '../frame.js';
import { Column, Writer } from '../writer.js';
import { OutputRows, failedRows } from './outcome.js';
import { World } from './world.js';

/** The plan of an open call with a configuration. */
export function plan(config) {
  const writer = new Writer(0);
  if (config !== undefined) writer.section(section.CONFIG, new TextEncoder().encode(JSON.stringify(config)));
  return writer.finish();
}

/** A frame of group, time, key and value. */
function frame(rows, groups) {
  const [group, time, keys, values, data] = [new Column(), new Column(), new Column(), new Column(), []];
  let at = 0;
  for (const row of rows) {
    group.push(row.group ?? 0);
    time.push64(row.time ?? 0);
    for (const [column, piece] of [[keys, row.key ?? new Uint8Array(0)], [values, row.value]]) {
      column.push(at);
      column.push((at += piece.length));
      data.push(piece);
    }
  }
  const writer = new Writer(rows.length);
  writer.section(section.TIME, time.bytes);
  writer.section(section.KEY, keys.bytes);
  writer.section(section.VALUE, values.bytes);
  writer.section(section.ARENA, ...data);
  writer.section(section.GROUP, group.bytes);
  writer.table(section.GROUPS, [groups, 0], new Uint8Array(16 * groups));
  return writer.finish();
}

function columns(coder, element) {
  if (!coder.keyed) return { value: coder.toBytes(element) };
  return { key: coder.key.toBytes(element[0]), value: coder.value.toBytes(element[1]) };
}

/** The rows of a frame, unless one of its rows failed. */
function good(result) {
  for (const [, failure] of failedRows(result)) throw failure;
  return new OutputRows(result);
}

class OpenKit {
  constructor(Fn, config) {
    this.Fn = Fn;
    this.instance = new NamedFunction('it', Fn).open(plan(config), new World());
  }
}

/** An open CombineFn. */
export class CombineKit extends OpenKit {
  /**
   * Combines values as a pipeline may: whole, one by one, in parts of every length and in falling order, merged and compacted; gives
   * the result. All ways have to agree, by their encodings; if two do not, a Failure `ORDER` is thrown.
   */
  combine(elements) {
    const values = [...elements].map((element) => this.Fn.input.toBytes(element));
    const whole = this.by(values, Math.max(values.length, 1), false);
    for (let size = 1; size < values.length; size++) {
      for (const turned of [false, true]) {
        const found = this.by(values, size, turned);
        if (found.length !== whole.length || found.some((byte, i) => byte !== whole[i])) {
          throw new Failure('ORDER', `in parts of ${size} the result is another one than of all values at once`);
        }
      }
    }
    return this.Fn.output.fromBytes(whole);
  }

  run(op, rows, groups) {
    const found = good(this.instance.call(op, frame(rows, groups)));
    return Array.from({ length: found.rows }, (_, i) => found.value(i));
  }

  by(values, size, turned) {
    const apart = (pieces) => pieces.map((value, group) => ({ group, value }));
    // no values are a group without rows
    const parts = Math.max(Math.ceil(values.length / size), 1);
    const added = this.run(16, values.map((value, i) => ({ group: Math.floor(i / size), value })), parts);
    const compact = this.run(19, apart(turned ? added.reverse() : added), added.length);
    const merged = this.run(17, compact.map((value) => ({ value })), 1);
    return this.run(18, apart(merged), 1)[0];
  }
}

/** An open WindowFn. */
export class WindowKit extends OpenKit {
  /** The windows of an element. */
  assign(time, element = new Uint8Array(0)) {
    const row = columns(this.Fn.input ?? t.bytes, element);
    return good(this.instance.call(32, frame([{ ...row, time }], 1))).windows(0);
  }

  /** Merges the windows of a key: the windows that there are afterwards, each with the places of those that went into it. */
  merge(windows) {
    const result = this.instance.call(33, frame(windows.map((window) => ({ value: t.window.toBytes(window) })), 1));
    const rows = good(result);
    const merged = Array.from({ length: rows.rows }, (_, i) => ({ into: t.window.fromBytes(rows.value(i)), members: [] }));
    words(find(result, section.TARGET)).forEach((target, i) => merged[target].members.push(i));
    return merged;
  }
}

/** An open key selector. */
export class KeyKit extends OpenKit {
  /** The keys of some elements, in their order. */
  keys(elements) {
    const rows = [...elements].map((element) => columns(this.Fn.input, element));
    const found = good(this.instance.call(0, frame(rows, 1)));
    return rows.map((_, i) => this.Fn.key.fromBytes(found.value(i)));
  }
}

