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
// | `t.values(x)` | in an input an iterable that is read by page, else as `t.list(x)` | `beam:coder:iterable:v1` |
// | `t.nullable(x)` | the value or `null` | `beam:coder:nullable:v1` |
// | `t.window` | `IntervalWindow` | `beam:coder:interval_window:v1` |
// | `t.row({a: t.string})` | an object with these fields | `beam:coder:row:v1` |
//
// *Outer* is the encoding when the length is known from outside, *nested* the one inside something else.

import { Bytes, CHARS, Cursor } from './bytes.js';
import { Coder, NullableCoder } from './coder.js';
import { Malformed, unfit } from './failure.js';
import { RowCoder } from './rows.js';
import { IntervalWindow } from './windows.js';

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

export class ListCoder extends Coder {
  constructor(element, byPage = false) {
    super('beam:coder:iterable:v1', [element]);
    this.element = element;
    /** Whether elements that are such a list are read by page, as `Values`. */
    this.byPage = byPage;
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
  values: (element) => new ListCoder(element, true),
  nullable: (value) => new NullableCoder(value),
  row: (fields) => new RowCoder(fields),
});
