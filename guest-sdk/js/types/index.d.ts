// Types of the SDK. A function's elements, outputs and state have the types that its schemas say.

/** How values of a type travel; made by `t`. */
export interface Coder<T> {
  readonly urn: string;
  readonly field?: string;
  /** The outer encoding. */
  toBytes(value: T): Uint8Array;
  /** Reads an outer encoding. */
  fromBytes(bytes: Uint8Array): T;
}

/** The type of the values of a schema: `TypeOf<typeof Flight>`. */
export type TypeOf<C> = C extends Coder<infer T> ? T : never;

type Fields = Record<string, Coder<any>>;

/** The types of elements, state and fields. */
export declare const t: {
  readonly bytes: Coder<Uint8Array>;
  readonly string: Coder<string>;
  /** 64 bits. */
  readonly int64: Coder<bigint>;
  /** A whole number within the safe integers. */
  readonly integer: Coder<number>;
  readonly double: Coder<number>;
  readonly bool: Coder<boolean>;
  readonly window: Coder<IntervalWindow>;
  /** As a field of a row only. */
  readonly int32: Coder<number>;
  /** As a field of a row only. */
  readonly int16: Coder<number>;
  /** As a field of a row only. */
  readonly float: Coder<number>;
  /** A key and a value. */
  kv<K, V>(key: Coder<K>, value: Coder<V>): Coder<[K, V]>;
  /** Grouped values, accumulators that are lists. */
  list<T>(element: Coder<T>): Coder<T[]>;
  /** Grouped values that are read by page, as they are walked over; for those that may be many. */
  values<T>(element: Coder<T>): Coder<Iterable<T>>;
  nullable<T>(value: Coder<T>): Coder<T | null>;
  /** An object with these fields. */
  row<F extends Fields>(fields: F): Coder<{ [K in keyof F]: TypeOf<F[K]> }>;
};

/** Throw it for a bad element: what the element did is taken back, and the others stand. */
export declare class Failure extends Error {
  /** @param code stable, short, upper case */
  constructor(code: string, message: string);
  code: string;
}

/** From a time to before another, in milliseconds since 1970. */
export declare class IntervalWindow {
  constructor(start: number, end: number);
  start: number;
  end: number;
  readonly maxTimestamp: number;
}

/** All of time. */
export declare class GlobalWindow {
  private readonly all;
}

/** A window of another kind, as the pipeline's coder encodes it. */
export declare class UnknownWindow {
  constructor(bytes: Uint8Array);
  bytes: Uint8Array;
}

export type Window = IntervalWindow | GlobalWindow | UnknownWindow;

/** Which firing of its window an element belongs to. */
export declare class PaneInfo {
  constructor(encoded: Uint8Array);
  encoded: Uint8Array;
  isFirst: boolean;
  isLast: boolean;
  timing: 'EARLY' | 'ON_TIME' | 'LATE' | 'UNKNOWN';
  index: number;
  nonspeculativeIndex: number;
}

/** A slot of state; made by `state`. */
export interface Slot<H> {
  readonly kind: string;
  bind(cell: unknown): H;
}

export interface ValueState<T> {
  read(): T | undefined;
  write(value: T): void;
  clear(): void;
}

export interface CombiningState<I, O> {
  add(value: I): void;
  read(): O;
  clear(): void;
}

/** To iterate over a bag is to read it by page: memory holds one page of it. */
export interface BagState<T> extends Iterable<T> {
  /** The values, all of them in memory. */
  read(): T[];
  add(value: T): void;
  clear(): void;
}

export interface SetState<T> {
  add(element: T): void;
  delete(element: T): void;
  has(element: T): boolean;
  read(): T[];
  clear(): void;
}

export interface MapState<K, V> {
  get(key: K): V | undefined;
  has(key: K): boolean;
  set(key: K, value: V): void;
  delete(key: K): void;
  /** Fetches the values of several keys in one call to the host. */
  prefetch(...keys: K[]): void;
  entries(): [K, V][];
  clear(): void;
}

export interface MultimapState<K, V> {
  get(key: K): V[];
  has(key: K): boolean;
  add(key: K, value: V): void;
  delete(key: K): void;
  entries(): [K, V[]][];
  clear(): void;
}

/** Values by time, in milliseconds since 1970. */
export interface OrderedListState<T> {
  add(time: number, value: T): void;
  /** Those from a time to before another; all without the two. */
  read(from?: number, to?: number): [number, T][];
  deleteRange(from: number, to: number): void;
  clear(): void;
}

