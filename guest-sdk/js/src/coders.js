// Beam's coders for JavaScript values: the schema language `t`.
//
// | schema | value | coder |
// |---|---|---|
// | `t.bytes` | `Uint8Array` | `beam:coder:bytes:v1` |
// | `t.string` | `string` | `beam:coder:string_utf8:v1` |
// | `t.int64` | `bigint` | `beam:coder:varint:v1` |
// | `t.integer` | `number` within the safe integers | `beam:coder:varint:v1` |
// | `t.double` | `number` | `beam:coder:double:v1` |
// | `t.bool` | `boolean` | `beam:coder:bool:v1` |
// | `t.kv(k, v)` | `[key, value]` | `beam:coder:kv:v1` |
// | `t.list(x)` | an array, or another iterable | `beam:coder:iterable:v1` |
// | `t.nullable(x)` | the value or `null` | `beam:coder:nullable:v1` |
// | `t.window` | `IntervalWindow` | `beam:coder:interval_window:v1` |
// | `t.row({a: t.string})` | an object with these fields | `beam:coder:row:v1` |
//
// *Outer* is the encoding when the length is known from outside, *nested* the one inside something else.

import { Bytes, CHARS, Cursor, isAscii } from './bytes.js';
import { Failure, Malformed, unfit } from './failure.js';
import { IntervalWindow } from './windows.js';

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

/** A coder of methods `nested` and `read`, and perhaps `encode` and `decode`. */
function coder(urn, field, methods) {
  return Object.assign(new Coder(urn), { field }, methods);
}

const bytes = coder('beam:coder:bytes:v1', 'bytes', {
  encode(value, out) {
    if (!(value instanceof Uint8Array)) throw unfit(value, 'an Uint8Array');
    out.bytes(value);
  },
  nested(value, out) {
    if (!(value instanceof Uint8Array)) throw unfit(value, 'an Uint8Array');
    out.varint(value.length);
    out.bytes(value);
  },
  piece(value, rows) {
    rows.binary = true;
    return this.toBytes(value);
  },
  decode: (cursor) => cursor.bytes(cursor.end - cursor.at),
  read: (cursor) => cursor.bytes(cursor.varint()),
});

const string = coder('beam:coder:string_utf8:v1', 'string', {
  encode(value, out) {
    if (typeof value !== 'string') throw unfit(value, 'a string');
    out.text(value);
  },
  nested(value, out) {
    if (typeof value !== 'string') throw unfit(value, 'a string');
    out.prefixedText(value);
  },
  piece(value) {
    if (typeof value !== 'string') throw unfit(value, 'a string');
    return value;
  },
  ascii: (value) => (typeof value === 'string' && value.length < 128 ? CHARS[value.length] + value : undefined),
  reader(cursor) {
    const { ascii } = cursor;
    return ascii === undefined ? Coder.prototype.reader.call(this, cursor) : (start, end) => ascii.slice(start, end);
  },
  decode: (cursor) => cursor.text(cursor.end - cursor.at),
  read: (cursor) => cursor.text(cursor.varint()),
});

const int64 = coder('beam:coder:varint:v1', 'int64', {
  nested(value, out) {
    if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value) throw unfit(value, 'a bigint of 64 bits');
    out.varint64(value);
  },
  read: (cursor) => cursor.varint64(),
});

/** Encodings of small numbers: of each one array, which nobody changes. */
const VARINTS = [];

function smallVarint(value) {
  const out = new Bytes(4);
  out.varint(value);
  return (VARINTS[value] = out.finish());
}

const integer = coder('beam:coder:varint:v1', 'int64', {
  ascii: (value) => (typeof value === 'number' ? CHARS[value] : undefined),
  piece(value, rows) {
    if (typeof value === 'number' && CHARS[value] !== undefined) return CHARS[value];
    rows.binary = true;
    return this.toNested(value);
  },
  toNested(value) {
    if (typeof value === 'number' && value >= 0 && value < 4096 && Number.isInteger(value)) return VARINTS[value] ?? smallVarint(value);
    return Coder.prototype.toNested.call(this, value);
  },
  reader(cursor) {
    const { data } = cursor;
    return (start, end) => {
      const byte = data[start];
      return end - start === 1 && byte < 128 ? byte : this.decode(cursor.within(start, end));
    };
  },
  one: (bytes) => (bytes.length === 1 && bytes[0] < 128 ? bytes[0] : integer.read(new Cursor(bytes))),
  nested(value, out) {
    if (!Number.isSafeInteger(value)) throw unfit(value, 'a safe integer');
    out.varint(value);
  },
  read(cursor) {
    const start = cursor.at;
    const value = cursor.varint();
    if (value <= Number.MAX_SAFE_INTEGER) return value;
    cursor.at = start;
    const exact = Number(cursor.varint64());
    if (!Number.isSafeInteger(exact)) throw new Malformed('a safe integer: t.int64 reads larger ones');
    return exact;
  },
});

