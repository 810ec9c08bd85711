// What the runner would keep and do, in memory: state, timers, side inputs, tables; and the imports over it.

import { Cursor, binary, unbinary } from '../bytes.js';
import { ListCoder } from '../coders.js';
import { PAGE_BYTES } from '../entries.js';
import { BadFrame } from '../failure.js';
import { find, section, sections, words } from '../frame.js';
import { Column, Writer } from '../writer.js';
import { IntervalWindow } from '../windows.js';

/** How many rows a page has, so that tests see more than one. */
const PAGE_ROWS = 3;
const EMPTY = new Uint8Array(0);

/** What names a key in a window. */
export function groupName({ key, window }) {
  return `${window instanceof IntervalWindow ? `${window.start} ${window.end}` : 'all'} ${binary(key)}`;
}

function ops(payload, countAt, stride) {
  const head = words(payload, 2);
  const numbers = words(payload, head[countAt] * stride, 8);
  const data = payload.subarray(8 + numbers.length * 4);
  const all = Array.from({ length: head[countAt] }, (_, i) => numbers.subarray(i * stride, (i + 1) * stride));
  return { head: head[0], all, cut: (start, end) => data.slice(start, end) };
}

/** Rows of key and value. */
export function page(rows) {
  const [keys, values, data] = [new Column(), new Column(), []];
  let at = 0;
  for (const [key, value] of rows) {
    keys.push(at);
    keys.push((at += key.length));
    values.push(at);
    values.push((at += value.length));
    data.push(key, value);
  }
  const writer = new Writer(rows.length);
  writer.section(section.KEY, keys.bytes);
  writer.section(section.VALUE, values.bytes);
  writer.section(section.ARENA, ...data);
  return writer.finish();
}

/** A page of rows, from where the token says. */
function part(rows, start) {
  const first = start === undefined ? 0 : Number(binary(start));
  const end = first + PAGE_ROWS;
  return { rows: page(rows.slice(first, end)), next: end < rows.length ? unbinary(String(end)) : undefined };
}

function questions(frame) {
  const payload = find(frame, section.SUBKEYS);
  if (!payload) throw new BadFrame('a lookup without SUBKEYS');
  const { all, cut } = ops(payload, 0, 4);
  return all.map(([group, , start, end]) => [group, binary(cut(start, end))]);
}

function answer(found) {
  const writer = new Writer(0);
  writer.optional(section.SUBCELLS, [found.length, 0], found);
  return writer.finish();
}

/** What there is. */
export class World {
  /** @param {Map<number, object>} [bags] the coders of the slots that are bags, by index */
  constructor(bags = new Map()) {
    this.bags = bags;
    this.kept = new Map();
    /** By name: group, family, tag, and when it fires with which time. */
    this.timers = new Map();
    /** Elements of side inputs, key and value, by index. */
    this.sides = new Map();
    /** Entries of tables by index. */
    this.tables = new Map();
    /** The groups of the running call. */
    this.groups = [];
    this.emitted = [];
    this.logs = [];
    /** Questions about state so far. */
    this.calls = 0;
    /** How long a list may be that comes whole. */
    this.pageBytes = PAGE_BYTES;
    /** Pages of the lists of the running call: elements, and whether there are more. */
    this.pages = [];
    this.now = 0;
  }

  /** The beginning of a list that is longer than a page, and the token of the rest. */
  cut(coder, value) {
    if (!(coder instanceof ListCoder) || value.length <= this.pageBytes) return undefined;
    const [parts, bytes] = [[[]], [0]];
    for (const element of coder.fromBytes(value)) {
      if (bytes.at(-1) >= this.pageBytes) {
        parts.push([]);
        bytes.push(0);
      }
      parts.at(-1).push(element);
      bytes[bytes.length - 1] += coder.element.toNested(element).length;
    }
    if (parts.length < 2) return undefined;
    const token = unbinary(String(this.pages.length));
    const nested = (part) => coder.toBytes(part).slice(4);
    this.pages.push(...parts.slice(1).map((part, i) => ({ elements: nested(part), more: i + 2 < parts.length })));
    return { head: coder.toBytes(parts[0]), token };
  }

  /** What a group keeps: cells and entries by slot. */
  of(group) {
    const name = groupName(group);
    if (!this.kept.has(name)) this.kept.set(name, { group, cells: new Map(), entries: new Map() });
    return this.kept.get(name);
  }

  entriesOf(group, slot) {
    const { entries } = this.of(this.groups[group]);
    if (!entries.has(slot)) entries.set(slot, new Map());
    return entries.get(slot);
  }

  /** The values of a bag as rows. */
  valuesOf(group, slot) {
    const cursor = new Cursor(this.of(this.groups[group]).cells.get(slot) ?? EMPTY);
    const rows = [];
    while (!cursor.done) {
      const start = cursor.at;
      this.bags.get(slot).read(cursor);
      rows.push([EMPTY, cursor.data.slice(start, cursor.at)]);
    }
    return rows;
  }

  cells(writer, slot, groups) {
    const found = [...groups].map((group) => this.of(this.groups[group]).cells.get(slot) ?? EMPTY);
    writer.dictionary(section.CELLS, found, [slot, found.length]);
  }

  tableCells(writer, table, keys) {
    const entries = this.tables.get(table) ?? new Map();
    writer.optional(section.TABLE_CELLS, [table, keys.length], keys.map((key) => entries.get(binary(key))));
  }

