// All kinds of state, by commands: `map.put a 1`, `multi.get k`, `fail set.add x`. What is asked for comes out as a text.

import { CombineFn, DoFn, Failure, state, t } from 'thalweg-udf';

/** A sum. */
class Sum extends CombineFn {
  static input = t.int64;
  static accumulator = t.int64;
  static output = t.int64;

  createAccumulator() {
    return 0n;
  }

  addInput(sum, value) {
    return sum + value;
  }

  mergeAccumulators(sums) {
    return sums.reduce((a, b) => a + b, 0n);
  }

  extractOutput(sum) {
    return sum;
  }
}

function number(text) {
  if (!/^[+-]?[0-9]+$/.test(text)) throw new Failure('NUMBER', `${JSON.stringify(text)} is no number`);
  return BigInt(text);
}

const time = (text) => Number(number(text));

/** As the other languages write it. */
function some(value) {
  if (value === undefined) return 'None';
  return `Some(${typeof value === 'string' ? JSON.stringify(value) : value})`;
}

/** Walks over a bag, and adds to it on the way. */
function sizes(bag, added) {
  let [count, bytes] = [0, 0];
  for (const text of bag) {
    count += 1;
    bytes += text.length;
    if (count === 1) bag.add(added);
  }
  return `${count} of ${bytes} bytes`;
}

const VERBS = {
  'value.set': ({ value }, a) => value.write(a),
  'value.clear': ({ value }) => value.clear(),
  'value.get': ({ value }) => some(value.read()),
  'sum.add': ({ sum }, a) => sum.add(number(a)),
  'sum.clear': ({ sum }) => sum.clear(),
  'sum.get': ({ sum }) => String(sum.read()),
  'bag.add': ({ bag }, a) => bag.add(a),
  'bag.clear': ({ bag }) => bag.clear(),
  'bag.all': ({ bag }) => bag.read().join(','),
  'bag.walk': ({ bag }) => [...bag].join(','),
  'bag.sizes': ({ bag }, a) => sizes(bag, a),
  'map.put': ({ map }, a, b) => map.set(a, number(b)),
  'map.remove': ({ map }, a) => map.delete(a),
  'map.clear': ({ map }) => map.clear(),
  'map.fetch': ({ map }, a, b) => map.prefetch(a, b),
  'map.has': ({ map }, a) => String(map.has(a)),
  'map.get': ({ map }, a) => some(map.get(a)),
  'map.all': ({ map }) => `[${map.entries().map(([key, value]) => `(${JSON.stringify(key)}, ${value})`).join(', ')}]`,
  'set.add': ({ set }, a) => set.add(a),
  'set.remove': ({ set }, a) => set.delete(a),
  'set.clear': ({ set }) => set.clear(),
  'set.has': ({ set }, a) => String(set.has(a)),
  'set.all': ({ set }) => set.read().join(','),
  'multi.add': ({ multi }, a, b) => multi.add(a, b),
  'multi.remove': ({ multi }, a) => multi.delete(a),
  'multi.clear': ({ multi }) => multi.clear(),
  'multi.get': ({ multi }, a) => multi.get(a).join(','),
  'multi.all': ({ multi }) => multi.entries().map(([key, values]) => `${key}:${values.join('+')}`).join(','),
  'list.add': ({ list }, a, b) => list.add(time(a), b),
  'list.drop': ({ list }, a, b) => list.deleteRange(time(a), time(b)),
  'list.clear': ({ list }) => list.clear(),
  'list.range': ({ list }, a, b) => list.read(time(a), time(b)).map((pair) => pair.join(':')).join(','),
  'list.all': ({ list }) => list.read().map((pair) => pair.join(':')).join(','),
};

/** Runs commands on its state. */
export class Ledger extends DoFn {
  static input = t.kv(t.string, t.string);
  static outputs = { answers: t.kv(t.string, t.string) };
  static state = {
    value: state.value(t.string),
    sum: state.combining(Sum, { eager: true }),
    bag: state.bag(t.string),
    map: state.map(t.string, t.int64),
    set: state.set(t.string),
    multi: state.multimap(t.string, t.string),
    list: state.orderedList(t.string),
  };

  *process([key, commands], ctx) {
    for (const command of commands.split('; ')) {
      const fails = command.startsWith('fail ');
      const [verb, a = '', b = ''] = (fails ? command.slice(5) : command).split(' ');
      if (!(verb in VERBS)) throw new Failure('COMMAND', `${JSON.stringify(verb)} is no command`);
      const answer = VERBS[verb](ctx.state, a, b);
      if (typeof answer === 'string') yield [key, answer];
      if (fails) throw new Failure('FAIL', 'as it was told');
    }
  }
}
