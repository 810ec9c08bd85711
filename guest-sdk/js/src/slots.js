// State slots as a function declares them (`static state = { seen: state.value(t.integer) }`), and what it gets for them in
// `ctx.state`: typed handles on the cells of the element's key and window.

import { exactTime } from './bytes.js';
import { Coder } from './coder.js';
import { combineCoders } from './combine.js';

function checked(coder) {
  if (!(coder instanceof Coder)) throw new TypeError('a state slot needs a type, such as t.integer');
  return coder;
}

/** A slot of state. */
class Slot {
  constructor(kind, coder, Handle, more = {}) {
    this.kind = kind;
    this.coder = checked(coder);
    this.Handle = Handle;
    this.key = undefined;
    this.eager = false;
    Object.assign(this, more);
  }

  /** Whether it is a value or a bag: it has one cell, and no entries. */
  get plain() {
    return this.kind === 'value' || this.kind === 'bag';
  }

  describe(name) {
    const described = { name, kind: this.kind, coder: this.coder.describe() };
    if (this.key) described.key = this.key.describe();
    if (this.eager) described.eager = true;
    return described;
  }

  bind(cell) {
    return new this.Handle(cell, this);
  }
}

class Handle {
  constructor(cell, { coder, key, combine }) {
    this.cell = cell;
    this.coder = coder;
    this.key = key;
    this.combine = combine;
  }

  /** Removes what is there. */
  clear() {
    this.cell.clear();
  }
}

/** One value or none. */
class Value extends Handle {
  /** The value, or undefined. */
  read() {
    const bytes = this.cell.get();
    return bytes.length ? this.coder.one(bytes) : undefined;
  }

  /** Replaces the value. */
  write(value) {
    this.cell.replace(this.coder.toNested(value));
  }
}

/** Values that are summed up when they are added. */
class Combining extends Handle {
  accumulator() {
    const bytes = this.cell.get();
    return bytes.length ? this.coder.one(bytes) : this.combine.createAccumulator();
  }

  /** Adds a value. */
  add(value) {
    this.cell.replace(this.coder.toNested(this.combine.addInput(this.accumulator(), value)));
  }

  /** What the values come to; that of no values if there are none. */
  read() {
    return this.combine.extractOutput(this.accumulator());
  }
}

/** Any number of values. To iterate over it is to read it by page: right for a bag that may be large. */
class Bag extends Handle {
  /**
   * The values in the order they were added, as they are when the walk begins; memory holds one page of them. A walk is good for the element
   * that began it, which may write state on its way.
   */
  [Symbol.iterator]() {
    return this.walk(this.cell.pages());
  }

  *walk(pages) {
    for (const page of pages) yield* this.coder.allFrom(page);
  }

  /** The values in the order they were added, all of them in memory. */
  read() {
    return this.coder.allFrom(this.cell.get());
  }

  /** Adds a value. */
  add(value) {
    this.cell.append(this.coder.toNested(value));
  }
}

/** Elements, each once. */
class SetState extends Handle {
  add(element) {
    this.cell.put(this.coder.toBytes(element), new Uint8Array(0));
  }

  delete(element) {
    this.cell.remove(this.coder.toBytes(element));
  }

  has(element) {
    return this.cell.get(this.coder.toBytes(element)) !== undefined;
  }

  /** All elements. */
  read() {
    return this.cell.scan().map(([key]) => this.coder.fromBytes(key));
  }
}

/** A value per key. */
class MapState extends Handle {
  /** The value of a key, or undefined. */
  get(key) {
    const bytes = this.cell.get(this.key.toBytes(key));
    return bytes === undefined ? undefined : this.coder.fromBytes(bytes);
  }

  has(key) {
    return this.cell.get(this.key.toBytes(key)) !== undefined;
  }

  set(key, value) {
    this.cell.put(this.key.toBytes(key), this.coder.toBytes(value));
  }

  delete(key) {
    this.cell.remove(this.key.toBytes(key));
  }

  /** Fetches the values of several keys in one call to the host. */
  prefetch(...keys) {
    this.cell.fetch(keys.map((key) => this.key.toBytes(key)));
  }

  /** All keys and values, in the order of the encoded keys. */
  entries() {
    return this.cell.scan().map(([key, value]) => [this.key.fromBytes(key), this.coder.fromBytes(value)]);
  }
}

/** Any number of values per key. */
class MultimapState extends Handle {
  /** The values of a key, in the order they were added. */
  get(key) {
    return this.coder.allFrom(this.cell.get(this.key.toBytes(key)) ?? new Uint8Array(0));
  }

  has(key) {
    return this.cell.get(this.key.toBytes(key)) !== undefined;
  }

  /** Adds a value to a key. */
  add(key, value) {
    this.cell.append(this.key.toBytes(key), this.coder.toNested(value));
  }

  /** Removes a key with all its values. */
  delete(key) {
    this.cell.remove(this.key.toBytes(key));
  }

  /** All keys with their values, in the order of the encoded keys. */
  entries() {
    return this.cell.scan().map(([key, values]) => [this.key.fromBytes(key), this.coder.allFrom(values)]);
  }
}

const SIGN = 1n << 63n;

/** A time as the key of an entry: its order is the order of time. */
function instant(time) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, exactTime(time) ^ SIGN));
  return bytes;
}

function timeOf(key) {
  return Number(BigInt.asIntN(64, new DataView(key.buffer, key.byteOffset, 8).getBigUint64(0) ^ SIGN));
}

/** Values by time, in milliseconds since 1970. */
class OrderedListState extends Handle {
  /** Adds a value at a time. */
  add(time, value) {
    this.cell.append(instant(time), this.coder.toNested(value));
  }

  /** Time and value of those from a time to before another; of all without the two. */
  read(from, to) {
    const found = this.cell.scan(from === undefined ? undefined : instant(from), to === undefined ? undefined : instant(to));
    return found.flatMap(([key, values]) => this.coder.allFrom(values).map((value) => [timeOf(key), value]));
  }

  /** Removes the values from a time to before another. */
  deleteRange(from, to) {
    this.cell.removeRange(instant(from), instant(to));
  }
}

/**
 * The kinds of state. Slots with `eager: true` arrive with the batch: right for small values that nearly every element needs.
 */
export const state = Object.freeze({
  value: (coder, { eager = false } = {}) => new Slot('value', coder, Value, { eager }),
  combining: (CombineFn, { eager = false } = {}) => {
    return new Slot('value', combineCoders(CombineFn).accumulator, Combining, { eager, combine: new CombineFn({}) });
  },
  bag: (coder) => new Slot('bag', coder, Bag),
  set: (coder) => new Slot('set', coder, SetState),
  map: (key, coder) => new Slot('map', coder, MapState, { key: checked(key) }),
  multimap: (key, coder) => new Slot('multimap', coder, MultimapState, { key: checked(key) }),
  orderedList: (coder) => new Slot('orderedlist', coder, OrderedListState),
});
