// State per key and window: the cells of the group whose rows are being processed.
//
// Rows of one group stand together, so one cell per slot is alive at a time. A cell is loaded when it is first asked for: an eager
// slot's from the input frame, another's from the host, a page of groups at a time. Changes are collected and leave with the
// result of the call. A row that fails is undone by what its slots were before it.

import { Entries, PAGE_BYTES } from './entries.js';
import { Input, cells, find, section } from './frame.js';
import { words32 } from './writer.js';

/** Groups whose cells are read together when a slot that is not eager is first used. */
const READ_AHEAD = 64;
const EMPTY = new Uint8Array(0);
const SET = 0;
const APPEND = 1;
const CLEAR = 2;

function joined(a, b) {
  if (!a.length) return b;
  if (!b.length) return a;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function concatenated(parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** One slot of the kind value or bag: its cell in the current group, and the changes of the groups before. */
class Cell {
  constructor(state, slot, eager) {
    this.state = state;
    this.slot = slot;
    this.eager = eager;
    this.begin();
  }

  begin() {
    this.ops = [];
    this.data = [];
    this.at = 0;
    this.page = undefined;
    this.pageGroup = 0;
    this.forget();
  }

  forget() {
    this.base = undefined;
    // what the rows added; the whole cell if `over`
    this.added = EMPTY;
    this.over = false;
    this.savedRow = -1;
  }

  enter(group, input) {
    if (this.eager) this.base = input.cells.get(this.slot)?.get(group) ?? EMPTY;
  }

  leave(group) {
    if (this.over || this.added.length) {
      const op = !this.over ? APPEND : this.added.length ? SET : CLEAR;
      this.ops.push(group, op, this.at, (this.at += this.added.length));
      this.data.push(this.added);
    }
    this.forget();
  }

  touch() {
    if (this.savedRow !== this.state.row) {
      this.savedRow = this.state.row;
      this.savedAdded = this.added;
      this.savedOver = this.over;
    }
  }

  undo(row) {
    if (this.savedRow === row) {
      this.added = this.savedAdded;
      this.over = this.savedOver;
      this.savedRow = -1;
    }
  }

  /** What the cell is now. */
  get() {
    if (this.over) return this.added;
    this.base ??= this.load();
    return joined(this.base, this.added);
  }

  /** What the cell of a bag is now, a page at a time. What is here already is not fetched again. */
  pages() {
    return this.walk(this.state.group, this.over ? EMPTY : this.base, this.added);
  }

  *walk(group, base, added) {
    if (base) {
      yield base;
    } else {
      for (let at = EMPTY; at !== undefined && at !== null; ) {
        const page = this.state.host.stateScan(this.slot, group, at, undefined, PAGE_BYTES);
        const rows = new Input(page.rows);
        yield concatenated(Array.from({ length: rows.rows }, (_, row) => rows.valueBytes(row)));
        at = page.next;
      }
    }
    yield added;
  }

  load() {
    const { group, groups, host } = this.state;
    if (!this.page || group < this.pageGroup || group - this.pageGroup >= this.page.length) {
      const end = Math.min(groups, group + READ_AHEAD);
      const asked = Uint32Array.from({ length: end - group }, (_, i) => group + i);
      const answer = find(host.stateRead(this.slot, asked), section.CELLS);
      this.page = answer && cells(answer)[1];
      this.pageGroup = group;
    }
    return this.page ? this.page.get(group - this.pageGroup) : EMPTY;
  }

  /** Makes the bytes the cell. */
  replace(bytes) {
    this.touch();
    this.added = bytes;
    this.over = true;
  }

  /** Puts bytes behind the cell. */
  append(bytes) {
    this.touch();
    this.added = joined(this.added, bytes);
  }

  clear() {
    this.replace(EMPTY);
  }

  finish(writer) {
    if (!this.ops.length) return;
    const head = words32(this.slot, this.ops.length / 4);
    writer.pieces(section.CELL_OPS, [head, new Uint8Array(Uint32Array.from(this.ops).buffer), ...this.data]);
  }
}

/** The state of one instance during a call. */
export class State {
  constructor(slots, host) {
    this.row = -1;
    this.group = -1;
    this.groups = 0;
    this.host = host;
    this.slots = slots.map((slot, i) => (slot.plain ? new Cell(this, i, slot.eager) : new Entries(this, i)));
  }

  begin(groups) {
    this.row = -1;
    this.group = -1;
    this.groups = groups;
    for (const slot of this.slots) slot.begin();
  }

  /** Moves on to a row. */
  enter(row, group, input) {
    this.row = row;
    if (group === this.group) return;
    this.leave();
    this.group = group;
    for (const slot of this.slots) slot.enter(group, input);
  }

  leave() {
    if (this.group >= 0) for (const slot of this.slots) slot.leave(this.group);
  }

  /** Takes back what the row did. */
  undo(row) {
    for (const slot of this.slots) slot.undo(row);
  }

  /** Ends the call: the changes of all groups leave with its result. */
  finish(writer) {
    this.leave();
    this.group = -1;
    for (const slot of this.slots) slot.finish(writer);
  }
}
