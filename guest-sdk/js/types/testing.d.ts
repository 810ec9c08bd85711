// Types of the test kit.

import type { CombineFn, IntervalWindow, Merged, Window } from './index.js';

type Class = abstract new (...config: any[]) => object;

/** What a batch, or the timers that came due, gave. */
export declare class Outcome {
  readonly logs: { level: number; message: string }[];
  /** Event time, windows and element of what an output got; of the main output without a name. */
  rows(output?: string): { time: number; windows: Window[]; element: any }[];
  elements(output?: string): any[];
  readonly failures: { place: number; code: string; message: string }[];
  allGood(): this;
  /** A counter's sum; of a distribution count, sum, minimum, maximum. */
  metric(name: string): number | number[] | undefined;
}

/** An element with an event time of its own. */
export declare class Timed {
  constructor(time: number, element: unknown);
}
export declare function timed(time: number, element: unknown): Timed;

/** One open DoFn, the state and timers of its keys, its side inputs and tables. All of it lives from one `run` to the next. */
export declare class Kit {
  constructor(fn: Class, config?: unknown);
  side(name: string, elements: Iterable<unknown>): void;
  table(name: string, entries: Iterable<[unknown, unknown]>): void;
  /** Grouped values of more than so many bytes come by page, as they do from the runner; 256 KiB without it. */
  pageBytes(bytes: number): void;
  run(elements: Iterable<unknown>, options?: { time?: number; window?: Window }): Outcome;
  advanceWatermark(to: number): Outcome;
  advanceClock(to: number): Outcome;
  readonly timers: { name: string; tag: string; time: number }[];
  readonly stateCalls: number;
  close(): void;
}

/** An open CombineFn. */
export declare class CombineKit<O = any> {
  constructor(fn: new (config?: any) => CombineFn<any, any, O>, config?: unknown);
  /** Combines values in every way a pipeline may; all ways have to agree. */
  combine(elements: Iterable<unknown>): O;
}

/** An open WindowFn. */
export declare class WindowKit {
  constructor(fn: Class, config?: unknown);
  assign(time: number, element?: unknown): IntervalWindow[];
  merge(windows: IntervalWindow[]): Merged[];
}

/** An open key selector. */
export declare class KeyKit {
  constructor(fn: Class, config?: unknown);
  keys(elements: Iterable<unknown>): any[];
}
