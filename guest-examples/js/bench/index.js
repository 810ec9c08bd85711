// The functions of the benchmarks in JavaScript, as `guest-examples/bench` has them in Rust.

import { DoFn, Failure, component, state, t, table } from 'thalweg-udf';

/** W1: a line of words in, one element per word out. */
class Split extends DoFn {
  static input = t.string;
  static outputs = { words: t.string };

  process(line, ctx) {
    for (const word of line.split(' ')) if (word) ctx.emit('words', word);
  }
}

const DIGITS = /^[0-9]{1,18}$/;

/** W2: a line `key<TAB>milliseconds<TAB>value` in, the pair of key and value with its event time out. */
class Event extends DoFn {
  static input = t.string;
  static outputs = { events: t.kv(t.string, t.integer) };

  process(line, ctx) {
    const columns = line.split('\t');
    if (columns.length !== 3) throw new Failure('COLUMNS', 'the line does not have 3 columns');
    const [key, time, value] = columns;
    if (!DIGITS.test(time) || !DIGITS.test(value)) throw new Failure('NUMBER', 'time or value is not a whole number');
    ctx.emit('events', [key, Number(value)], { time: Number(time) });
  }
}

/** W4: counts the elements of each key; every element gives its key with the count so far. */
class Count extends DoFn {
  static input = t.kv(t.string, t.integer);
  static outputs = { counts: t.kv(t.string, t.integer) };
  static state = { n: state.value(t.integer, { eager: true }) };

  process([key], ctx) {
    const { n } = ctx.state;
    const count = (n.read() ?? 0) + 1;
    n.write(count);
    ctx.emit('counts', [key, count]);
  }
}

/** W3: a JSON document in; those that are `ok` go out with twice their `amount`, as the pair of text and id. */
class Change extends DoFn {
  static input = t.string;
  static outputs = { documents: t.kv(t.string, t.integer) };

  process(line, ctx) {
    const document = JSON.parse(line);
    if (!document.ok) return;
    document.amount *= 2;
    ctx.emit('documents', [JSON.stringify(document), document.id]);
  }
}

/** W5: a pair of key and value in; if the table has the key, the pair of key and product goes out. */
class Join extends DoFn {
  static input = t.kv(t.string, t.integer);
  static outputs = { joined: t.kv(t.string, t.integer) };
  static tables = { factors: table(t.string, t.integer, { byKey: true }) };

  process([key, value], ctx) {
    const factor = ctx.tables.factors.joined();
    if (factor !== undefined) ctx.emit('joined', [key, value * factor]);
  }
}

export const functions = component({ split: Split, event: Event, change: Change, count: Count, join: Join });
