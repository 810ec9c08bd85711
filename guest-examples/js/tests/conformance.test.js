// The conformance component gives by the test kit what the Rust one gives: the script of its tests is read out of its source.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { GlobalWindow, IntervalWindow, dofn, t } from 'thalweg-udf';
import { CombineKit, KeyKit, Kit, WindowKit } from 'thalweg-udf/testing';
import { functions } from '../conformance/index.js';

const classOf = (name) => functions.find((one) => one.name === name).Fn;

/** Batches of elements, and the answers that have to come of them. */
function script(name) {
  const source = readFileSync(new URL('../../conformance/src/ledger.rs', import.meta.url), 'utf8');
  const text = source.slice(source.indexOf(`pub const ${name}`));
  const list = text.slice(text.indexOf('= &[') + 2, text.indexOf('\n];') + 2);
  // outside of the texts parentheses are lists too
  const parts = list.split(/("(?:[^"\\]|\\.)*")/).map((part, i) => (i % 2 ? part : part.replace(/[(]/g, '[').replace(/[)]/g, ']')));
  return JSON.parse(parts.join('').replace(/&\[/g, '[').replace(/,(\s*\])/g, '$1'));
}

for (const [name, together] of [['SCRIPT', true], ['SCRIPT', false], ['WALKS', true], ['WALKS', false]]) {
  test(`every kind of state is kept by key and a failed element leaves none, ${name} together: ${together}`, () => {
    const kit = new Kit(classOf('ledger'));
    const batches = script(name);
    assert.equal(batches.length, 4);
    for (const [elements, expected] of batches) {
      const size = together ? elements.length : 1;
      const [answers, failed] = [[], []];
      for (let first = 0; first < elements.length; first += size) {
        const outcome = kit.run(elements.slice(first, first + size));
        answers.push(...outcome.elements().map(([, answer]) => answer));
        failed.push(...outcome.failures);
      }
      assert.deepEqual(answers, expected);
      assert.equal(failed.length, elements.filter(([, commands]) => commands.includes('fail ')).length);
    }
  });
}

test('several keys of a map are fetched by one call', () => {
  const kit = new Kit(classOf('ledger'));
  kit.run([['a', 'map.put m 1; map.put n 2']]);
  const before = kit.stateCalls;
  const outcome = kit.run([['a', 'map.fetch m n; map.get m; map.get n']]);
  assert.deepEqual(outcome.elements(), [['a', 'Some(1)'], ['a', 'Some(2)']]);
  assert.equal(kit.stateCalls - before, 1);
});

const texts = (outcome) => outcome.rows().map(({ time, element: [key, text] }) => `${key}@${time}: ${text}`);

test('timers fire in order once and where they were set', () => {
  const kit = new Kit(classOf('timers'));
  const where = { time: 10, window: new IntervalWindow(0, 5000) };
  const commands = ['event 300', 'event 100 x', 'event 200 y 50', 'event 100 gone', 'clear gone', 'fail', 'processing 9'];
  const outcome = kit.run(commands.map((command) => ['k', command]), where);
  assert.equal(outcome.failures.length, 1);
  assert.equal(kit.timers.length, 4);
  const fired = ['k@100: event "x" at 100 time 100 seen 6', 'k@50: event "y" at 200 time 50 seen 6'];
  assert.deepEqual(texts(kit.advanceWatermark(250)), fired);
  assert.deepEqual(texts(kit.advanceClock(8)), []);
  assert.deepEqual(texts(kit.advanceClock(9)), ['k@10: clock "" at 9 time 10 seen 6']);
  kit.run([['k', 'event 400']], where); // moves the one at 300
  assert.deepEqual(texts(kit.advanceWatermark(4999)), ['k@400: event "" at 400 time 400 seen 7']);
  assert.deepEqual(texts(kit.advanceWatermark(5000)), ['k@4999: over seen 7']);
  assert.deepEqual(texts(kit.advanceWatermark(Infinity)), []);
});

