// The golden frames of the contract, `wit/golden/`: this SDK reads the input frame that the host writes, and gives for it the output frame
// that the host reads. Damaged frames are refused and never end the process.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { NamedFunction, describe } from '../src/component.js';
import { BadFrame, Failure } from '../src/failure.js';
import { Input, section, sections, words } from '../src/frame.js';
import { Column, Writer } from '../src/writer.js';
import { DoFn, GlobalWindow, IntervalWindow, state, t, table, to } from '../src/index.js';
import { OutputRows, failedRows } from '../src/testing/outcome.js';

/** Uses every section of the layout that a DoFn has. */
class Golden extends DoFn {
  static input = t.kv(t.string, t.int64);
  static outputs = { main: t.kv(t.string, t.int64), notes: t.string };
  static state = { total: state.value(t.int64, { eager: true }), last: state.map(t.string, t.int64) };
  static timers = { gap: 'event' };
  static tables = { names: table(t.string, t.string, { byKey: true }) };

  constructor(config) {
    super(config);
    assert.deepEqual(config, { a: 1 });
  }

  *process([key, n], ctx) {
    const total = BigInt.asIntN(64, (ctx.state.total.read() ?? 0n) + n);
    ctx.state.total.write(total);
    ctx.state.last.set('n', n);
    ctx.timers.gap.set(ctx.time + 8, { tag: 't', hold: 3 });
    ctx.count('seen');
    if (n < 0n) throw new Failure('NEGATIVE', 'below nothing');
    ctx.report('sizes', n);
    yield [key, total];
    const { start, end } = ctx.window;
    const name = ctx.tables.names.joined() ?? '-';
    const note = `Interval(Interval { start: EventTime(${start}), end: EventTime(${end}) })`;
    yield to('notes', `${name} ${note} [${[...ctx.pane.encoded].join(', ')}] ${ctx.random64()}`, { time: ctx.now });
  }

  *onTimer(timer, ctx) {
    yield to('notes', `${timer.tag} ${timer.time}`);
    ctx.timers.gap.clear({ tag: 't' });
  }

  *onWindowExpiration(ctx) {
    yield to('main', [ctx.key, -1n], { time: 19, windows: [new IntervalWindow(20, 30), new GlobalWindow()] });
    ctx.state.total.clear();
    ctx.state.last.clear();
  }
}

function golden(name) {
  return new Uint8Array(readFileSync(new URL(`../../../wit/golden/${name}`, import.meta.url)));
}

const nobody = new Proxy({}, {
  get: (_, name) => () => {
    throw new Error(`${String(name)} needs a host`);
  },
});

function opened() {
  return new NamedFunction('golden', Golden).open(golden('plan.frame'), nobody);
}

/** What an output frame says, whatever the order of its sections and of the bytes in its arena. */
function meaning(frame) {
  const rows = new OutputRows(frame);
  const said = { rows: [], ops: {}, failed: failedRows(frame).map(([row, { code, message }]) => [row, code, message]) };
  for (let i = 0; i < rows.rows; i++) {
    said.rows.push([rows.source(i), rows.output(i), rows.time(i), rows.windows(i), rows.key(i).join(), rows.value(i).join()]);
  }
  const strides = { [section.CELL_OPS]: [1, 4, [2]], [section.SUBCELL_OPS]: [1, 6, [2, 4]], [section.TIMER_OPS]: [0, 10, [8]],
    [section.METRICS]: [0, 12, [2]] };
  for (const [number, payload] of sections(frame)) {
    if (!(number in strides)) continue;
    const [countAt, stride, ranges] = strides[number];
    const head = [...words(payload, 2)];
    const data = payload.subarray(8 + head[countAt] * stride * 4);
    said.ops[number] = [head, Array.from({ length: head[countAt] }, (_, i) => {
      const entry = [...words(payload, stride, 8 + i * stride * 4)];
      const pieces = ranges.map((at) => data.subarray(entry[at], entry[at + 1]).join());
      return [entry.filter((_, at) => !ranges.includes(at) && !ranges.includes(at - 1)), pieces];
    })];
  }
  said.sections = [...sections(frame)].map(([number]) => number).sort();
  return said;
}

test('the golden input gives the golden output', () => {
  assert.deepEqual(meaning(opened().call(0, golden('input.frame'))), meaning(golden('output.frame')));
});

test('a call gives the same bytes again', () => {
  const instance = opened();
  assert.deepEqual(instance.call(0, golden('input.frame')), instance.call(0, golden('input.frame')));
});

test('the description of the golden function is the golden one', () => {
  const ours = JSON.parse(describe([new NamedFunction('golden', Golden)]));
  const theirs = JSON.parse(new TextDecoder().decode(golden('description.json')));
  assert.match(ours.sdk, /^js /);
  assert.deepEqual(ours.functions, theirs.functions);
});

test('damaged input frames end the call and nothing else', () => {
  const [whole, instance] = [golden('input.frame'), opened()];
  const sound = instance.call(0, whole);
  let refused = 0;
  const call = (frame) => {
    try {
      instance.call(0, frame);
    } catch (error) {
      assert.ok(error instanceof BadFrame || error instanceof Failure, error.stack);
      refused += 1;
    }
  };
  for (let end = 0; end < whole.length; end++) call(whole.slice(0, end));
  let random = 1n;
  for (let i = 0; i < 20_000; i++) {
    const frame = whole.slice();
    for (let j = 0; j < 3; j++) {
      random = BigInt.asUintN(64, random * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n);
      frame[Number(random >> 33n) % frame.length] = Number((random >> 20n) & 255n);
    }
    call(frame);
  }
  assert.ok(refused > 1000, String(refused));
  assert.deepEqual(instance.call(0, whole), sound, 'the instance is none the worse for it');
});

test('a section that does not fit is refused', () => {
  const cases = [
    [section.VALUE, [0, 0, 0, 0, 0, 0, 0]],
    [section.VALUE, [1, 0, 0, 0, 0, 0, 0, 0]],
    [section.VALUE, [0, 0, 0, 0, 7, 0, 0, 0]],
    [section.GROUP, [0, 0, 0, 0]],
    [section.WINDOWS, [3, 0, 0, 0]],
    [section.WINDOW_SETS, [255, 255, 255, 255, 0, 0, 0, 0]],
    [section.GROUPS, [1, 0, 0, 0, 0, 0, 0, 0]],
    [section.CELLS, [0, 0, 0, 0, 1, 0, 0, 0]],
    [section.CLOCK, [0]],
  ];
  for (const [number, payload] of cases) {
    const writer = new Writer(1);
    writer.section(number, Uint8Array.from(payload));
    assert.throws(() => new Input(writer.finish()), BadFrame, String(number));
  }
  assert.throws(() => new Input(new Writer(0xffff_ffff).finish()), BadFrame, 'rows that no column bears out');
});

test('unknown sections are skipped', () => {
  const writer = new Writer(1);
  writer.section(9999, new TextEncoder().encode('from a later version'));
  writer.section(section.ARENA, new TextEncoder().encode('kvalue'));
  for (const [number, range] of [[section.KEY, [0, 1]], [section.VALUE, [1, 6]]]) {
    const column = new Column();
    range.forEach((word) => column.push(word));
    writer.section(number, column.bytes);
  }
  const input = new Input(writer.finish());
  assert.equal(String.fromCharCode(...input.keyBytes(0), ...input.valueBytes(0)), 'kvalue');
});
