// What the examples check of their configuration.

import { Failure } from 'thalweg-udf';

/** A whole number larger than 0. */
export function positive(name, number) {
  if (!Number.isSafeInteger(number) || number <= 0) throw new Failure('CONFIG', `${name} must be a whole number larger than 0`);
  return number;
}
