// The flights example: lines of the flights table become rows with their event time. What cannot be used goes to the output
// `dead_letters` with its reason. The table of reasons is in `guest-examples/flights/README.md`.

import { DoFn, at, t, to } from 'thalweg-udf';

const COLUMNS = 19;

/** Why a line gives no flight. */
class Flaw {
  constructor(reason) {
    this.reason = reason;
  }

  static of(column, why) {
    return new Flaw(`malformed: ${column}: ${why}`);
  }
}

/** Reads lines. */
export class Parse extends DoFn {
  static input = t.row({ line: t.string, row: t.integer });
  static outputs = {
    flights: t.row({
      carrier: t.string,
      origin: t.string,
      dest: t.string,
      dep_delay: t.integer,
      distance: t.integer,
      hour: t.integer,
    }),
    dead_letters: t.row({ row: t.integer, reason: t.string }),
  };

  *process({ line, row }, ctx) {
    let flaw;
    try {
      yield flight(line);
      return;
    } catch (error) {
      if (!(error instanceof Flaw)) throw error;
      flaw = error;
    }
    ctx.count(flaw.reason === 'cancelled' ? 'cancelled' : 'malformed');
    yield to('dead_letters', { row, reason: flaw.reason });
  }
}

function flight(line) {
  const columns = line.split(',');
  if (columns.length !== COLUMNS) throw Flaw.of('row', `expected ${COLUMNS} columns, found ${columns.length}`);
  if (absent(columns[3])) throw new Flaw('cancelled');
  const dep_delay = whole(columns[5], 'dep_delay', -10_000, 10_000);
  const carrier = code(columns[9], 'carrier', 2);
  const origin = code(columns[12], 'origin', 3);
  const dest = code(columns[13], 'dest', 3);
  const distance = whole(columns[15], 'distance', 0, 100_000);
  const hour = whole(columns[16], 'hour', 0, 23);
  const minute = whole(columns[17], 'minute', 0, 59);
  const time = milliseconds(columns[18], 'time_hour') + minute * 60_000;
  return at(time, { carrier, origin, dest, dep_delay, distance, hour });
}

function absent(text) {
  return text === '' || text === 'NA';
}

function present(text, column) {
  if (absent(text)) throw Flaw.of(column, 'missing');
}

function whole(text, column, low, high) {
  present(text, column);
  if (!/^-?[0-9]+$/.test(text)) throw Flaw.of(column, 'not a whole number');
  const number = Number(text);
  if (!(number >= low && number <= high)) throw Flaw.of(column, 'out of range');
  return number === 0 ? 0 : number; // -0 is a number too
}

function code(text, column, length) {
  present(text, column);
  if (text.length !== length || !/^[A-Z0-9]+$/.test(text)) throw Flaw.of(column, 'not a code');
  return text;
}

function milliseconds(text, column) {
  present(text, column);
  const time = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(text) ? Date.parse(text) : NaN;
  // a day that its month does not have becomes one of the next, and year 0 is none
  const real = !Number.isNaN(time) && new Date(time).toISOString() === text.replace('Z', '.000Z') && !text.startsWith('0000');
  if (!real) throw Flaw.of(column, 'not a time');
  return time;
}
