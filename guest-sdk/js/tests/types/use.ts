// A function in TypeScript: its elements, outputs and state have the types that its schemas say. What must not compile is marked.

import { CombineFn, DoFn, IntervalWindow, WindowFn, at, component, dofn, keySelector, side, state, t, table, to } from 'thalweg-udf';
import type { ContextOf, Fired, TypeOf } from 'thalweg-udf';
import { CombineKit, Kit, timed } from 'thalweg-udf/testing';

const Visit = t.row({ user: t.string, cents: t.nullable(t.int64), seconds: t.double });
type Visit = TypeOf<typeof Visit>;

const visit: Visit = { user: 'ann', cents: null, seconds: 1.5 };
// @ts-expect-error cents are a bigint
const wrong: Visit = { user: 'ann', cents: 5, seconds: 1.5 };
void wrong;

class Total extends CombineFn<bigint, bigint, number> {
  static input = t.int64;
  static accumulator = t.int64;
  static output = t.double;
  createAccumulator() {
    return 0n;
  }
  addInput(sum: bigint, value: bigint) {
    return sum + value;
  }
  mergeAccumulators(sums: bigint[]) {
    return sums.reduce((a, b) => a + b);
  }
  extractOutput(sum: bigint) {
    return Number(sum) / 100;
  }
}

class Visits extends DoFn {
  static input = t.kv(t.string, Visit);
  static outputs = { main: t.kv(t.string, t.double), odd: t.string };
  static state = { total: state.combining(Total, { eager: true }), seen: state.map(t.string, t.integer), notes: state.bag(t.string) };
  static timers = { gap: 'event' as const };
  static sideInputs = { rates: side.multimap(t.string, t.double) };
  static tables = { names: table(t.string, t.string, { byKey: true }) };

  *process([user, { cents }]: TypeOf<typeof Visits.input>, ctx: ContextOf<typeof Visits>) {
    if (cents === null) {
      yield to('odd', user, { time: ctx.time });
      return;
    }
    ctx.state.total.add(cents);
    // @ts-expect-error the state is one of bigints
    ctx.state.total.add(5);
    ctx.state.seen.set(user, (ctx.state.seen.get(user) ?? 0) + 1);
    for (const note of ctx.state.notes) yield to('odd', note);
    ctx.timers.gap.set(ctx.time + 1000, { tag: user });
    // @ts-expect-error there is no such timer
    ctx.timers.silence;
    const rate: number = ctx.side.rates.get(user)[0] ?? 1;
    const name: string | undefined = ctx.tables.names.joined();
    ctx.emit('main', [name ?? user, ctx.state.total.read() * rate]);
    // @ts-expect-error the main output is one of pairs
    ctx.emit('main', user);
  }

  *onTimer({ tag }: Fired, ctx: ContextOf<typeof Visits>) {
    const key: string = ctx.key;
    yield [key + tag, 0];
  }
}

class Hours extends WindowFn {
  assign(time: number) {
    return [new IntervalWindow(time, time + 3_600_000)];
  }
}

const length = dofn({ input: t.string, outputs: { main: t.integer } }, function* (line, ctx) {
  yield at(ctx.time, line.length);
});

export const functions = component({
  visits: Visits,
  total: Total,
  hours: Hours,
  length,
  user: keySelector({ input: Visit, key: t.string }, ({ user }) => user),
});

const kit = new Kit(Visits, { limit: 3 });
kit.table('names', [['ann', 'Ann']]);
const sum: number = new CombineKit(Total).combine([1n, 2n]);
void [kit.run([timed(5, ['ann', visit])]).elements('odd'), sum];
