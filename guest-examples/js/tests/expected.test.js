// The examples give what `guest-examples/expected` says, by the test kit.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { IntervalWindow } from 'thalweg-udf';
import { CombineKit, Kit, WindowKit, timed } from 'thalweg-udf/testing';
import { functions } from '../examples/index.js';

const classOf = (name) => functions.find((one) => one.name === name).Fn;
const script = (name) => JSON.parse(readFileSync(new URL(`../../expected/${name}.json`, import.meta.url), 'utf8'));

/** An element of a file, as its type wants it. */
function read(coder, value) {
  if (coder.fields) return Object.fromEntries(coder.fields.map(({ name, coder: field }) => [name, read(field, value[name])]));
  if (coder.keyed) return [read(coder.key, value[0]), read(coder.value, value[1])];
  if (coder.element) return value.map((element) => read(coder.element, element));
  const exact = coder.describe().urn === 'beam:coder:varint:v1' && typeof coder.fromBytes(Uint8Array.of(0)) === 'bigint';
  return exact ? BigInt(value) : value;
}

/** An element as a file has it, in a text that does not depend on the order of fields. */
function text(value) {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(text).join()}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.keys(value).sort().map((key) => `${key}:${text(value[key])}`).join()}}`;
  }
  return JSON.stringify(value);
}

function given(outcome) {
  const of = ([output]) => outcome.rows(output).map(({ time, element }) => ({ output, time, value: element }));
  return outcome.outputs.flatMap(of);
}

function play(name, size) {
  const { config, tables = {}, steps } = script(name);
  const kit = new Kit(classOf(name), config);
  for (const [table, entries] of Object.entries(tables)) kit.table(table, Object.entries(entries));
  for (const { watermark, elements = [], gives, fails = [] } of steps) {
    const [found, failed] = [[], []];
    if (watermark !== undefined) found.push(...given(kit.advanceWatermark(watermark)));
    for (let first = 0; first < elements.length; first += size) {
      const part = elements.slice(first, first + size);
      const outcome = kit.run(part.map(({ time, value }) => timed(time, read(kit.shape.input, value))));
      found.push(...given(outcome));
      failed.push(...outcome.failures.map(({ place, code }) => [first + place, code]));
    }
    assert.deepEqual(found.map(text).sort(), gives.map(text).sort());
    assert.deepEqual(failed, fails);
  }
}

for (const name of ['parse', 'sessionize', 'words', 'alerts', 'enrich']) {
  for (const size of [1, 2, 1000]) test(`${name} gives what is expected in batches of ${size}`, () => play(name, size));
}

for (const name of ['top_k', 'sum']) {
  test(`${name} gives what is expected in whatever parts`, () => {
    const { config, steps } = script(name);
    const Fn = classOf(name);
    const kit = new CombineKit(Fn, config);
    for (const { combine, gives, fails } of steps) {
      const values = combine.map((value) => read(Fn.input, value));
      if (fails) assert.throws(() => kit.combine(values), { code: fails[0][1] });
      else assert.equal(text(kit.combine(values)), text(gives));
    }
  });
}

test('day_sessions gives what is expected', () => {
  const { config, steps } = script('day_sessions');
  const kit = new WindowKit(classOf('day_sessions'), config);
  const pair = ({ start, end }) => [start, end];
  for (const { assign, merge, gives } of steps) {
    const windows = merge?.map(([start, end]) => new IntervalWindow(start, end));
    const found = windows ? kit.merge(windows).map(({ into }) => pair(into)) : kit.assign(assign).map(pair);
    assert.deepEqual(found.map(text).sort(), gives.map(text).sort());
  }
});

test('a bad configuration is refused', () => {
  const open = (name, config) => () => new (name === 'top_k' ? CombineKit : Kit)(classOf(name), config);
  for (const [name, config] of [['sessionize', { gap_ms: 0 }], ['top_k', { k: -1 }], ['alerts', { silence_ms: 'x' }]]) {
    assert.throws(open(name, config), { code: 'CONFIG' });
  }
});

test('counters count', () => {
  const [{ elements, gives }] = script('words').steps;
  assert.equal(new Kit(classOf('words')).run(elements.map(({ value }) => value)).metric('words'), gives.length);
});
