// A function with everything: outputs, times, both kinds of slot, metrics, failures; run by the test kit. And what a component makes of a
// module.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Cursor } from '../src/bytes.js';
import { dictionary, find, section } from '../src/frame.js';
import { decodeSet } from '../src/windows.js';
import { Column, Writer } from '../src/writer.js';
import { DoFn, Failure, IntervalWindow, clock, component, dofn, env, state, t, to } from '../src/index.js';
import { connect } from '../src/component.js';
import { Kit } from '../src/testing/index.js';

/** Sums per key; 0 lists what the bag holds and empties it; a negative number does much and then fails. */
class Sum extends DoFn {
  static input = t.kv(t.string, t.integer);
  static outputs = { main: t.kv(t.string, t.integer), seen: t.string };
  static state = { total: state.value(t.integer, { eager: true }), last: state.value(t.string), all: state.bag(t.integer) };

  process([key, n], ctx) {
    const { total, last, all } = ctx.state;
    if (n === 0) {
      ctx.emit('seen', `${key}: ${all.read()} last ${last.read()}`);
      all.clear();
      return;
    }
    total.write((total.read() ?? 0) + n);
    all.add(n);
    last.write(`${key}${n}`);
    ctx.emit('main', [key, total.read()], { time: n });
    if (n < 0) {
      all.clear();
      total.clear();
      throw new Failure('NEGATIVE', `${n} is negative`);
    }
    ctx.count('good');
    ctx.report('sizes', n);
  }
}

test('outputs have their times and names', () => {
  const outcome = new Kit(Sum).run([['a', 1], ['a', 0], ['a', 2]], { time: 100 });
  assert.deepEqual(outcome.rows().map(({ time, element }) => [time, element]), [[1, ['a', 1]], [2, ['a', 3]]]);
  assert.deepEqual(outcome.rows('seen').map(({ time, element }) => [time, element]), [[100, 'a: 1 last a1']]);
});

test('state lives on and stays with its key', () => {
  const kit = new Kit(Sum);
  kit.run([['a', 1], ['b', 10], ['a', 2]]);
  const outcome = kit.run([['b', 5], ['a', 0], ['b', 0], ['c', 0]]);
  assert.deepEqual(outcome.elements(), [['b', 15]]);
  assert.deepEqual(outcome.elements('seen'), ['a: 1,2 last a2', 'b: 10,5 last b5', 'c:  last undefined']);
  assert.deepEqual(kit.run([['a', 0]]).elements('seen'), ['a:  last a2']);
});

test('a failed element leaves no trace but its failure', () => {
  const kit = new Kit(Sum);
  kit.run([['a', 1]]);
  // the failing element comes first, between and after others of its key
  const outcome = kit.run([['a', -1], ['a', 2], ['a', -2], ['a', 0], ['a', 3], ['a', -3]]);
  assert.deepEqual(outcome.elements(), [['a', 3], ['a', 6]]);
  assert.deepEqual(outcome.elements('seen'), ['a: 1,2 last a2']);
  const failed = [[0, -1], [2, -2], [5, -3]].map(([place, n]) => ({ place, code: 'NEGATIVE', message: `${n} is negative` }));
  assert.deepEqual(outcome.failures, failed);
  const after = kit.run([['a', 0], ['a', 1]]);
  assert.deepEqual(after.elements('seen'), ['a: 3 last a3']);
  assert.deepEqual(after.elements(), [['a', 7]]);
});

test('metrics are deltas of the batch', () => {
  const kit = new Kit(Sum);
  const outcome = kit.run([['a', 4], ['b', 6]]);
  assert.deepEqual([outcome.metric('good'), outcome.metric('sizes')], [2, [2, 10, 4, 6]]);
  assert.deepEqual(kit.run([['a', 1]]).metric('sizes'), [1, 1, 1, 1]);
  assert.equal(kit.run([['a', 0]]).metric('good'), undefined);
});

test('lazy cells are read a page at a time and written without a call', () => {
  const kit = new Kit(Sum);
  kit.run(Array.from({ length: 200 }, (_, i) => [String(100 + i), 0]));
  // 200 groups in pages of 64, for the bag and for the lazy value; changes leave with the result
  assert.equal(kit.stateCalls, 4 + 4);
});

test('outputs of one element may be many', () => {
  const many = dofn({ input: t.integer, outputs: { main: t.bytes } }, function* (n) {
    for (let i = 0; i < 2000; i++) yield new Uint8Array(400).fill(i);
    if (n === 1) throw new Failure('LATE', 'after all the outputs');
  });
  const outcome = new Kit(many).run([0, 1, 2]);
  assert.ok(outcome.calls[0].frames.length > 5, 'most left before the call ended');
  assert.equal(outcome.elements().length, 4000, 'the outputs of the failed element are dropped');
});

