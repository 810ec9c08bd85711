// Side inputs and tables.

import { DoFn, side, t, table } from 'thalweg-udf';

/** Looks everything up. */
export class Lookups extends DoFn {
  static input = t.kv(t.string, t.string);
  static outputs = { found: t.string };
  static sideInputs = { numbers: side.list(t.int64), names: side.multimap(t.string, t.string) };
  static tables = { own: table(t.string, t.string, { byKey: true }), other: table(t.string, t.int64) };

  *process([key, wanted], ctx) {
    let sum = 0n;
    for (const number of ctx.side.numbers) sum += number;
    const names = ctx.side.names.get(key).join('+');
    const { own, other } = ctx.tables;
    other.prefetch(wanted, 'never');
    const found = other.get(wanted);
    const text = `sum ${sum}, names ${names} of ${ctx.side.names.keys().length}, own ${own.joined() ?? 'none'}`;
    yield `${key}: ${text}, other ${found === undefined ? 'None' : `Some(${found})`}`;
  }
}
