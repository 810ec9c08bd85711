// Windows of elements, and panes.

import { Bytes, Cursor, exactTime } from './bytes.js';
import { Malformed } from './failure.js';

const SIGN = 1n << 63n;

/** From a time to before another, in milliseconds since 1970. */
export class IntervalWindow {
  constructor(start, end) {
    this.start = start;
    this.end = end;
  }

  /** Appends Beam's encoding. */
  put(out) {
    const exact = exactTime(this.end);
    const end = BigInt.asUintN(64, exact ^ SIGN);
    for (let shift = 56n; shift >= 0n; shift -= 8n) out.byte(Number((end >> shift) & 255n));
    out.varint64(exact - exactTime(this.start));
  }

  /** Reads Beam's encoding. */
  static read(cursor) {
    let end = 0n;
    for (let i = 0; i < 8; i++) end = (end << 8n) | BigInt(cursor.byte());
    end = BigInt.asIntN(64, end ^ SIGN);
    const span = cursor.varint64();
    if (span < 0n || end - span < -SIGN) throw new Malformed('an interval window');
    return new IntervalWindow(Number(end - span), Number(end));
  }

  /** The last instant in it. */
  get maxTimestamp() {
    return this.end - 1;
  }
}

/** All of time. */
export class GlobalWindow {
  put() {}
}

/** A window of another kind, as the pipeline's coder encodes it. */
export class UnknownWindow {
  constructor(bytes) {
    this.bytes = bytes;
  }

  put(out) {
    out.bytes(this.bytes);
  }
}

/** A window of an element. */
export function decodeWindow(bytes) {
  if (bytes.length === 0) return new GlobalWindow();
  try {
    const cursor = new Cursor(bytes);
    const window = IntervalWindow.read(cursor);
    return cursor.done ? window : new UnknownWindow(bytes);
  } catch {
    return new UnknownWindow(bytes);
  }
}

/** The windows of an entry of WINDOW_SETS. */
export function decodeSet(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + 4 + view.getUint32(at, true);
    found.push(decodeWindow(bytes.slice(at + 4, end)));
    at = end;
  }
  return found;
}

/** An entry of WINDOW_SETS. */
export function encodeSet(windows) {
  const out = new Bytes(32);
  for (const window of windows) {
    const one = new Bytes(32);
    window.put(one);
    for (let shift = 0; shift < 32; shift += 8) out.byte((one.length >>> shift) & 255);
    out.bytes(one.data.subarray(0, one.length));
  }
  return out.finish();
}

const TIMINGS = ['EARLY', 'ON_TIME', 'LATE', 'UNKNOWN'];

/** Which firing of its window an element belongs to. */
export class PaneInfo {
  constructor(encoded) {
    const first = encoded.length ? encoded[0] : 15;
    this.encoded = encoded;
    this.isFirst = (first & 1) !== 0;
    this.isLast = (first & 2) !== 0;
    this.timing = TIMINGS[(first >> 2) & 3];
    this.index = 0;
    this.nonspeculativeIndex = 0;
    if (first >> 4 && encoded.length > 1) {
      const cursor = new Cursor(encoded).within(1, encoded.length);
      this.index = cursor.varint();
      this.nonspeculativeIndex = this.timing === 'EARLY' ? -1 : this.index;
      if (first >> 4 === 2 && !cursor.done) this.nonspeculativeIndex = cursor.varint();
    }
  }
}
