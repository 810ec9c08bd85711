// The guest's side of `wit/LAYOUT.md`: an input frame as columns.
//
// In: the bytes of a frame. Out: columns whose every range and length was checked, or `BadFrame`. What the bytes of a value mean
// is not known here.

import { asciiOf, number64 } from './bytes.js';
import { BadFrame } from './failure.js';

export const section = Object.freeze({
  HEADER: 1,
  KIND: 2,
  GROUP: 3,
  TIME: 4,
  WINDOWS: 5,
  PANE: 6,
  KEY: 7,
  VALUE: 8,
  ARENA: 9,
  OUTPUT: 10,
  SOURCE: 11,
  FIRE: 12,
  LARGE: 13,
  TARGET: 14,
  WINDOW_SETS: 16,
  PANES: 17,
  GROUPS: 18,
  CELLS: 19,
  CELL_OPS: 20,
  TIMER_OPS: 21,
  SUBKEYS: 22,
  SUBCELLS: 23,
  FAILED: 24,
  METRICS: 25,
  SUBCELL_OPS: 26,
  TABLE_CELLS: 27,
  CLOCK: 32,
  SEED: 33,
  CONFIG: 40,
});

/** In the columns SOURCE and WINDOWS of an output frame: from no row; keeps the windows of its source. */
export const NONE = 0xffff_ffff;
/** Kind of a row that says that a window is over. */
export const EXPIRES = 255;
/** The pane of an element that is the only firing. */
export const ONLY_FIRING = Uint8Array.of(0x0f);

/** Number of the layout. */
export const LAYOUT = 1;
const EMPTY = new Uint8Array(0);

/** Payload and number of each section, in the order they stand. */
export function* sections(frame) {
  // columns are looked at in place, which needs their alignment
  const data = frame.byteOffset % 8 === 0 ? frame : frame.slice();
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  for (let at = 0; at < data.length; ) {
    if (data.length - at < 8) throw new BadFrame('a section header is cut');
    const number = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    const following = at + 8 + length + ((8 - (length % 8)) % 8);
    if (following > data.length) throw new BadFrame(`section ${number} is cut`);
    yield [number, data.subarray(at + 8, at + 8 + length)];
    at = following;
  }
}

/** The payload of the first section of a number. */
export function find(frame, number) {
  for (const [found, payload] of sections(frame)) if (found === number) return payload;
  return undefined;
}

/** The words of 32 bits of a payload. */
export function words(payload, count = payload.length >> 2, at = 0) {
  return new Uint32Array(payload.buffer, payload.byteOffset + at, count);
}

/** Ranges that point into bytes: checked once, cut out when they are asked for. */
export class Pieces {
  /**
   * @param {Uint32Array} numbers of each entry some words, among them start and end of its range
   * @param {Uint8Array} data the bytes
   */
  constructor(numbers, data, name, stride = 2, offset = 0) {
    this.numbers = numbers;
    this.data = data;
    this.stride = stride;
    this.offset = offset;
    this.length = numbers.length / stride;
    for (let i = offset; i < numbers.length; i += stride) {
      if (numbers[i] > numbers[i + 1] || numbers[i + 1] > data.length) throw new BadFrame(`a range of ${name} lies outside`);
    }
  }

  start(i) {
    return this.numbers[i * this.stride + this.offset];
  }

  end(i) {
    return this.numbers[i * this.stride + this.offset + 1];
  }

  /** The bytes of an entry; they are the frame's. */
  get(i) {
    return i < this.length ? this.data.subarray(this.start(i), this.end(i)) : EMPTY;
  }
}

/** The words of a section's entries, and the bytes behind them. */
function entries(payload, countAt, stride, name) {
  if (payload.length < 8) throw new BadFrame(`${name} is cut`);
  const head = words(payload, 2);
  const count = head[countAt] * stride;
  if (8 + count * 4 > payload.length) throw new BadFrame(`${name} is cut`);
  return { head: head[0], numbers: words(payload, count, 8), data: payload.subarray(8 + count * 4) };
}

/** A dictionary. */
export function dictionary(payload, name) {
  const { numbers, data } = entries(payload, 0, 2, name);
  return new Pieces(numbers, data, name);
}

/** Slot and cells of a section CELLS. */
export function cells(payload) {
  const { head, numbers, data } = entries(payload, 1, 2, 'CELLS');
  return [head, new Pieces(numbers, data, 'CELLS')];
}

/** Entries that may be absent. */
export class Answers extends Pieces {
  /** The bytes of an entry, if it is there. */
  find(i) {
    return i < this.length && this.numbers[i * 4] !== 0 ? this.get(i) : undefined;
  }
}

/** The first number of SUBCELLS or TABLE_CELLS, and its entries. */
export function answers(payload, countAt, name) {
  const { head, numbers, data } = entries(payload, countAt, 4, name);
  return [head, new Answers(numbers, data, name, 4, 2)];
}

/** The section SUBCELLS of a frame. */
export function subcells(frame) {
  const payload = find(frame, section.SUBCELLS);
  return payload === undefined ? undefined : answers(payload, 0, 'SUBCELLS')[1];
}

/** By row, the token of what follows in its value. */
function large(payload) {
  const { numbers, data } = entries(payload, 0, 4, 'LARGE');
  const tokens = new Pieces(numbers, data, 'LARGE', 4, 2);
  return new Map(Array.from({ length: tokens.length }, (_, i) => [numbers[i * 4], tokens.get(i)]));
}