test('times and windows stay with their rows when rows leave early or fail', () => {
  const wide = dofn({ input: t.integer, outputs: { main: t.string, other: t.string } }, function* (n) {
    for (let i = 0; i < 1000; i++) yield to(i % 2 ? 'other' : 'main', `${n} ${i} ${'é'.repeat(200)}`, i % 3 ? { time: i } : {});
    if (n === 1) yield to('main', 5, { time: 7 });
  });
  const outcome = new Kit(wide).run([0, 1, 2], { time: -1 });
  assert.deepEqual(outcome.failures.map(({ place, code }) => [place, code]), [[1, 'ENCODE']]);
  assert.ok(outcome.calls[0].frames.length > 1);
  for (const name of ['main', 'other']) {
    const rows = outcome.rows(name);
    assert.equal(rows.length, 1000);
    for (const { time, element } of rows) {
      const i = Number(element.split(' ')[1]);
      assert.equal(time, i % 3 ? i : -1);
    }
  }
});

test('the ends of time leave as they came', () => {
  // none of them is a number of JavaScript: each is between two
  const ends = [-9223372036854775n, 9223371950454775n, 9223372036854775n];
  const same = class extends DoFn {
    static input = t.integer;
    static outputs = { main: t.integer };
    process(n, ctx) {
      ctx.emit('main', n, { time: ctx.time, windows: [new IntervalWindow(-9223372036854775, ctx.time)] });
    }
  };
  for (const end of ends.slice(1)) {
    const { frames } = new Kit(same).run([1], { time: Number(end) }).calls[0];
    const long = (payload, at = 0) => new DataView(payload.buffer, payload.byteOffset).getBigInt64(at, true);
    assert.equal(long(find(frames.at(-1), section.TIME)), end);
    const [window] = decodeSet(dictionary(find(frames.at(-1), section.WINDOW_SETS), 'WINDOW_SETS').get(0));
    assert.deepEqual(window, new IntervalWindow(Number(ends[0]), Number(end)));
    const coded = t.window.toBytes(window);
    assert.equal(BigInt.asIntN(64, new DataView(coded.buffer).getBigUint64(0) ^ (1n << 63n)), end);
    assert.equal(new Cursor(coded).within(8, coded.length).varint64(), end - ends[0]);
  }
  const column = new Column();
  [...ends.map(Number), -1, 2 ** 53 - 1].forEach((time) => column.push64(time));
  assert.deepEqual([...new BigInt64Array(column.bytes.buffer)], [...ends, -1n, 2n ** 53n - 1n]);
});

test('elements of all types leave as they are', () => {
  const row = t.row({ text: t.string, n: t.integer, big: t.int64, yes: t.bool, maybe: t.nullable(t.string), half: t.double });
  const values = {
    texts: [t.string, ['', 'a', 'é', 'x'.repeat(5000), '\u0000']],
    numbers: [t.integer, [0, 127, 128, 4095, 4096, -1, 2 ** 53 - 1]],
    rows: [row, [{ text: 'é', n: 1, big: 1n, yes: true, maybe: null, half: 0.5 }, { text: 'a', n: 300, big: -1n, yes: false, maybe: 'b', half: -1 }]],
    small: [t.row({ text: t.string, n: t.integer }), [{ text: 'a', n: 5 }, { text: 'é', n: 5 }, { text: 'a'.repeat(200), n: 5 }, { text: 'a', n: 500 }]],
    pairs: [t.kv(t.string, t.integer), [['a', 1], ['é', 1000], ['', 0]]],
    nested: [t.list(t.kv(t.string, t.nullable(t.bool))), [[], [['a', true], ['b', null]]]],
    bytes: [t.bytes, [Uint8Array.of(), Uint8Array.of(0, 255)]],
  };
  for (const [name, [coder, elements]] of Object.entries(values)) {
    const same = dofn({ input: t.integer, outputs: { main: coder } }, function* () {
      yield* elements;
    });
    assert.deepEqual(new Kit(same).run([0, 1]).elements(), [...elements, ...elements], name);
    const back = dofn({ input: coder, outputs: { main: coder } }, (element) => [element]);
    assert.deepEqual(new Kit(back).run(elements).elements(), elements, name);
  }
  const outputs = Object.fromEntries(Object.entries(values).map(([name, [coder]]) => [name, coder]));
  const mixed = dofn({ input: t.integer, outputs }, function* () {
    for (const [name, [, elements]] of Object.entries(values)) for (const element of elements) yield to(name, element);
  });
  const outcome = new Kit(mixed).run([0]);
  for (const [name, [, elements]] of Object.entries(values)) assert.deepEqual(outcome.elements(name), elements, name);
});

test('an error of an element is told with its class and stack', () => {
  const broken = dofn({ input: t.integer, outputs: { main: t.integer } }, function* broken(n) {
    yield n === 1 ? undefined.length : n;
  });
  const outcome = new Kit(broken).run([0, 1, 2]);
  assert.deepEqual(outcome.elements(), [0, 2]);
  const [{ place, code, message }] = outcome.failures;
  assert.deepEqual([place, code], [1, 'TYPE_ERROR']);
  assert.match(message, /dofn\.test\.js/);
});

