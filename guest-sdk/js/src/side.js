// Side inputs and tables: as a function declares them, read in pages from the host, kept for the rest of the call.

import { binary, Cursor } from './bytes.js';
import { t } from './coders.js';
import { PAGE_BYTES } from './entries.js';
import { Input, subcells } from './frame.js';
import { questions } from './writer.js';

class SideSpec {
  constructor(access, coder) {
    this.access = access;
    this.coder = coder;
  }

  describe(name) {
    return { name, access: this.access, coder: this.coder.describe() };
  }
}

/** Side inputs: read as a list, or by key. */
export const side = Object.freeze({
  list: (element) => new SideSpec('iterable', element),
  multimap: (key, value) => new SideSpec('multimap', t.kv(key, value)),
});

class TableSpec {
  constructor(key, value, byKey) {
    this.key = key;
    this.value = value;
    this.byKey = byKey;
  }

  describe(name) {
    return { name, key: this.key.describe(), value: this.value.describe(), lookup: this.byKey ? 'key' : 'none' };
  }
}

/**
 * A table: entries by key, which change while the job runs. With `byKey: true` it is looked up by the element's key before the
 * call.
 */
export function table(key, value, { byKey = false } = {}) {
  return new TableSpec(key, value, byKey);
}

/** What was read in a call. */
export class Reads {
  constructor(host) {
    this.host = host;
    this.begin(undefined);
  }

  begin(input) {
    this.input = input;
    this.windows = 0;
    this.row = 0;
    this.sides = new Map();
    this.entries = new Map();
  }

  /** All rows of all pages that an answer has. */
  pages(question, read, decode) {
    let found = this.sides.get(question);
    if (found) return found;
    found = [];
    let start;
    do {
      const page = read(start);
      const rows = new Input(page.rows);
      for (let row = 0; row < rows.rows; row++) found.push(decode(rows.keyBytes(row), rows.valueBytes(row)));
      start = page.next;
    } while (start !== undefined && start !== null);
    this.sides.set(question, found);
    return found;
  }

  side(index, key, decode) {
    const question = `${index} ${this.windows} ${key === undefined ? '' : `k${binary(key)}`}`;
    return this.pages(question, (start) => this.host.sideRead(index, this.windows, key, start, PAGE_BYTES), decode);
  }

  sideKeys(index, decode) {
    return this.pages(`keys ${index} ${this.windows}`, (start) => this.host.sideKeys(index, this.windows, start, PAGE_BYTES), decode);
  }

  fetch(index, keys) {
    const asked = new Map(keys.map((key) => [`${index} ${binary(key)}`, key]));
    for (const name of asked.keys()) if (this.entries.has(name)) asked.delete(name);
    if (!asked.size) return;
    const found = subcells(this.host.tableLookup(index, questions([...asked.values()].map((key) => [0, key]))));
    [...asked.keys()].forEach((name, i) => this.entries.set(name, found?.find(i)));
  }

  entry(index, key) {
    this.fetch(index, [key]);
    return this.entries.get(`${index} ${binary(key)}`);
  }

  joined(index) {
    return this.input.tables.get(index)?.find(this.row);
  }
}

/** A side input in the element's window: its elements, which may be walked over again. */
class SideList {
  constructor(reads, index, { coder }) {
    this.reads = reads;
    this.index = index;
    this.decode = coder.keyed
      ? (key, value) => [coder.key.fromBytes(key), coder.value.fromBytes(value)]
      : (_, value) => coder.fromBytes(value);
  }

  /** The elements. They are the call's: not to be changed. */
  read() {
    return this.reads.side(this.index, undefined, this.decode);
  }

  [Symbol.iterator]() {
    return this.read()[Symbol.iterator]();
  }
}

/** A side input in the element's window, by key. */
class SideMultimap {
  constructor(reads, index, { coder }) {
    this.reads = reads;
    this.index = index;
    this.coder = coder;
  }

  /** The values of a key; none for one that is not there. */
  get(key) {
    return this.reads.side(this.index, this.coder.key.toBytes(key), (_, value) => this.coder.value.fromBytes(value));
  }

  /** The keys. */
  keys() {
    return this.reads.sideKeys(this.index, (_, value) => this.coder.key.fromBytes(value));
  }
}

/** A table. */
class TableReader {
  constructor(reads, index, { key, value }) {
    this.reads = reads;
    this.index = index;
    this.key = key;
    this.value = value;
  }

  decode(bytes) {
    return bytes === undefined ? undefined : this.value.decode(new Cursor(bytes));
  }

  /** What the table has for a key, or undefined. It may wait for the table. */
  get(key) {
    return this.decode(this.reads.entry(this.index, this.key.toBytes(key)));
  }

  /** What the table has for the element's key, which arrived with the batch. The table is declared `byKey`. */
  joined() {
    return this.decode(this.reads.joined(this.index));
  }

  /** Asks for several keys in one call to the host, for lookups that follow. */
  prefetch(...keys) {
    this.reads.fetch(this.index, keys.map((key) => this.key.toBytes(key)));
  }
}

/** What a function gets for a side input. */
export function readerOf(reads, index, spec) {
  return spec.access === 'multimap' ? new SideMultimap(reads, index, spec) : new SideList(reads, index, spec);
}

/** What a function gets for a table. */
export function tableReaderOf(reads, index, spec) {
  return new TableReader(reads, index, spec);
}
