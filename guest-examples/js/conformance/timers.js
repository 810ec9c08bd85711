// Timers of both clocks, by commands: `event 100`, `event 100 tag`, `event 100 tag 50` (the time of what it puts out), `processing 5`,
// `clear tag`; the end of windows; and a function that gathers elements until its bundle ends.

import { DoFn, Failure, GlobalWindow, state, t, to } from 'thalweg-udf';

function number(text) {
  if (!/^[+-]?[0-9]+$/.test(text ?? '')) throw new Failure('NUMBER', `${JSON.stringify(text)} is no number`);
  return Number(text);
}

/** Sets timers. */
export class Timers extends DoFn {
  static input = t.kv(t.string, t.string);
  static outputs = { fired: t.kv(t.string, t.string) };
  static state = { seen: state.value(t.integer, { eager: true }) };
  static timers = { event: 'event', clock: 'processing' };

  process([, command], ctx) {
    const { seen } = ctx.state;
    const { event, clock } = ctx.timers;
    seen.write((seen.read() ?? 0) + 1);
    const [verb, ...words] = command.split(' ');
    if (verb === 'event') {
      const more = words.length > 2 ? { hold: number(words[2]) } : {};
      event.set(number(words[0]), { tag: words[1] ?? '', ...more });
    } else if (verb === 'processing') {
      clock.set(number(words[0]));
    } else if (verb === 'clear') {
      event.clear({ tag: words[0] ?? '' });
    } else if (verb === 'fail') {
      event.set(1);
      throw new Failure('FAIL', 'as it was told');
    } else {
      throw new Failure('COMMAND', `${JSON.stringify(command)} is no command`);
    }
  }

  *onTimer({ name, tag, time }, ctx) {
    if (tag === 'again' && time < 1000) ctx.timers.event.set(time + 500, { tag });
    yield [ctx.key, `${name} ${JSON.stringify(tag)} at ${time} time ${ctx.time} seen ${ctx.state.seen.read() ?? 0}`];
  }

  *onWindowExpiration(ctx) {
    yield [ctx.key, `over seen ${ctx.state.seen.read() ?? 0}`];
  }
}

/** Sums up the numbers of a bundle. */
export class Buffer extends DoFn {
  static input = t.integer;
  static outputs = { sums: t.integer };
  #sum;

  startBundle() {
    this.#sum = 0;
  }

  process(number) {
    if (this.#sum === undefined) throw new Failure('NO_BUNDLE', 'an element outside of a bundle');
    this.#sum += number;
  }

  *finishBundle() {
    yield to('sums', this.#sum, { time: 5, windows: [new GlobalWindow()] });
    this.#sum = undefined;
  }

  teardown() {
    console.log('the buffer is closed');
  }
}
