// The conformance component in JavaScript: one function for everything that the guest contract has, driven by commands in its elements. It
// gives what the Rust one of `guest-examples/conformance` gives.

import { component } from 'thalweg-udf';
import { Ledger } from './ledger.js';
import { Lookups } from './lookups.js';
import { run } from './runtime.js';
import { Sessions, Spans, Top, Walks, firstWord, total } from './shapes.js';
import { Buffer, Timers } from './timers.js';

export const functions = component({
  ledger: Ledger,
  timers: Timers,
  buffer: Buffer,
  lookups: Lookups,
  total,
  walks: Walks,
  top: Top,
  sessions: Sessions,
  spans: Spans,
  first_word: firstWord,
  run,
});
