// Bytes that grow, and bytes that are read one value after the other: the variable-length integers and lengths that Beam's
// coders share.

import { Malformed } from './failure.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const doubles = new DataView(new ArrayBuffer(8));
const TWO_32 = 0x1_0000_0000;

/** The UTF-8 of a text. */
export function utf8(text) {
  return encoder.encode(text);
}

/** The text of UTF-8. */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Malformed('UTF-8');
  }
}

/** Bytes as a string of one character each: a key of maps, which is ordered as the bytes are. */
export function binary(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + 4096));
  }
  return text;
}

/** The bytes of such a string. */
export function unbinary(text) {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The characters of ASCII: the bytes below 128 as texts. */
export const CHARS = Array.from({ length: 128 }, (_, i) => String.fromCharCode(i));

const ASCII = /^[\x00-\x7f]*$/;

/** Whether a text is ASCII, so that its bytes are its characters. */
export function isAscii(text) {
  return ASCII.test(text);
}

/** Bytes that grow. */
export class Bytes {
  constructor(size = 256) {
    this.data = new Uint8Array(size);
    this.length = 0;
  }

  /** Makes room for `more` bytes. */
  reserve(more) {
    if (this.length + more <= this.data.length) return;
    const grown = new Uint8Array(Math.max(this.data.length * 2, this.length + more));
    grown.set(this.data.subarray(0, this.length));
    this.data = grown;
  }

  byte(value) {
    if (this.length === this.data.length) this.reserve(1);
    this.data[this.length++] = value;
  }

  bytes(bytes) {
    this.reserve(bytes.length);
    this.data.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** UTF-8. */
  text(text) {
    this.reserve(text.length * 3);
    this.length += encoder.encodeInto(text, this.data.subarray(this.length)).written;
  }

  /** UTF-8 behind its length. */
  prefixedText(text) {
    const length = text.length;
    this.reserve(length * 3 + 10);
    if (length < 128) {
      // mostly the length takes one byte, and each character too
      const { written } = encoder.encodeInto(text, this.data.subarray(this.length + 1));
      if (written < 128) {
        this.data[this.length] = written;
        this.length += 1 + written;
        return;
      }
    }
    const bytes = encoder.encode(text);
    this.varint(bytes.length);
    this.bytes(bytes);
  }

  /** A whole number, seven bits a byte, the lowest first; of a negative one the 64 bits. */
  varint(value) {
    if (value < 0) {
      this.varint64(BigInt(value));
      return;
    }
    if (value < 128) {
      this.byte(value);
      return;
    }
    this.reserve(10);
    let rest = value;
    while (rest >= 128) {
      this.data[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.data[this.length++] = rest;
  }

  /** The 64 bits of a BigInt. */
  varint64(value) {
    if (value >= 0n && value < 0x20_0000_0000_0000n) {
      this.varint(Number(value));
      return;
    }
    this.reserve(10);
    let rest = BigInt.asUintN(64, value);
    while (rest >= 128n) {
      this.data[this.length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.data[this.length++] = Number(rest);
  }

  double(value) {
    doubles.setFloat64(0, value);
    this.fixed(8);
  }

  float(value) {
    doubles.setFloat32(0, value);
    this.fixed(4);
  }

  int16(value) {
    doubles.setInt16(0, value);
    this.fixed(2);
  }

  int32(value) {
    doubles.setInt32(0, value);
    this.fixed(4);
  }

  fixed(size) {
    this.reserve(size);
    for (let i = 0; i < size; i++) this.data[this.length++] = doubles.getUint8(i);
  }

  /** A copy of what is there. */
  finish() {
    return this.data.slice(0, this.length);
  }
}

/** Reads values out of bytes, one after the other. */
export class Cursor {
  /**
   * @param {Uint8Array} bytes
   * @param {string} [ascii] the same as text, if all of it is ASCII
   */
  constructor(bytes, ascii) {
    this.data = bytes;
    this.ascii = ascii;
    this.at = 0;
    this.end = bytes.length;
  }

  /** Reads from a place to before another. */
  within(start, end) {
    this.at = start;
    this.end = end;
    return this;
  }

  /** Whether nothing is left. */
  get done() {
    return this.at >= this.end;
  }

  /** The place of `size` bytes, which are taken. */
  take(size) {
    const start = this.at;
    if (!(size <= this.end - start)) throw new Malformed('long enough');
    this.at = start + size;
    return start;
  }

  byte() {
    return this.data[this.take(1)];
  }

  bytes(size) {
    const start = this.take(size);
    return this.data.slice(start, start + size);
  }

  text(size) {
    const start = this.take(size);
    return this.ascii === undefined ? textOf(this.data.subarray(start, start + size)) : this.ascii.slice(start, start + size);
  }

  /** A number without sign; it is inexact above 2^53. */
  varint() {
    const { data, end } = this;
    let at = this.at;
    if (at < end && data[at] < 128) {
      this.at = at + 1;
      return data[at];
    }
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10 && at < end; i++) {
      const byte = data[at++];
      if (byte < 128) {
        this.at = at;
        return value + byte * scale;
      }
      value += (byte & 127) * scale;
      scale *= 128;
    }
    throw new Malformed('a varint');
  }

  /** A number of 64 bits with a sign. */
  varint64() {
    const start = this.at;
    const near = this.varint();
    if (near <= Number.MAX_SAFE_INTEGER) return BigInt(near);
    let value = 0n;
    for (let at = this.at - 1; at >= start; at--) value = (value << 7n) | BigInt(this.data[at] & 127);
    return BigInt.asIntN(64, value);
  }

  fixed(size) {
    const start = this.take(size);
    for (let i = 0; i < size; i++) doubles.setUint8(i, this.data[start + i]);
    return doubles;
  }

  double() {
    return this.fixed(8).getFloat64(0);
  }

  float() {
    return this.fixed(4).getFloat32(0);
  }

  int16() {
    return this.fixed(2).getInt16(0);
  }

  int32() {
    return this.fixed(4).getInt32(0);
  }
}

/** The bytes as text if all of them are ASCII, else undefined. One call for a whole arena is cheaper than one per value. */
export function asciiOf(bytes) {
  try {
    const text = decoder.decode(bytes);
    return text.length === bytes.length ? text : undefined;
  } catch {
    return undefined;
  }
}

// Beyond 2^53 every other number is missing, and of Beam's times the ends are odd: what they are read as means them when it is written.
const ENDS = new Map([-9223372036854775n, 9223371950454775n, 9223372036854775n].map((end) => [Number(end), end]));

/** A time in milliseconds with all its digits: Beam's first and last one and the end of the global window are what they were read as. */
export function exactTime(time) {
  return ENDS.get(time) ?? BigInt(time);
}

/** Two words of 32 bits, the low one first, as a number; it is inexact above 2^53: see `exactTime`. */
export function number64(low, high) {
  return (high | 0) * TWO_32 + (low >>> 0);
}
