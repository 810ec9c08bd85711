// What all coders have. *Outer* is the encoding when the length is known from outside, *nested* the one inside something else.

import { Bytes, Cursor, isAscii } from './bytes.js';
import { Malformed } from './failure.js';

/** How values of a type travel. */
export class Coder {
  constructor(urn, components = []) {
    this.urn = urn;
    this.components = components;
    /** Whether elements have their key in a column of its own. */
    this.keyed = false;
    /** Name of the type as a field of a row. */
    this.field = undefined;
  }

  /** The coder in the description of a function. */
  describe() {
    const components = this.components.map((component) => component.describe());
    return components.length ? { urn: this.urn, components } : { urn: this.urn };
  }

  /** Appends the outer encoding. */
  encode(value, out) {
    this.nested(value, out);
  }

  /** Reads an outer encoding, which goes to the cursor's end. */
  decode(cursor) {
    const value = this.read(cursor);
    if (!cursor.done) throw new Malformed('the end of a value');
    return value;
  }

  /** The outer encoding as bytes of its own. */
  toBytes(value) {
    const out = new Bytes(32);
    this.encode(value, out);
    return out.finish();
  }

  /** The nested encoding as bytes of its own. */
  toNested(value) {
    const out = new Bytes(32);
    this.nested(value, out);
    return out.finish();
  }

  /** The outer encoding as a piece of an output frame: as text, whose UTF-8 it is, or as bytes. */
  piece(value, rows) {
    const text = this.ascii(value);
    if (text !== undefined && isAscii(text)) return text;
    rows.binary = true;
    return this.toBytes(value);
  }

  /** The nested encoding as text, if that may be ASCII; undefined if it is not, or the value is of another type. */
  ascii(value) {
    void value;
    return undefined;
  }

  /** What reads an outer encoding that stands between two places of the cursor's bytes. */
  reader(cursor) {
    return (start, end) => this.decode(cursor.within(start, end));
  }

  /** Reads one nested encoding. */
  one(bytes) {
    return this.read(new Cursor(bytes));
  }

  /** Reads the outer encoding that bytes are. */
  fromBytes(bytes) {
    return this.decode(new Cursor(bytes));
  }

  /** Reads nested encodings, one after the other. */
  allFrom(bytes) {
    const cursor = new Cursor(bytes);
    const found = [];
    while (!cursor.done) found.push(this.read(cursor));
    return found;
  }
}

/** A value or null. */
export class NullableCoder extends Coder {
  constructor(value) {
    super('beam:coder:nullable:v1', [value]);
    this.value = value;
  }

  encode(value, out) {
    const there = value !== null && value !== undefined;
    out.byte(there ? 1 : 0);
    if (there) this.value.encode(value, out);
  }

  nested(value, out) {
    const there = value !== null && value !== undefined;
    out.byte(there ? 1 : 0);
    if (there) this.value.nested(value, out);
  }

  decode(cursor) {
    return this.there(cursor) ? this.value.decode(cursor) : null;
  }

  read(cursor) {
    return this.there(cursor) ? this.value.read(cursor) : null;
  }

  there(cursor) {
    const mark = cursor.byte();
    if (mark > 1) throw new Malformed('a nullable value');
    return mark === 1;
  }
}
