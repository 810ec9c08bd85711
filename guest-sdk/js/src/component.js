// The functions of a component: their names, their description, and how one of them is opened, called and closed. A host reaches them
// through the exports that `build.js` makes of `connect`; the test kits call them directly.

import { textOf } from './bytes.js';
import { capabilitiesOf } from './capability.js';
import { CombineFn, CombineRunner, describeCombine } from './combine.js';
import { DoFn } from './dofn.js';
import { BadFrame, Failure, failureOf, stackOf } from './failure.js';
import { Input } from './frame.js';
import { chance, take, today } from './granted.js';
import { moment } from './moment.js';
import { Runner, Shape } from './runner.js';
import { KeyRunner, KeySelector, describeKeys } from './select.js';
import { WindowFn, WindowRunner, describeWindows } from './windowfn.js';

const VERSION = '1.0.0';

/** A function under the name that pipelines use. */
export class NamedFunction {
  constructor(name, Fn) {
    this.name = name;
    this.Fn = Fn;
    const is = (Base) => typeof Fn === 'function' && Fn.prototype instanceof Base;
    if (is(DoFn)) {
      this.shape = new Shape(Fn);
      this.run = (fn, host) => new Runner(this.shape, fn, host);
    } else if (is(CombineFn)) {
      this.run = (fn) => new CombineRunner(Fn, fn);
    } else if (is(WindowFn)) {
      this.run = (fn) => new WindowRunner(Fn, fn);
    } else if (is(KeySelector)) {
      this.run = (fn) => new KeyRunner(Fn, fn);
    } else {
      throw new TypeError(`${name} is no class of DoFn, CombineFn, WindowFn or KeySelector`);
    }
    const described = this.shape?.describe() ?? (is(CombineFn) ? describeCombine : is(WindowFn) ? describeWindows : describeKeys)(Fn);
    const capabilities = capabilitiesOf(name, Fn);
    this.description = { name, ...described, ...(capabilities.length ? { capabilities } : {}) };
  }

  /** Makes an instance. `plan` is the frame of an open call. */
  open(plan, host) {
    const opened = new Input(plan);
    moment.numbers.seed(opened.seed);
    let config = {};
    try {
      const text = textOf(opened.config);
      if (text.trim()) config = JSON.parse(text);
    } catch (error) {
      throw new Failure('CONFIG', `the configuration is no JSON: ${error.message}`);
    }
    let fn;
    try {
      fn = new this.Fn(config);
    } catch (error) {
      throw error instanceof Failure ? error : new Failure('CONFIG', `${this.name} does not open: ${error.message}`);
    }
    return this.run(fn, host);
  }
}

/** The description of a component with these functions: one JSON document. */
export function describe(functions) {
  return JSON.stringify({ sdk: `js ${VERSION}`, functions: functions.map(({ description }) => description) });
}

/** The functions of a component and their open instances. */
class Opened {
  constructor(functions, host) {
    this.functions = functions;
    this.host = host;
    this.instances = [];
  }

  open(name, plan) {
    const found = this.functions.find((one) => one.name === name);
    if (!found) throw new Failure('NO_FUNCTION', `there is no function ${JSON.stringify(name)}`);
    take(found.description.capabilities ?? [], this.host.machine);
    const instance = found.open(plan, this.host);
    const free = this.instances.indexOf(undefined);
    const place = free < 0 ? this.instances.length : free;
    this.instances[place] = instance;
    return place;
  }

  call(place, op, frame) {
    const instance = this.instances[place];
    if (!instance) throw new Failure('NO_INSTANCE', `instance ${place} is not open`);
    return instance.call(op, frame);
  }

  close(place) {
    this.instances[place]?.close();
    if (place in this.instances) this.instances[place] = undefined;
  }
}

/** A call that could not be done, as the contract's record. */
function refusal(error) {
  if (error instanceof Failure) return { code: error.code, message: error.message, trace: '', again: false };
  const code = error instanceof BadFrame ? 'BAD_FRAME' : failureOf(error).code;
  const message = error instanceof BadFrame ? `the frame of the host is broken: ${error.message}` : String(error?.message ?? error);
  return { code, message, trace: stackOf(error), again: false };
}

/** The functions that a module exports under `functions`: `export const functions = component({ split: Split })`. */
export function component(functions) {
  return Object.entries(functions).map(([name, Fn]) => new NamedFunction(name, Fn));
}

/**
 * Makes the clock and the random numbers of the language those of the call, or those that the function is granted, and its console the job's log.
 */
function settle(host) {
  const Real = Date;
  globalThis.Date = class Date extends Real {
    constructor(...args) {
      super(...(args.length ? args : [today()]));
    }

    static now() {
      return today();
    }
  };
  Math.random = chance;
  const line = (level) => (...parts) => host.log(level, moment.row, parts.map(shown).join(' '));
  globalThis.console = { trace: line(0), debug: line(1), log: line(2), info: line(2), warn: line(3), error: line(4) };
}

function shown(part) {
  if (typeof part === 'string') return part;
  if (part instanceof Error) return `${part.name}: ${part.message}\n${stackOf(part)}`;
  try {
    return JSON.stringify(part, (_, value) => (typeof value === 'bigint' ? `${value}n` : value)) ?? String(part);
  } catch {
    return String(part);
  }
}

/** The exports of the contract over the functions of a module. `host` has its imports. */
export function connect(functions, host) {
  settle(host);
  const opened = new Opened(functions, host);
  const guarded = (call) => {
    try {
      return call();
    } catch (error) {
      // what is thrown as `payload` is the error of the WIT result
      throw Object.assign(new Error('refused'), { payload: refusal(error) });
    }
  };
  return {
    describe: () => describe(functions),
    open: (name, plan) => guarded(() => opened.open(name, plan)),
    call: (instance, op, input) => guarded(() => opened.call(instance, op, input)),
    close: (instance) => opened.close(instance),
  };
}
