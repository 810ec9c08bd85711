// Output rows as columns, written into the frame that a call returns or puts out early. A column that all rows so far could do
// without is empty.
//
// In a component every step of a loop costs some ten nanoseconds, and a call of a built-in function hardly more. So values are kept as
// pieces, texts as they are, and all texts are encoded by one call.

import { Bytes, utf8 } from './bytes.js';
import { unfit } from './failure.js';
import { NONE, section } from './frame.js';
import { Column, Writer } from './writer.js';
import { encodeSet } from './windows.js';

/** After as many pieces the size of the rows is looked at, and after one that is larger than `LARGE`. */
const CHECKED = 512;
const LARGE = 2048;

const isText = (piece) => typeof piece === 'string';

/** The rows so far. */
export class Rows {
  /**
   * @param {boolean} keyed whether an output has keys: then pieces are key and value in turns
   * @param {boolean} several whether there is more than one output
   * @param {() => void} full called when they are many or large
   */
  constructor(keyed, several, full) {
    this.keyed = keyed;
    this.several = several;
    this.full = full;
    this.clear();
  }

  /** Forgets them. */
  clear() {
    /** Texts, and bytes of what is no text. */
    this.pieces = [];
    /** Whether there are bytes among them. */
    this.binary = false;
    /** Input row, and how many rows there were before it, in turns. */
    this.runs = [];
    this.output = [];
    this.times = [];
    this.windows = [];
    this.sets = [];
    this.checked = CHECKED;
  }

  /** How many there are. */
  get count() {
    return this.keyed ? this.pieces.length / 2 : this.pieces.length;
  }

  /** The rows that follow come from this input row. */
  from(source) {
    this.runs.push(source, this.count);
  }

  /** Adds a row that inherits its time and windows. */
  add(output, coder, element) {
    this.put(output, coder, element);
    if (this.pieces.length >= this.checked) this.check();
  }

  /** Calls `full`: the rows are as many as they were to be, or the last is large. */
  check() {
    this.checked = this.pieces.length + CHECKED;
    this.full();
  }

  put(output, coder, element) {
    const { pieces } = this;
    let value;
    if (!this.keyed) {
      pieces.push((value = coder.piece(element, this)));
    } else if (coder.keyed) {
      coder.pair(element);
      value = coder.value.piece(element[1], this);
      pieces.push(coder.key.piece(element[0], this), value);
    } else {
      pieces.push('', (value = coder.piece(element, this)));
    }
    if (this.several) this.output.push(output);
    if (value.length > LARGE) this.checked = 0;
  }

  /** Adds a row; `time` and `windows` are undefined if it inherits them. */
  push(output, coder, element, time, windows) {
    if (time !== undefined && !Number.isInteger(time)) throw unfit(time, 'a whole number of milliseconds');
    const set = windows && encodeSet(windows);
    const { count } = this;
    this.put(output, coder, element);
    if (time !== undefined) this.times[count] = time;
    if (set) {
      this.windows[count] = this.sets.length;
      this.sets.push(set);
    }
    if (this.pieces.length >= this.checked) this.check();
  }

  /** About how many bytes they are. */
  get size() {
    return this.pieces.reduce((sum, piece) => sum + piece.length + 16, 0);
  }

  /** The frame of the rows. */
  write() {
    const { count } = this;
    const writer = new Writer(count);
    writer.section(section.SOURCE, this.sources(count));
    this.values(writer);
    if (this.times.length) {
      const column = new Column();
      for (let i = 0; i < count; i++) column.push64(this.times[i]);
      writer.section(section.TIME, column.bytes);
    }
    if (this.several) writer.section(section.OUTPUT, bytesOf(Uint32Array.from(this.output)));
    if (this.windows.length) {
      const column = new Uint32Array(count).fill(NONE);
      this.windows.forEach((set, i) => (column[i] = set));
      writer.section(section.WINDOWS, bytesOf(column));
      writer.dictionary(section.WINDOW_SETS, this.sets);
    }
    return writer;
  }

  sources(count) {
    const column = new Uint32Array(count);
    const { runs } = this;
    for (let i = 0; i < runs.length; i += 2) column.fill(runs[i], runs[i + 1], runs[i + 3] ?? count);
    return bytesOf(column);
  }

  /** Adds the keys, the values and the arena: all texts in front, the other bytes behind them. */
  values(writer) {
    const texts = this.binary ? this.pieces.filter(isText) : this.pieces;
    const joined = texts.join('');
    const encoded = utf8(joined);
    if (encoded.length !== joined.length) {
      // not ASCII: each text has a length of its own
      this.pieces = this.pieces.map((piece) => (isText(piece) ? utf8(piece) : piece));
      this.binary = true;
      this.columns(writer, 0, [new Uint8Array(0)]);
    } else {
      this.columns(writer, joined.length, [encoded]);
    }
  }

  /** The columns of ranges: texts stand from 0 on, other bytes from `behind` on. */
  columns(writer, behind, arena) {
    const { pieces, keyed, binary } = this;
    const columns = keyed ? [section.KEY, section.VALUE] : [section.VALUE];
    const step = columns.length;
    let text = 0;
    let other = behind;
    const ranges = columns.map(() => new Uint32Array((pieces.length / step) * 2));
    for (let i = 0, at = 0; i < pieces.length; at += 2) {
      for (let column = 0; column < step; column++) {
        const piece = pieces[i++];
        const range = ranges[column];
        if (binary && typeof piece !== 'string') {
          range[at] = other;
          range[at + 1] = other += piece.length;
          arena.push(piece);
        } else {
          range[at] = text;
          range[at + 1] = text += piece.length;
        }
      }
    }
    columns.forEach((number, column) => writer.section(number, bytesOf(ranges[column])));
    writer.pieces(section.ARENA, arena);
  }
}

function bytesOf(numbers) {
  return new Uint8Array(numbers.buffer);
}

/** Rows that have values alone. */
export class Values {
  constructor() {
    this.ranges = new Column();
    this.arena = new Bytes(4096);
    this.count = 0;
  }

  /** Adds a row, which `write` appends. */
  push(write) {
    const start = this.arena.length;
    write(this.arena);
    this.ranges.push(start);
    this.ranges.push(this.arena.length);
    return this.count++;
  }

  /** The frame of the rows. */
  write() {
    const writer = new Writer(this.count);
    writer.section(section.VALUE, this.ranges.bytes);
    writer.section(section.ARENA, this.arena.data.subarray(0, this.arena.length));
    return writer;
  }
}
