// What a user writes for elements: a class with `process`, or a function.

/**
 * A function from one element to any number of outputs.
 *
 * One object of the class lives as long as its instance and sees many batches, on one thread. What it keeps in its own fields is a
 * cache: only state survives and is correct after a retry.
 */
export class DoFn {
  /** Type of the elements. */
  static input = undefined;
  /** Type of each output by name, the main one first. */
  static outputs = {};
  /** Slots of state by name; with some the input is a pair. */
  static state = {};
  /** Clock of each timer family by name: `event` or `processing`. */
  static timers = {};
  /** Side inputs by name. */
  static sideInputs = {};
  /** Tables by name. */
  static tables = {};
  /** What of the machine it wants to see: `clock`, `random`, `env(NAME)`. */
  static capabilities = [];

  /** @param {object} config what the pipeline has under `config`; `{}` if there is nothing */
  constructor(config) {
    void config;
  }
}

/** An element for an output, with a time and windows of its own if they are given. */
export class To {
  constructor(output, element, more) {
    this.output = output;
    this.element = element;
    this.time = more?.time;
    this.windows = more?.windows;
  }
}

/** What `process` yields for an output by name. */
export function to(output, element, more) {
  return new To(output, element, more);
}

/** What `process` yields for the main output with an event time of its own. */
export function at(time, element) {
  return new To(undefined, element, { time });
}

/** Makes a DoFn of a function of element and context, which yields or returns its outputs: `dofn({ input, outputs }, fn)`. */
export function dofn(shape, process) {
  class Made extends DoFn {}
  Object.assign(Made, shape);
  Made.prototype.process = process;
  return Made;
}
