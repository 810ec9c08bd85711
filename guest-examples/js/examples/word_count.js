// Word count: lines become pairs of a word and 1, which a CombineFn sums up.

import { CombineFn, DoFn, t } from 'thalweg-udf';

/** Splits lines into words: runs of ASCII letters, digits and apostrophes, in lower case. */
export class Words extends DoFn {
  static input = t.string;
  static outputs = { words: t.kv(t.string, t.integer) };

  process(line, ctx) {
    for (const word of line.match(/[A-Za-z0-9']+/g) ?? []) {
      ctx.emit('words', [word.toLowerCase(), 1]);
      ctx.count('words');
    }
  }
}

/** Sums up. */
export class Sum extends CombineFn {
  static input = t.int64;
  static accumulator = t.int64;
  static output = t.int64;

  createAccumulator() {
    return 0n;
  }

  addInput(sum, number) {
    return BigInt.asIntN(64, sum + number);
  }

  mergeAccumulators(sums) {
    return sums.reduce((a, b) => BigInt.asIntN(64, a + b), 0n);
  }

  extractOutput(sum) {
    return sum;
  }
}
