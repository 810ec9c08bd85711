// State with entries: maps, sets, multimaps and ordered lists of the current group. What the rows change is laid over what the
// host has, which is asked only for what a row wants to know; every row's changes can be taken back.
//
// Keys stand here as strings of one character per byte, whose order is that of the bytes.

import { binary, unbinary } from './bytes.js';
import { Input, section, subcells } from './frame.js';
import { Column, questions } from './writer.js';

/** What is asked for at a time of things that come in pages, in bytes. */
export const PAGE_BYTES = 256 * 1024;

const EMPTY = new Uint8Array(0);
const PUT = 0;
const APPEND = 1;
const REMOVE = 2;
const CLEAR = 3;
const REMOVE_RANGE = 4;

function joined(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** The entries of one slot in the current group, and the changes of the groups before. */
export class Entries {
  constructor(state, slot) {
    this.state = state;
    this.slot = slot;
    this.begin();
  }

  begin() {
    this.ops = new Column();
    this.data = [];
    this.at = 0;
    this.forget();
  }

  forget() {
    // by key: PUT and the whole entry, APPEND and further values, or REMOVE
    this.over = new Map();
    this.cleared = false;
    this.removed = [];
    this.base = new Map();
    this.back = [];
    this.row = -1;
  }

  enter() {}

  leave(group) {
    if (this.cleared) this.op(group, CLEAR, '', EMPTY);
    for (const [from, to] of this.removed) this.op(group, REMOVE_RANGE, from, unbinary(to));
    for (const key of [...this.over.keys()].sort()) {
      const { op, value } = this.over.get(key);
      if (op !== REMOVE || !this.cleared) this.op(group, op, key, value);
    }
    this.forget();
  }

  op(group, op, key, value) {
    const bytes = unbinary(key);
    this.ops.push(group);
    this.ops.push(op);
    for (const piece of [bytes, value]) {
      this.ops.push(this.at);
      this.ops.push((this.at += piece.length));
      this.data.push(piece);
    }
  }

  touch() {
    if (this.row !== this.state.row) {
      this.row = this.state.row;
      this.back = [];
    }
  }

  /** Takes back what the row did. */
  undo(row) {
    if (this.row !== row) return;
    while (this.back.length) this.back.pop()();
    this.row = -1;
  }

  lay(key, over) {
    const before = this.over.get(key);
    if (over) this.over.set(key, over);
    else this.over.delete(key);
    this.back.push(() => (before ? this.over.set(key, before) : this.over.delete(key)));
  }

  /** Makes the bytes the entry. */
  put(key, value) {
    this.touch();
    this.lay(binary(key), { op: PUT, value });
  }

  /** Adds values to the entry. */
  append(key, values) {
    this.touch();
    const at = binary(key);
    const old = this.over.get(at) ?? { op: this.gone(at) ? REMOVE : APPEND, value: EMPTY };
    this.lay(at, { op: old.op === REMOVE ? PUT : old.op, value: joined(old.value, values) });
  }

  /** Removes the entry. */
  remove(key) {
    this.touch();
    this.lay(binary(key), { op: REMOVE, value: EMPTY });
  }

  /** Removes all. */
  clear() {
    this.touch();
    const { over, removed, cleared } = this;
    this.back.push(() => Object.assign(this, { over, removed, cleared }));
    Object.assign(this, { over: new Map(), removed: [], cleared: true });
  }

  /** Removes the entries from a key to before another. */
  removeRange(from, to) {
    this.touch();
    const [first, behind] = [binary(from), binary(to)];
    for (const key of [...this.over.keys()]) if (key >= first && key < behind) this.lay(key, undefined);
    this.removed.push([first, behind]);
    this.back.push(() => this.removed.pop());
  }

  /** Whether the host's entry of this key no longer counts. */
  gone(key) {
    return this.cleared || this.removed.some(([from, to]) => key >= from && key < to);
  }

  /** Asks the host for what it has of these keys, in one call. */
  fetch(keys) {
    const wanted = [...new Set(keys.map(binary))].filter((key) => {
      return !this.gone(key) && !this.base.has(key) && (this.over.get(key)?.op ?? APPEND) === APPEND;
    });
    if (!wanted.length) return;
    const { host, group } = this.state;
    const found = subcells(host.stateLookup(this.slot, questions(wanted.map((key) => [group, unbinary(key)]))));
    wanted.forEach((key, i) => this.base.set(key, found?.find(i)));
  }

  /** The entry of a key, if there is one. */
  get(key) {
    this.fetch([key]);
    const at = binary(key);
    const over = this.over.get(at);
    if (over?.op === PUT) return over.value;
    if (over?.op === REMOVE) return undefined;
    const base = this.gone(at) ? undefined : this.base.get(at);
    return over ? joined(base ?? EMPTY, over.value) : base;
  }

  /** All entries from a key to before another, by rising key: pairs of bytes. */
  scan(from = EMPTY, to = undefined) {
    const found = new Map();
    const { host, group } = this.state;
    for (let at = this.cleared ? undefined : from; at !== undefined; ) {
      const page = host.stateScan(this.slot, group, at, to, PAGE_BYTES);
      const rows = new Input(page.rows);
      for (let row = 0; row < rows.rows; row++) {
        const key = binary(rows.keyBytes(row));
        if (!this.gone(key)) found.set(key, rows.valueBytes(row));
      }
      at = page.next;
    }
    const [first, behind] = [binary(from), to && binary(to)];
    for (const [key, { op, value }] of this.over) {
      if (key < first || (behind !== undefined && key >= behind)) continue;
      if (op === REMOVE) found.delete(key);
      else found.set(key, op === PUT ? value : joined(found.get(key) ?? EMPTY, value));
    }
    return [...found.keys()].sort().map((key) => [unbinary(key), found.get(key)]);
  }

  finish(writer) {
    if (this.ops.length) writer.table(section.SUBCELL_OPS, [this.slot, this.ops.length / 6], this.ops.bytes, ...this.data);
  }
}
