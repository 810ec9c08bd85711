// Encodings are those of Beam: the bytes were taken from apache_beam 2.77.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Cursor, asciiOf } from '../src/bytes.js';
import { Failure, Malformed } from '../src/failure.js';
import { IntervalWindow, t } from '../src/index.js';
import { PaneInfo, decodeWindow } from '../src/windows.js';

const trip = t.row({ start: t.string, minutes: t.nullable(t.integer), fare: t.double });
const small = t.row({ a: t.int16, b: t.int32, c: t.float, d: t.nullable(t.bytes), e: t.bool });
const ONE = [0x3f, 0xf0, 0, 0, 0, 0, 0, 0];

const VALUES = [
  ['bytes', t.bytes, Uint8Array.of(255, 0), [255, 0]],
  ['string', t.string, 'é', [0xc3, 0xa9]],
  ['integer', t.integer, 300, [0xac, 0x02]],
  ['integer below zero', t.integer, -1, [...Array(9).fill(255), 1]],
  ['largest integer', t.integer, Number.MAX_SAFE_INTEGER, [255, 255, 255, 255, 255, 255, 255, 15]],
  ['smallest integer', t.integer, Number.MIN_SAFE_INTEGER, [129, 128, 128, 128, 128, 128, 128, 240, 255, 1]],
  ['int64', t.int64, -(1n << 63n), [...Array(9).fill(0x80), 1]],
  ['largest int64', t.int64, (1n << 63n) - 1n, [...Array(8).fill(255), 127]],
  ['double', t.double, 1, ONE],
  ['bool', t.bool, true, [1]],
  ['kv', t.kv(t.string, t.integer), ['a', 5], [1, 97, 5]],
  ['kv of kv', t.kv(t.string, t.kv(t.bytes, t.double)), ['a', [Uint8Array.of(120, 121), 1]], [1, 97, 2, 120, 121, ...ONE]],
  ['list', t.list(t.string), ['ab'], [0, 0, 0, 1, 2, 97, 98]],
  ['list of nullables', t.list(t.nullable(t.integer)), [1, null], [0, 0, 0, 2, 1, 1, 0]],
  ['nullable', t.nullable(t.string), 'ab', [1, 97, 98]],
  ['null', t.nullable(t.string), null, [0]],
  ['row', trip, { start: 'ab', minutes: 5, fare: 1 }, [3, 0, 2, 97, 98, 5, ...ONE]],
  ['row with null', trip, { start: 'ab', minutes: null, fare: 1 }, [3, 1, 2, 2, 97, 98, ...ONE]],
  ['row of small fields', small, { a: -2, b: -1, c: 1.5, d: Uint8Array.of(120), e: true },
    [5, 0, 255, 254, 255, 255, 255, 255, 15, 63, 192, 0, 0, 1, 120, 1]],
  ['window', t.window, new IntervalWindow(0, 3_600_000), [128, 0, 0, 0, 0, 54, 238, 128, 128, 221, 219, 1]],
  ['window before 1970', t.window, new IntervalWindow(-10, -5), [127, 255, 255, 255, 255, 255, 255, 251, 5]],
];

for (const [name, coder, value, encoded] of VALUES) {
  test(`${name} is encoded as Beam does, read back, and not when it is cut`, () => {
    assert.deepEqual([...coder.toBytes(value)], encoded);
    assert.deepEqual(coder.fromBytes(Uint8Array.from(encoded)), value);
    const nested = coder.toNested(value);
    const cursor = new Cursor(Uint8Array.of(...nested, 46));
    assert.deepEqual(coder.read(cursor), value);
    assert.equal(cursor.at, nested.length);
    for (let end = 0; end < nested.length; end++) assert.throws(() => coder.read(new Cursor(nested.slice(0, end))), Malformed);
  });
}

test('a long text has a long length', () => {
  for (const length of [126, 127, 128, 300]) {
    const text = `${'a'.repeat(length - 1)}é`;
    assert.equal(t.string.read(new Cursor(t.string.toNested(text))), text);
  }
});

test('iterables are read in blocks too', () => {
  assert.deepEqual(t.list(t.integer).fromBytes(Uint8Array.of(255, 255, 255, 255, 2, 1, 2, 1, 3, 0)), [1, 2, 3]);
});

test('foreign bytes are malformed', () => {
  const cases = [[t.string, [255]], [t.integer, [1, 1]], [t.integer, Array(11).fill(128)], [t.double, Array(7).fill(0)], [t.bool, [2]],
    [t.list(t.integer), [127, 255, 255, 255, 1]], [t.nullable(t.integer), [2]], [t.integer, [...Array(8).fill(255), 127]]];
  for (const [coder, bytes] of cases) assert.throws(() => coder.fromBytes(Uint8Array.from(bytes)), Malformed, String(bytes));
});

test('values of another type are not encoded', () => {
  const cases = [[t.string, 1], [t.integer, 1.5], [t.integer, 2 ** 53], [t.integer, 1n], [t.int64, 1], [t.int64, 1n << 63n], [t.bool, 1],
    [t.bytes, 'a'], [t.double, '1'], [t.kv(t.string, t.integer), { a: 1 }], [t.list(t.string), 'abc'], [trip, 'a'],
    [trip, { start: 'a', minutes: null }], [small, { a: 1 << 15, b: 0, c: 0, d: null, e: true }]];
  for (const [coder, value] of cases) assert.throws(() => coder.toBytes(value), { code: 'ENCODE' });
  assert.throws(() => trip.toBytes({ start: 5 }), new Failure('ENCODE', 'field start: a string is wanted, and not the number 5'));
});

test('rows of an older schema have nulls for what is missing', () => {
  const older = t.row({ start: t.string });
  const newer = t.row({ start: t.string, minutes: t.nullable(t.integer) });
  assert.deepEqual(newer.fromBytes(older.toBytes({ start: 'a' })), { start: 'a', minutes: null });
  assert.throws(() => trip.fromBytes(older.toBytes({ start: 'a' })), Malformed);
});

test('coders are described as the contract wants them', () => {
  assert.deepEqual(trip.describe(), {
    urn: 'beam:coder:row:v1',
    fields: [{ name: 'start', type: 'string' }, { name: 'minutes', type: 'int64', nullable: true }, { name: 'fare', type: 'double' }],
  });
  assert.deepEqual(small.describe().fields.map(({ type }) => type), ['int16', 'int32', 'float', 'bytes', 'boolean']);
  assert.throws(() => t.row({ a: t.list(t.string) }), TypeError);
});

test('windows and panes are read', () => {
  assert.deepEqual(decodeWindow(t.window.toBytes(new IntervalWindow(5, 9))), new IntervalWindow(5, 9));
  assert.deepEqual([...decodeWindow(new TextEncoder().encode('other')).bytes], [...new TextEncoder().encode('other')]);
  const { timing, isFirst, isLast, index, nonspeculativeIndex } = new PaneInfo(Uint8Array.of(0x2a, 0xac, 0x02, 1));
  assert.deepEqual([timing, isFirst, isLast, index, nonspeculativeIndex], ['LATE', false, true, 300, 1]);
});

test('only ASCII is taken for ASCII', () => {
  assert.equal(asciiOf(new TextEncoder().encode('ab\u0000')), 'ab\u0000');
  for (const bytes of [[0xc3, 0xa9], [0xff], [0xef, 0xbb, 0xbf, 97], [97, 0x80]]) assert.equal(asciiOf(Uint8Array.from(bytes)), undefined);
});
