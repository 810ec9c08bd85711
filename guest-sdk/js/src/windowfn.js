// WindowFns: which windows an element gets, and how the windows of a key merge.

import { Cursor } from './bytes.js';
import { t } from './coders.js';
import { Failure, failureOf } from './failure.js';
import { Input, section } from './frame.js';
import { Column, Writer, failedSection } from './writer.js';
import { moment } from './moment.js';
import { Values } from './outputs.js';
import { elementOf, noOperation } from './runner.js';
import { IntervalWindow, encodeSet } from './windows.js';

const ASSIGN = 32;
const MERGE = 33;

/**
 * Gives elements their windows. A class that has a `merge` is one whose windows merge; `mergeOverlapping` is what sessions want.
 */
export class WindowFn {
  /** Type of the elements, if it looks at them. Else it sees their times alone. */
  static input = undefined;
  /** What of the machine it wants to see: `clock`, `random`, `env(NAME)`. */
  static capabilities = [];

  constructor(config) {
    void config;
  }
}

/**
 * Merges windows that share an instant into the window that spans them: pairs of the window, and the places of those that it takes
 * the place of.
 */
export function mergeOverlapping(windows) {
  const order = windows.map((_, i) => i).sort((a, b) => windows[a].start - windows[b].start || windows[a].end - windows[b].end);
  const merged = [];
  for (const i of order) {
    const last = merged[merged.length - 1];
    if (last && windows[i].start < last.into.end) {
      last.into = new IntervalWindow(last.into.start, Math.max(last.into.end, windows[i].end));
      last.members.push(i);
    } else {
      merged.push({ into: windows[i], members: [i] });
    }
  }
  return merged.filter(({ members }) => members.length > 1);
}

export function describeWindows(Fn) {
  const described = { kind: 'windowfn', input: (Fn.input ?? t.bytes).describe(), outputs: [] };
  if (typeof Fn.prototype.merge === 'function') described.merges = true;
  if (Fn.input) described.element = true;
  return described;
}

/** A WindowFn that is open. */
export class WindowRunner {
  constructor(Fn, fn) {
    this.fn = fn;
    this.coder = Fn.input;
    fn.setup?.();
  }

  call(op, frame) {
    const input = new Input(frame);
    moment.begin(input);
    this.cursor = new Cursor(input.arena, input.ascii);
    if (op === ASSIGN) return this.assign(input);
    if (op === MERGE && typeof this.fn.merge === 'function') return this.merge(input);
    throw noOperation('WindowFn', op);
  }

  windows(row, input) {
    const element = this.coder && elementOf(input, row, this.coder, this.cursor);
    const windows = [...this.fn.assign(input.time(row), element)];
    if (!windows.length) throw new Failure('NO_WINDOW', 'the element has no window');
    return windows;
  }

  assign(input) {
    const [failed, sets, column, source] = [[], [], new Column(), new Column()];
    for (let row = 0; row < input.rows; row++) {
      try {
        sets.push(encodeSet(this.windows(row, input)));
      } catch (error) {
        failed.push([row, failureOf(error)]);
        sets.push(encodeSet([new IntervalWindow(0, 1)]));
      }
      column.push(row);
      source.push(row);
    }
    const writer = new Writer(input.rows);
    writer.section(section.SOURCE, source.bytes);
    writer.section(section.WINDOWS, column.bytes);
    writer.dictionary(section.WINDOW_SETS, sets);
    failedSection(failed, writer);
    return writer.finish();
  }

  merge(input) {
    const values = new Values();
    const target = new Column();
    for (let first = 0; first < input.rows; ) {
      let behind = first;
      const windows = [];
      for (; behind < input.rows && input.groupOf(behind) === input.groupOf(first); behind++) {
        windows.push(t.window.decode(input.value(behind, this.cursor)));
      }
      const places = windows.map(() => undefined);
      for (const { into, members } of this.fn.merge(windows)) {
        const place = values.push((out) => into.put(out));
        for (const member of members) {
          if (!(member in places) || places[member] !== undefined) {
            throw new Failure('MERGE', 'a merge names a window that is not there, or twice');
          }
          places[member] = place;
        }
      }
      windows.forEach((window, i) => target.push(places[i] ?? values.push((out) => window.put(out))));
      first = behind;
    }
    const writer = values.write();
    writer.section(section.TARGET, target.bytes);
    return writer.finish();
  }

  close() {
    this.fn.teardown?.();
  }
}
