// Rows with named fields: plain objects, coded by Beam's row coder.

import { CHARS } from './bytes.js';
import { Coder, NullableCoder } from './coder.js';
import { Failure, Malformed, unfit } from './failure.js';

/**
 * Rows: number of fields, bitmap of nulls, then the fields that are not null in their nested encodings.
 * Source: `beam:coder:row:v1` and Beam's `schema.proto`.
 */
export class RowCoder extends Coder {
  constructor(fields) {
    super('beam:coder:row:v1');
    this.fields = Object.entries(fields).map(([name, given]) => {
      const nullable = given instanceof NullableCoder;
      const inner = nullable ? given.value : given;
      if (!(inner instanceof Coder) || inner.field === undefined) throw new TypeError(`the field ${name} has no type of a row`);
      return { name, coder: inner, nullable };
    });
  }

  describe() {
    const fields = this.fields.map(({ name, coder: { field }, nullable }) => {
      return nullable ? { name, type: field, nullable } : { name, type: field };
    });
    return { urn: this.urn, fields };
  }

  nested(row, out) {
    if (typeof row !== 'object' || row === null) throw unfit(row, 'a row');
    const { fields } = this;
    out.varint(fields.length);
    this.nulls(row, out);
    for (const { name, coder: field, nullable } of fields) {
      const value = row[name];
      if (nullable && (value === null || value === undefined)) continue;
      try {
        field.nested(value, out);
      } catch (error) {
        throw error instanceof Failure ? new Failure(error.code, `field ${name}: ${error.message}`) : error;
      }
    }
  }

  ascii(row) {
    if (typeof row !== 'object' || row === null) return undefined;
    let text = `${CHARS[this.fields.length]}\0`;
    for (const { name, coder: field } of this.fields) {
      const part = field.ascii(row[name]);
      // nulls too: they are told in front
      if (part === undefined) return undefined;
      text += part;
    }
    return text;
  }

  nulls(row, out) {
    const { fields } = this;
    let bits;
    for (let i = 0; i < fields.length; i++) {
      const { name, nullable } = fields[i];
      if (nullable && (row[name] === null || row[name] === undefined)) {
        bits ??= [];
        while (bits.length <= i >> 3) bits.push(0);
        bits[i >> 3] |= 1 << (i & 7);
      }
    }
    out.varint(bits ? bits.length : 0);
    if (bits) out.bytes(Uint8Array.from(bits));
  }

  read(cursor) {
    const count = cursor.varint();
    const bits = cursor.varint();
    const nulls = cursor.take(bits);
    const row = {};
    for (let i = 0; i < this.fields.length; i++) {
      const { name, coder: field, nullable } = this.fields[i];
      // a row of an older schema has fewer fields; those missing are null
      const missing = i >= count || (i >> 3 < bits && (cursor.data[nulls + (i >> 3)] >> (i & 7)) & 1);
      if (missing && !nullable) throw new Malformed(`a row with a value in the field ${name}`);
      row[name] = missing ? null : field.read(cursor);
    }
    return row;
  }
}