test('a timer may set itself again', () => {
  const kit = new Kit(classOf('timers'));
  kit.run([['k', 'event 100 again']]);
  assert.deepEqual(kit.advanceWatermark(2000).rows().map(({ time }) => time), [100, 600, 1100]);
});

test('what a bundle gathers leaves when it ends', () => {
  const kit = new Kit(classOf('buffer'));
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(kit.run([1, 2, 3]).rows(), [{ time: 5, windows: [new GlobalWindow()], element: 6 }]);
  }
});

test('side inputs and tables are read', () => {
  const kit = new Kit(classOf('lookups'));
  kit.side('numbers', [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n, 10n]);
  kit.side('names', [['a', 'Ann'], ['b', 'Bea'], ['a', 'Ada']]);
  kit.table('own', [['a', 'A']]);
  kit.table('other', [['z', 26n]]);
  assert.deepEqual(kit.run([['a', 'z'], ['c', 'y']]).elements(), [
    'a: sum 55, names Ann+Ada of 2, own A, other Some(26)',
    'c: sum 55, names  of 2, own none, other None',
  ]);
});

test('grouped values are summed up', () => {
  assert.deepEqual(new Kit(classOf('total')).run([['a', [1, 2, 3]], ['b', []]]).elements(), [['a', 6], ['b', 0]]);
});

test('the largest are the same in whatever parts they come', () => {
  const kit = new CombineKit(classOf('top'));
  assert.deepEqual(kit.combine([5, 1, 9, 7, 9, 2]), [9, 9, 7]);
  assert.deepEqual(kit.combine([]), []);
  assert.throws(() => kit.combine([1, -1]), { code: 'NEGATIVE' });
  assert.deepEqual(new CombineKit(classOf('top'), { n: 1 }).combine([5, 6]), [6]);
});

test('windows are assigned and merged', () => {
  const kit = new WindowKit(classOf('sessions'));
  assert.deepEqual(kit.assign(3), [new IntervalWindow(3, 13)]);
  const windows = [new IntervalWindow(0, 10), new IntervalWindow(50, 60), new IntervalWindow(9, 19)];
  assert.deepEqual(kit.merge(windows), [
    { into: new IntervalWindow(0, 19), members: [0, 2] },
    { into: new IntervalWindow(50, 60), members: [1] },
  ]);
  const spans = new WindowKit(classOf('spans'));
  assert.deepEqual(spans.assign(1, ['k', 4]), [new IntervalWindow(1, 5), new IntervalWindow(1, 9)]);
  assert.throws(() => spans.assign(1, ['k', 0]), { code: 'LENGTH' });
});

test('elements get their keys', () => {
  const kit = new KeyKit(classOf('first_word'));
  assert.deepEqual(kit.keys(['to be', 'or']), ['to', 'or']);
  assert.throws(() => kit.keys(['x', ' ']), { code: 'EMPTY' });
});

test('grouped values come by page and may be walked over again', () => {
  const kit = new Kit(classOf('walks'));
  kit.pageBytes(8);
  const bytes = (...lengths) => lengths.map((length) => new Uint8Array(length));
  const values = bytes(...Array(7).fill([3, 0, 2]).flat());
  const outcome = kit.run([['a', values], ['b', bytes(6)], ['a', []], ['bad', values]]);
  assert.deepEqual(outcome.elements(), [
    ['a', '21 of 35 bytes, the first of 3, 21 again, 21 seen'],
    ['a', '0 of 0 bytes, the first of 0, 0 again, 21 seen'],
    ['b', '1 of 6 bytes, the first of 6, 1 again, 1 seen'],
  ]);
  assert.equal(outcome.failures.length, 1);
});

test('a list is an array however long it is', () => {
  const Count = dofn({ input: t.list(t.string), outputs: { counts: t.integer } }, (values) => [values.filter((value) => value).length]);
  const kit = new Kit(Count);
  kit.pageBytes(4);
  assert.deepEqual(kit.run([['a', 'bcd', 'e', 'fgh']]).elements(), [4]);
});