/** The kinds of state. Slots with `eager` arrive with the batch: right for small values that nearly every element needs. */
export declare const state: {
  value<T>(coder: Coder<T>, options?: { eager?: boolean }): Slot<ValueState<T>>;
  combining<I, A, O>(fn: CombineFnClass<I, A, O>, options?: { eager?: boolean }): Slot<CombiningState<I, O>>;
  bag<T>(coder: Coder<T>): Slot<BagState<T>>;
  set<T>(coder: Coder<T>): Slot<SetState<T>>;
  map<K, V>(key: Coder<K>, value: Coder<V>): Slot<MapState<K, V>>;
  multimap<K, V>(key: Coder<K>, value: Coder<V>): Slot<MultimapState<K, V>>;
  orderedList<T>(coder: Coder<T>): Slot<OrderedListState<T>>;
};

/** A side input; made by `side`. */
export interface Side<R> {
  readonly access: 'iterable' | 'multimap';
  readonly reader?: R;
}

export interface SideList<T> extends Iterable<T> {
  /** The elements; not to be changed. */
  read(): T[];
}

export interface SideMultimap<K, V> {
  get(key: K): V[];
  keys(): K[];
}

/** Side inputs: read as a list, or by key. */
export declare const side: {
  list<T>(element: Coder<T>): Side<SideList<T>>;
  multimap<K, V>(key: Coder<K>, value: Coder<V>): Side<SideMultimap<K, V>>;
};

/** A table; made by `table`. */
export interface Table<K, V> {
  readonly byKey: boolean;
  readonly key: Coder<K>;
  readonly value: Coder<V>;
}

export interface TableReader<K, V> {
  /** It may wait for the table. */
  get(key: K): V | undefined;
  /** What the table has for the element's key, which arrived with the batch. */
  joined(): V | undefined;
  prefetch(...keys: K[]): void;
}

/** Entries by key, which change while the job runs. With `byKey` they are looked up by the element's key before the call. */
export declare function table<K, V>(key: Coder<K>, value: Coder<V>, options?: { byKey?: boolean }): Table<K, V>;

/** The timers of a family, of the element's key and window: one per tag, and one without. */
export interface Timer {
  /**
   * Sets the timer; one that is set already moves. `time` is in milliseconds of the family's clock, `hold` the time of what it will put
   * out.
   */
  set(time: number, options?: { tag?: string; hold?: number }): void;
  clear(options?: { tag?: string }): void;
}

/** A timer that has come due. */
export interface Fired {
  name: string;
  tag: string;
  /** When it was to fire, in milliseconds of its family's clock. */
  time: number;
}

/** A time and windows of an output that it does not inherit. */
export interface Place {
  time?: number;
  windows?: Window[];
}

type Handles<S> = { readonly [N in keyof S]: S[N] extends Slot<infer H> ? H : never };
type Readers<S> = { readonly [N in keyof S]: S[N] extends Side<infer R> ? R : never };
type Tables<S> = { readonly [N in keyof S]: S[N] extends Table<infer K, infer V> ? TableReader<K, V> : never };

/** What a DoFn class declares. */
export interface DoFnShape {
  input: Coder<any>;
  outputs?: Fields;
  state?: Record<string, Slot<any>>;
  timers?: Record<string, 'event' | 'processing'>;
  sideInputs?: Record<string, Side<any>>;
  tables?: Record<string, Table<any, any>>;
  capabilities?: Capability[];
}

/** What `process` gets beside the element: `ContextOf<typeof MyDoFn>`. */
export interface ContextOf<C extends DoFnShape> {
  /** The element's event time in milliseconds since 1970. */
  readonly time: number;
  readonly window: Window;
  readonly windows: Window[];
  readonly pane: PaneInfo;
  readonly key: TypeOf<C['input']> extends [infer K, any] ? K : undefined;
  /** The processing time of the call in milliseconds since 1970. */
  readonly now: number;
  readonly state: Handles<NonNullable<C['state']>>;
  readonly timers: { readonly [N in keyof NonNullable<C['timers']>]: Timer };
  readonly side: Readers<NonNullable<C['sideInputs']>>;
  readonly tables: Tables<NonNullable<C['tables']>>;
  /** At least 0 and below 1; the same numbers come again when a call is retried. */
  random(): number;
  random64(): bigint;
  emit<N extends keyof NonNullable<C['outputs']>>(output: N, element: TypeOf<NonNullable<C['outputs']>[N]>, more?: Place): void;
  count(name: string, n?: number | bigint): void;
  report(name: string, value: number | bigint): void;
}

/** What a method may give: nothing, or outputs. */
export type Outputs = void | Iterable<unknown>;

/** One thing of the machine that a function wants to see: `static capabilities = [clock, env('REGION')]`. The pipeline has to grant it, and the server to allow it. */
export declare class Capability {
  private constructor();
  readonly name: string;
}

