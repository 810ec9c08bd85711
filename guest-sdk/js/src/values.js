// Grouped values: what a function gets for `t.values(x)`. Those that did not fit into the frame come by page while they are walked over.

import { PAGE_BYTES } from './entries.js';
import { BadFrame } from './failure.js';
import { Input } from './frame.js';

/**
 * Values of a key, in their order: an iterable that may be walked over again. Memory holds one page of them, however many there are;
 * they have no length. They are good for the call they came with.
 */
export class Values {
  #first;
  #coder;
  #token;
  #read;

  /**
   * @param {Array} first the values that arrived with the element
   * @param {object} coder of a value
   * @param {Uint8Array} [token] of the values behind them
   * @param {Function} [read] what gives the page of a token
   */
  constructor(first, coder, token, read) {
    this.#first = first;
    this.#coder = coder;
    this.#token = token;
    this.#read = read;
  }

  [Symbol.iterator]() {
    return this.#token === undefined ? this.#first[Symbol.iterator]() : this.#walk();
  }

  *#walk() {
    yield* this.#first;
    for (let token = this.#token; token !== undefined && token !== null; ) {
      const page = this.#read(token, PAGE_BYTES);
      const rows = new Input(page.rows);
      if (rows.rows !== 1) throw new BadFrame('a page of a list is no page');
      yield* this.#coder.allFrom(rows.valueBytes(0));
      token = page.next;
    }
  }
}

/** The list of a row: an array if that was asked for, else `Values`. `first` is what arrived of it, `token` that of the rest. */
export function listOf(coder, first, token, read) {
  if (!coder.byPage && token === undefined) return first;
  const values = new Values(first, coder.element, token, read);
  return coder.byPage ? values : [...values];
}
