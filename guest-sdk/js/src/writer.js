// The writing of frames: columns that grow, and sections one after the other.

import { exactTime, utf8 } from './bytes.js';
import { LAYOUT, section } from './frame.js';

/** The high word of the smallest number of 64 bits, which in the time column of an output frame means "inherit". */
const INHERIT_HIGH = 0x8000_0000;

/** A column that grows: words of 32 bits. */
export class Column {
  constructor() {
    this.words = [];
  }

  get length() {
    return this.words.length;
  }

  push(...words) {
    this.words.push(...words);
  }

  /** A time; undefined is "inherit". */
  push64(value) {
    if (value === undefined) {
      this.words.push(0, INHERIT_HIGH);
      return;
    }
    if (!Number.isSafeInteger(value)) {
      const exact = exactTime(value);
      this.words.push(Number(BigInt.asUintN(32, exact)), Number(BigInt.asUintN(32, exact >> 32n)));
      return;
    }
    const high = Math.floor(value / 0x1_0000_0000);
    this.words.push(value - high * 0x1_0000_0000, high >>> 0);
  }

  /** The bytes. */
  get bytes() {
    return new Uint8Array(Uint32Array.from(this.words).buffer);
  }
}

/** Puts sections one after the other into a frame. */
export class Writer {
  constructor(rows) {
    this.parts = [];
    this.size = 0;
    this.section(section.HEADER, words32(LAYOUT, rows));
  }

  /** Adds a section; its payload may stand in several places. */
  section(number, ...payload) {
    this.pieces(number, payload);
  }

  /** Adds a section of many pieces. */
  pieces(number, payload) {
    let length = 0;
    for (const part of payload) length += part.length;
    this.parts.push({ number, length, payload });
    this.size += 8 + length + ((8 - (length % 8)) % 8);
  }

  /** Adds a section of entries that point into bytes of their own. */
  table(number, head, columns, ...data) {
    this.section(number, words32(...head), columns, ...data);
  }

  /** Adds a dictionary; cells of a slot are one with another head. */
  dictionary(number, pieces, head = [pieces.length, 0]) {
    const ranges = new Column();
    let at = 0;
    for (const piece of pieces) {
      ranges.push(at);
      ranges.push((at += piece.length));
    }
    this.table(number, head, ranges.bytes, ...pieces);
  }

  /** Adds a section of entries that may be absent. */
  optional(number, head, pieces) {
    const ranges = new Column();
    let at = 0;
    for (const piece of pieces) {
      ranges.push(piece === undefined ? 0 : 1);
      ranges.push(0);
      ranges.push(at);
      ranges.push((at += piece?.length ?? 0));
    }
    this.table(number, head, ranges.bytes, ...pieces.filter((piece) => piece !== undefined));
  }

  /** The frame. */
  finish() {
    const frame = new Uint8Array(this.size);
    const view = new DataView(frame.buffer);
    let at = 0;
    for (const { number, length, payload } of this.parts) {
      view.setUint32(at, number, true);
      view.setUint32(at + 4, length, true);
      at += 8;
      for (const part of payload) {
        frame.set(part, at);
        at += part.length;
      }
      at += (8 - (length % 8)) % 8;
    }
    return frame;
  }
}

/** Words of 32 bits as bytes. */
export function words32(...numbers) {
  return new Uint8Array(Uint32Array.from(numbers).buffer);
}

/** A BigInt of 64 bits as bytes. */
export function words64(...numbers) {
  return new Uint8Array(BigInt64Array.from(numbers, (number) => BigInt.asIntN(64, number)).buffer);
}

/** The frame of a lookup: group and key of each entry. */
export function questions(pairs) {
  const columns = new Column();
  let at = 0;
  for (const [group, key] of pairs) {
    columns.push(group);
    columns.push(0);
    columns.push(at);
    columns.push((at += key.length));
  }
  const writer = new Writer(0);
  writer.table(section.SUBKEYS, [pairs.length, 0], columns.bytes, ...pairs.map(([, key]) => key));
  return writer.finish();
}

/** Adds the section of the rows that failed, if there are any: pairs of row and failure. */
export function failedSection(failed, writer) {
  if (!failed.length) return;
  const columns = new Column();
  const texts = [];
  let at = 0;
  const text = (given) => {
    const bytes = utf8(given);
    texts.push(bytes);
    columns.push(at);
    columns.push((at += bytes.length));
  };
  for (const [row, failure] of failed) {
    columns.push(row);
    columns.push(0);
    text(failure.code);
    text(failure.message);
  }
  writer.table(section.FAILED, [failed.length, 0], columns.bytes, ...texts);
}