test('what cannot be put out fails its element and says what was wanted', () => {
  const wrong = dofn({ input: t.integer, outputs: { main: t.row({ a: t.string }) } }, (n) => {
    return [[{ a: 'x' }], [{ a: 1 }], 'text', [to('nowhere', 1)], [to('main', { a: 'x' }, { time: 1.5 })], Promise.resolve([])][n];
  });
  const outcome = new Kit(wrong).run([0, 1, 2, 3, 4, 5, 0]);
  assert.deepEqual(outcome.elements(), [{ a: 'x' }, { a: 'x' }]);
  const said = outcome.failures.map(({ code, message }) => `${code}: ${message.split('\n')[0]}`);
  assert.deepEqual(said, [
    'ENCODE: field a: a string is wanted, and not the number 1',
    'TYPE_ERROR: a method yields outputs or returns an array of them',
    'TYPE_ERROR: there is no output nowhere',
    'ENCODE: a whole number of milliseconds is wanted, and not the number 1.5',
    'TYPE_ERROR: a method yields outputs or returns an array of them: async does not cross the boundary',
  ]);
});

test('classes that cannot be functions are refused', () => {
  class Untyped extends DoFn {
    process() {}
  }
  class Unkeyed extends DoFn {
    static input = t.integer;
    static state = { n: state.value(t.integer) };
    process() {}
  }
  assert.throws(() => component({ untyped: Untyped }), /input is no type/);
  assert.throws(() => component({ unkeyed: Unkeyed }), /has to be a t.kv/);
  assert.throws(() => component({ number: Number }), /no class of DoFn/);
});

test('an instance is set up with its configuration and torn down', () => {
  const done = [];
  class Life extends DoFn {
    static input = t.integer;
    static outputs = { main: t.integer };
    constructor({ n = 1 }) {
      super();
      if (n < 0) throw new RangeError('n is negative');
      done.push(n);
    }
    setup() {
      done.push('setup');
    }
    process() {}
    teardown() {
      done.push('teardown');
    }
  }
  new Kit(Life, { n: 5 }).close();
  assert.deepEqual(done, [5, 'setup', 'teardown']);
  assert.throws(() => new Kit(Life, { n: -1 }), { code: 'CONFIG', message: 'it does not open: n is negative' });
});

test('a component has the clock, random numbers and console of the call, and refuses as the contract says', () => {
  const kept = [globalThis.Date, Math.random, globalThis.console];
  const lines = [];
  try {
    const noisy = dofn({ input: t.integer, outputs: { main: t.list(t.double) } }, function* (n) {
      console.warn('element', n, { big: 1n });
      yield [Date.now(), new Date().getTime(), new Date(5).getTime(), Math.random()];
    });
    const guest = connect(component({ noisy }), { log: (...line) => lines.push(line) });
    assert.deepEqual(JSON.parse(guest.describe()).functions.map(({ name }) => name), ['noisy']);
    const plan = new Writer(0).finish();
    assert.equal(guest.open('noisy', plan), 0);
    assert.equal(guest.open('noisy', plan), 1);
    guest.close(0);
    assert.equal(guest.open('noisy', plan), 0, 'names are used again');
    const kit = new Kit(noisy);
    kit.advanceClock(77);
    const [first, second] = [kit.run([1]), kit.run([1])].map((outcome) => outcome.elements()[0]);
    assert.deepEqual(first.slice(0, 3), [77, 77, 5]);
    assert.deepEqual(first, second, 'random numbers come again');
    assert.deepEqual(lines, [[3, 0, 'element 1 {"big":"1n"}'], [3, 0, 'element 1 {"big":"1n"}']]);
    const payload = (call) => {
      try {
        call();
      } catch (error) {
        return error.payload;
      }
      return undefined;
    };
    const refused = { message: 'there is no function "other"', trace: '', again: false };
    assert.deepEqual(payload(() => guest.open('other', plan)), { code: 'NO_FUNCTION', ...refused });
    assert.equal(payload(() => guest.call(9, 0, plan)).code, 'NO_INSTANCE');
    assert.equal(payload(() => guest.call(0, 0, plan.slice(0, 9))).code, 'BAD_FRAME');
    assert.equal(payload(() => guest.call(0, 99, plan)).code, 'NO_OPERATION');
  } finally {
    [globalThis.Date, Math.random, globalThis.console] = kept;
  }
});

test('capabilities that a function needs are described, and what is none is refused when the component is made', () => {
  const shape = { input: t.string, outputs: { main: t.string } };
  const greedy = dofn({ ...shape, capabilities: [clock, env('REGION')] }, (text) => [text]);
  assert.deepEqual(component({ greedy })[0].description.capabilities, ['clock', 'env:REGION']);
  const named = dofn({ ...shape, capabilities: ['clock'] }, (text) => [text]);
  assert.throws(() => component({ named }), /"clock" is no capability/);
});