function inRange(value, bits, out, put) {
  const half = 2 ** (bits - 1);
  if (!Number.isInteger(value) || value < -half || value >= half) throw unfit(value, `a whole number of ${bits} bits`);
  put(value, out);
}

const int32 = coder('beam:coder:varint:v1', 'int32', {
  // of negative numbers Beam writes the 32 bits
  nested: (value, out) => inRange(value, 32, out, (n) => out.varint(n >>> 0)),
  read: (cursor) => Number(BigInt.asIntN(32, cursor.varint64())),
});

const int16 = coder(undefined, 'int16', {
  nested: (value, out) => inRange(value, 16, out, (n) => out.int16(n)),
  read: (cursor) => cursor.int16(),
});

const double = coder('beam:coder:double:v1', 'double', {
  nested(value, out) {
    if (typeof value !== 'number') throw unfit(value, 'a number');
    out.double(value);
  },
  read: (cursor) => cursor.double(),
});

const float = coder(undefined, 'float', {
  nested(value, out) {
    if (typeof value !== 'number') throw unfit(value, 'a number');
    out.float(value);
  },
  read: (cursor) => cursor.float(),
});

const bool = coder('beam:coder:bool:v1', 'boolean', {
  ascii: (value) => (typeof value === 'boolean' ? CHARS[Number(value)] : undefined),
  nested(value, out) {
    if (typeof value !== 'boolean') throw unfit(value, 'a boolean');
    out.byte(value ? 1 : 0);
  },
  read(cursor) {
    const byte = cursor.byte();
    if (byte > 1) throw new Malformed('a bool');
    return byte === 1;
  },
});

const window = coder('beam:coder:interval_window:v1', undefined, {
  nested(value, out) {
    if (!(value instanceof IntervalWindow)) throw unfit(value, 'an IntervalWindow');
    value.put(out);
  },
  read: (cursor) => IntervalWindow.read(cursor),
});

class KvCoder extends Coder {
  constructor(key, value) {
    super('beam:coder:kv:v1', [key, value]);
    this.keyed = true;
    this.key = key;
    this.value = value;
  }

  /** Checks that a value is a pair. */
  pair(value) {
    if (!Array.isArray(value) || value.length !== 2) throw unfit(value, 'a pair of key and value');
    return value;
  }

  encode(pair, out) {
    this.pair(pair);
    this.key.nested(pair[0], out);
    this.value.encode(pair[1], out);
  }

  piece(pair, rows) {
    rows.binary = true;
    return this.toBytes(pair);
  }

  nested(pair, out) {
    this.pair(pair);
    this.key.nested(pair[0], out);
    this.value.nested(pair[1], out);
  }

  decode(cursor) {
    const key = this.key.read(cursor);
    return [key, this.value.decode(cursor)];
  }

  read(cursor) {
    const key = this.key.read(cursor);
    return [key, this.value.read(cursor)];
  }
}

class ListCoder extends Coder {
  constructor(element) {
    super('beam:coder:iterable:v1', [element]);
    this.element = element;
  }

  nested(values, out) {
    if (typeof values !== 'object' || values === null || typeof values[Symbol.iterator] !== 'function') {
      throw unfit(values, 'an array');
    }
    const all = Array.isArray(values) ? values : [...values];
    out.int32(all.length);
    for (const value of all) this.element.nested(value, out);
  }

  read(cursor) {
    const found = [];
    const some = (count) => {
      // every value takes a byte at least, so a count cannot make a reader allocate more than what is there
      if (count > cursor.end - cursor.at) throw new Malformed('long enough');
      for (let i = 0; i < count; i++) found.push(this.element.read(cursor));
    };
    const count = cursor.int32();
    if (count >= 0) {
      some(count);
      return found;
    }
    for (let block = cursor.varint(); block !== 0; block = cursor.varint()) some(block);
    return found;
  }
}

class NullableCoder extends Coder {
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

/**
 * Rows: number of fields, bitmap of nulls, then the fields that are not null in their nested encodings.
 * Source: `beam:coder:row:v1` and Beam's `schema.proto`.
 */
class RowCoder extends Coder {
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

/** The types of elements, state and fields. */
export const t = Object.freeze({
  bytes,
  string,
  int64,
  integer,
  double,
  bool,
  window,
  /** As a field of a row only. */
  int32,
  /** As a field of a row only. */
  int16,
  /** As a field of a row only. */
  float,
  kv: (key, value) => new KvCoder(key, value),
  list: (element) => new ListCoder(element),
  nullable: (value) => new NullableCoder(value),
  row: (fields) => new RowCoder(fields),
});
