// The examples of `guest-examples/expected` in JavaScript, one file each.

import { component } from 'thalweg-udf';
import { Alerts } from './alerts.js';
import { DaySessions } from './day_sessions.js';
import { Enrich } from './enrich.js';
import { Parse } from './parse.js';
import { Sessionize } from './sessionize.js';
import { TopK } from './top_k.js';
import { Sum, Words } from './word_count.js';

export const functions = component({
  parse: Parse,
  sessionize: Sessionize,
  top_k: TopK,
  words: Words,
  sum: Sum,
  alerts: Alerts,
  enrich: Enrich,
  day_sessions: DaySessions,
});
