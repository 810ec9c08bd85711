// Enrichment by a table: the name of an airline is looked up by the element's key before the call. In: pairs of airline and delay.

import { DoFn, t, table, to } from 'thalweg-udf';

/** Adds the names. */
export class Enrich extends DoFn {
  static input = t.kv(t.string, t.integer);
  static outputs = {
    named: t.row({ carrier: t.string, name: t.string, delay: t.integer }),
    unknown: t.kv(t.string, t.integer),
  };
  static tables = { airlines: table(t.string, t.string, { byKey: true }) };

  *process([carrier, delay], ctx) {
    const name = ctx.tables.airlines.joined();
    yield name === undefined ? to('unknown', [carrier, delay]) : { carrier, name, delay };
  }
}