  /** Applies the changes of a call whose rows had these times. */
  apply(result, times, isEvent) {
    for (const [number, payload] of sections(result)) {
      if (number === section.CELL_OPS) this.cellOps(payload);
      else if (number === section.SUBCELL_OPS) this.entryOps(payload);
      else if (number === section.TIMER_OPS) this.timerOps(payload, times, isEvent);
    }
  }

  cellOps(payload) {
    const { head, all, cut } = ops(payload, 1, 4);
    for (const [group, op, start, end] of all) {
      const { cells } = this.of(this.groups[group]);
      cells.set(head, Uint8Array.of(...(op === 1 ? (cells.get(head) ?? EMPTY) : EMPTY), ...cut(start, end)));
    }
  }

  entryOps(payload) {
    const { head, all, cut } = ops(payload, 1, 6);
    for (const [group, op, a, b, c, d] of all) {
      const [key, value] = [binary(cut(a, b)), cut(c, d)];
      const entries = this.entriesOf(group, head);
      if (op === 0) entries.set(key, value);
      else if (op === 1) entries.set(key, Uint8Array.of(...(entries.get(key) ?? EMPTY), ...value));
      else if (op === 2) entries.delete(key);
      else for (const found of [...entries.keys()]) if (op === 3 || (found >= key && found < binary(value))) entries.delete(found);
    }
  }

  timerOps(payload, times, isEvent) {
    const { all, cut } = ops(payload, 0, 10);
    const long = (low, high) => Number((BigInt(high | 0) << 32n) | BigInt(low));
    for (const [group, family, op, row, fireLow, fireHigh, holdLow, holdHigh, start, end] of all) {
      const tag = binary(cut(start, end));
      const name = `${family} ${groupName(this.groups[group])} ${tag}`;
      const fire = long(fireLow, fireHigh);
      const inherits = holdLow === 0 && holdHigh === 0x8000_0000;
      const hold = inherits ? (isEvent(family) ? fire : times[row]) : long(holdLow, holdHigh);
      if (op === 0) this.timers.set(name, { group: this.groups[group], family, tag, fire, hold });
      else this.timers.delete(name);
    }
  }

  /** Takes the timers of the earliest instant that is due. */
  due(to, ours) {
    const due = [...this.timers].filter(([, { family, fire }]) => ours(family) && fire <= to);
    const first = Math.min(...due.map(([, { fire }]) => fire));
    const taken = due.filter(([, { fire }]) => fire === first).sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [name] of taken) this.timers.delete(name);
    return taken.map(([, timer]) => timer);
  }

  /** The groups that keep something and whose window is over. */
  expired(watermark) {
    return [...this.kept.values()].filter(({ group: { window }, cells, entries }) => {
      const keeps = [...cells.values()].some((cell) => cell.length) || [...entries.values()].some((found) => found.size);
      return keeps && (window instanceof IntervalWindow ? window.end <= watermark : watermark === Infinity);
    });
  }

  /** Drops what a group keeps. */
  forget(group) {
    const name = groupName(group);
    this.kept.delete(name);
    for (const [id, timer] of this.timers) if (groupName(timer.group) === name) this.timers.delete(id);
  }

  // The imports of a component.

  log(level, row, message) {
    this.logs.push({ level, message });
  }

  emit(rows) {
    this.emitted.push(rows);
  }

  stateRead(slot, groups) {
    this.calls += 1;
    const writer = new Writer(0);
    this.cells(writer, slot, groups);
    return writer.finish();
  }

  stateLookup(slot, subkeys) {
    this.calls += 1;
    return answer(questions(subkeys).map(([group, key]) => this.entriesOf(group, slot).get(key)));
  }

  stateScan(slot, group, start, end) {
    this.calls += 1;
    if (this.bags.has(slot)) return part(this.valuesOf(group, slot), start.length ? start : undefined);
    const [first, behind] = [binary(start), end && binary(end)];
    const all = this.entriesOf(group, slot);
    const keys = [...all.keys()].filter((key) => key >= first && (behind === undefined || key < behind)).sort();
    const rows = keys.slice(0, PAGE_ROWS).map((key) => [unbinary(key), all.get(key)]);
    return { rows: page(rows), next: keys.length > PAGE_ROWS ? unbinary(keys[PAGE_ROWS]) : undefined };
  }

  iterablesRead(token) {
    const at = Number(binary(token));
    const { elements, more } = this.pages[at];
    return { rows: page([[EMPTY, elements]]), next: more ? unbinary(String(at + 1)) : undefined };
  }

  sideRead(index, windows, key, start) {
    const rows = this.sides.get(index) ?? [];
    if (key === undefined) return part(rows, start);
    const wanted = binary(key);
    return part(rows.filter(([found]) => binary(found) === wanted).map(([, value]) => [EMPTY, value]), start);
  }

  sideKeys(index, windows, start) {
    const keys = [...new Set((this.sides.get(index) ?? []).map(([key]) => binary(key)))].sort();
    return part(keys.map((key) => [EMPTY, unbinary(key)]), start);
  }

  tableLookup(index, keys) {
    const entries = this.tables.get(index) ?? new Map();
    return answer(questions(keys).map(([, key]) => entries.get(key)));
  }
}