/** The time of day and a monotonic clock, as they pass: `Date` and `performance.now()`. `ctx.now` stays the call's processing time. */
export declare const clock: Capability;

/** Entropy of the system: `Math.random`, `crypto.getRandomValues` and `crypto.randomUUID`. `ctx.random()` stays the call's own. */
export declare const random: Capability;

/** A variable of the environment, by its name: `process.env`. The pipeline says its value. */
export declare function env(name: string): Capability;

/** A function from one element to any number of outputs. Its methods `process` and the like yield or return their outputs. */
export declare class DoFn {
  static input: Coder<any>;
  static outputs: Fields;
  static state: Record<string, Slot<any>>;
  static timers: Record<string, 'event' | 'processing'>;
  static sideInputs: Record<string, Side<any>>;
  static tables: Record<string, Table<any, any>>;
  static capabilities: Capability[];
  constructor(config?: any);
  setup?(): void;
  process?(element: any, ctx: any): Outputs;
  onTimer?(timer: Fired, ctx: any): Outputs;
  onWindowExpiration?(ctx: any): Outputs;
  startBundle?(ctx: any): Outputs;
  finishBundle?(ctx: any): Outputs;
  teardown?(): void;
}

/** An element for an output. */
export declare class To {
  private readonly output;
}

/** What `process` yields for an output by name, with a time and windows of its own if they are given. */
export declare function to(output: string, element: unknown, more?: Place): To;

/** What `process` yields for the main output with an event time of its own. */
export declare function at(time: number, element: unknown): To;

/** Makes a DoFn of a function of element and context. */
export declare function dofn<S extends DoFnShape>(
  shape: S,
  process: (element: TypeOf<S['input']>, ctx: ContextOf<S>) => Outputs,
): typeof DoFn;

/** Sums up the values of a key, in any order and in parts. */
export declare abstract class CombineFn<I = any, A = any, O = any> {
  static input: Coder<any>;
  static accumulator: Coder<any>;
  static output: Coder<any>;
  static capabilities: Capability[];
  constructor(config?: any);
  setup?(): void;
  /** The accumulator of no values. */
  abstract createAccumulator(): A;
  /** The accumulator with a value more; it may be the same object, changed. */
  abstract addInput(accumulator: A, value: I): A;
  /** One accumulator of what several know; there is at least one. */
  abstract mergeAccumulators(accumulators: A[]): A;
  /** An accumulator that means the same and is smaller, before it is stored or sent. */
  compact(accumulator: A): A;
  abstract extractOutput(accumulator: A): O;
  teardown?(): void;
}

export type CombineFnClass<I, A, O> = (new (config?: any) => CombineFn<I, A, O>) & {
  input: Coder<any>;
  accumulator: Coder<any>;
  output: Coder<any>;
};

/** A window, and the places of those that it takes the place of. */
export interface Merged {
  into: IntervalWindow;
  members: number[];
}

/** Gives elements their windows. A class that has a `merge` is one whose windows merge. */
export declare abstract class WindowFn {
  /** Type of the elements, if it looks at them. Else it sees their times alone. */
  static input: Coder<any> | undefined;
  static capabilities: Capability[];
  constructor(config?: any);
  setup?(): void;
  abstract assign(time: number, element?: any): Iterable<IntervalWindow>;
  merge?(windows: IntervalWindow[]): Iterable<Merged>;
  teardown?(): void;
}

/** Merges windows that share an instant into the window that spans them. */
export declare function mergeOverlapping(windows: IntervalWindow[]): Merged[];

/** Gives elements their key. */
export declare abstract class KeySelector {
  static input: Coder<any>;
  static key: Coder<any>;
  static capabilities: Capability[];
  constructor(config?: any);
  setup?(): void;
  abstract key(element: any): any;
  teardown?(): void;
}

/** Makes a KeySelector of a function. */
export declare function keySelector<E, K>(shape: { input: Coder<E>; key: Coder<K> }, key: (element: E) => K): typeof KeySelector;

type FunctionClass = typeof DoFn | (abstract new (config?: any) => CombineFn) | typeof WindowFn | typeof KeySelector;

/** A function under its name, with its class. */
export interface NamedFunction {
  readonly name: string;
  readonly Fn: any;
  readonly description: object;
}

/** The functions that a module exports under `functions`. */
export declare function component(functions: Record<string, FunctionClass>): NamedFunction[];

/** Grouped values that are read by page: what a function gets for `t.values(x)`. They may be walked over again, and have no length. */
export declare class Values<T> implements Iterable<T> {
  private constructor();
  [Symbol.iterator](): Iterator<T>;
}
