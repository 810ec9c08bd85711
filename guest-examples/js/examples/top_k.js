// The k best of a key, by a CombineFn: pairs of name and score in, an iterable of pairs out, the best first.

import { CombineFn, Failure, t } from 'thalweg-udf';
import { positive } from './config.js';

const encoder = new TextEncoder();

/** The order of two texts by their UTF-8, which is not that of JavaScript's strings. */
function byBytes(a, b) {
  const [one, other] = [encoder.encode(a), encoder.encode(b)];
  const at = one.findIndex((byte, i) => byte !== other[i]);
  return at < 0 ? one.length - other.length : (one[at] ?? -1) - (other[at] ?? -1);
}

/** Keeps the k best. */
export class TopK extends CombineFn {
  static input = t.kv(t.string, t.int64);
  static accumulator = t.list(t.kv(t.string, t.int64));
  static output = t.list(t.kv(t.string, t.int64));

  constructor({ k = 3 }) {
    super();
    this.k = positive('k', k);
  }

  createAccumulator() {
    return [];
  }

  addInput(best, element) {
    if (element[1] < 0n) throw new Failure('SCORE', `${element[1]} is negative`);
    best.push(element);
    return best.length > 2 * this.k ? this.compact(best) : best;
  }

  mergeAccumulators(all) {
    return all.flat();
  }

  compact(best) {
    // the largest score first; of equal ones the name that is first by its bytes
    return best.sort((a, b) => (a[1] > b[1] ? -1 : a[1] < b[1] ? 1 : byBytes(a[0], b[0]))).slice(0, this.k);
  }

  extractOutput(best) {
    return this.compact(best);
  }
}