/** An input frame. */
export class Input {
  constructor(frame) {
    const known = new Map();
    /** By slot, the cells of the groups. */
    this.cells = new Map();
    /** By table, what it has for each row. */
    this.tables = new Map();
    for (const [number, payload] of sections(frame)) {
      if (number === section.CELLS) this.cells.set(...cells(payload));
      else if (number === section.TABLE_CELLS) this.tables.set(...answers(payload, 1, 'TABLE_CELLS'));
      else known.set(number, payload);
    }
    const header = known.get(section.HEADER) ?? EMPTY;
    if (header.length !== 8) throw new BadFrame('there is no header');
    const [layout, rows] = words(header);
    if (layout !== LAYOUT) throw new BadFrame(`layout ${layout} is not known`);
    /** Number of rows. */
    this.rows = rows;
    this.columns(known);
    /** By row, the token of what follows in its value; undefined if all values are whole. */
    this.large = known.has(section.LARGE) ? large(known.get(section.LARGE)) : undefined;
    this.checkIndexes();
    /** Text of the configuration, in the plan of an open call. */
    this.config = known.get(section.CONFIG) ?? EMPTY;
    /** Processing time of the call in milliseconds. */
    this.now = this.number(known, section.CLOCK, ([low, high]) => number64(low, high), 0);
    /** Seed of pseudo-random numbers. */
    this.seed = this.number(known, section.SEED, ([low, high]) => (BigInt(high) << 32n) | BigInt(low), 0n);
  }

  columns(known) {
    const { rows } = this;
    const column = (number, width, name) => {
      const payload = known.get(number);
      if (payload !== undefined && payload.length !== rows * width) throw new BadFrame(`${name} has another number of rows`);
      return payload;
    };
    const indexes = (number, name) => {
      const payload = column(number, 4, name);
      return payload && words(payload);
    };
    /** The bytes that keys and values point into. */
    this.arena = known.get(section.ARENA) ?? EMPTY;
    this.kinds = column(section.KIND, 1, 'KIND');
    const times = column(section.TIME, 8, 'TIME');
    const fires = column(section.FIRE, 8, 'FIRE');
    this.times = times && words(times);
    this.fires = fires && words(fires);
    this.group = indexes(section.GROUP, 'GROUP');
    this.windows = indexes(section.WINDOWS, 'WINDOWS');
    this.panes = indexes(section.PANE, 'PANE');
    const pieces = (number, name) => {
      const payload = column(number, 8, name);
      return payload && new Pieces(words(payload), this.arena, name);
    };
    this.values = pieces(section.VALUE, 'VALUE');
    this.keys = pieces(section.KEY, 'KEY');
    const dictionaryOf = (number, name) => known.has(number) && dictionary(known.get(number), name);
    this.windowSets = dictionaryOf(section.WINDOW_SETS, 'WINDOW_SETS') || new Pieces(new Uint32Array(0), EMPTY, '');
    this.paneSets = dictionaryOf(section.PANES, 'PANES') || new Pieces(new Uint32Array(0), EMPTY, '');
    const groups = known.has(section.GROUPS) ? entries(known.get(section.GROUPS), 0, 4, 'GROUPS').numbers : new Uint32Array(0);
    /** Keys of the groups. */
    this.groups = new Pieces(groups, this.arena, 'GROUPS', 4, 0);
  }

  checkIndexes() {
    const check = (column, size, name) => {
      for (let i = 0; column && i < column.length; i++) {
        if (column[i] >= size) throw new BadFrame(`${name} names an entry that is not there`);
      }
    };
    check(this.group, this.groups.length, 'GROUP');
    check(this.windows, this.windowSets.length, 'WINDOWS');
    check(this.panes, this.paneSets.length, 'PANE');
    // a number of rows that no column bears out may be any number
    if (this.rows && !(this.times || this.group || this.values || this.keys)) throw new BadFrame('rows without a column');
  }

  number(known, number, read, absent) {
    const payload = known.get(number);
    if (payload === undefined) return absent;
    if (payload.length !== 8) throw new BadFrame('a number is cut');
    return read(words(payload));
  }

  /** The arena as text, if it is ASCII. */
  get ascii() {
    if (this.asciiKnown === undefined) this.asciiKnown = { text: asciiOf(this.arena) };
    return this.asciiKnown.text;
  }

  /** What a row is: 0 an element, 1 + f a timer of family f, or EXPIRES. */
  kind(row) {
    return this.kinds ? this.kinds[row] : 0;
  }

  /** Event time of a row in milliseconds. */
  time(row) {
    return this.times ? number64(this.times[row * 2], this.times[row * 2 + 1]) : 0;
  }

  /** When a timer's row was to fire. */
  fire(row) {
    return this.fires ? number64(this.fires[row * 2], this.fires[row * 2 + 1]) : 0;
  }

  /** Index of a row's group; the first without groups. */
  groupOf(row) {
    return this.group ? this.group[row] : 0;
  }

  /** Index of a row's window set. */
  windowOf(row) {
    return this.windows ? this.windows[row] : 0;
  }

  /** The pane of a row as Beam encodes it. */
  pane(row) {
    return this.paneSets.length ? this.paneSets.get(this.panes ? this.panes[row] : 0) : ONLY_FIRING;
  }

  /** The key of a row, in a cursor over the arena. */
  key(row, cursor) {
    if (this.keys) return cursor.within(this.keys.start(row), this.keys.end(row));
    if (!this.group) return cursor.within(0, 0);
    return cursor.within(this.groups.start(this.group[row]), this.groups.end(this.group[row]));
  }

  /** The value of a row, in a cursor over the arena. */
  value(row, cursor) {
    return this.values ? cursor.within(this.values.start(row), this.values.end(row)) : cursor.within(0, 0);
  }

  /** Bytes of a row's key. */
  keyBytes(row) {
    return this.keys ? this.keys.get(row) : this.group ? this.groups.get(this.group[row]) : EMPTY;
  }

  /** Bytes of a row's value. */
  valueBytes(row) {
    return this.values ? this.values.get(row) : EMPTY;
  }
}
