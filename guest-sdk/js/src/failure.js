// Why an element, or a whole call, could not be dealt with.

/**
 * Throw it for a bad element: what the element did is taken back, and the runner reports it or sends it to a dead-letter output.
 * The other elements stand.
 */
export class Failure extends Error {
  /**
   * @param {string} code stable, short, upper case: what programs and counters look at
   * @param {string} message one sentence for a person
   */
  constructor(code, message) {
    super(message);
    this.name = 'Failure';
    this.code = code;
  }
}

/** Bytes that are no encoding of the type they should be. */
export class Malformed extends Failure {
  constructor(what) {
    super('DECODE', `the encoded value is not ${what}`);
  }
}

/** A frame that is not one of layout 1. */
export class BadFrame extends Error {}

/** A value that a coder cannot encode. */
export function unfit(value, wanted) {
  let shown;
  try {
    shown = typeof value === 'bigint' ? `${value}n` : JSON.stringify(value);
  } catch {
    shown = String(value);
  }
  return new Failure('ENCODE', `${wanted} is wanted, and not the ${typeof value} ${String(shown).slice(0, 80)}`);
}

/**
 * What is said of an element that ended with an error: a Failure as it is; of another error its class in upper case
 * (`TypeError` is `TYPE_ERROR`), its message, and behind it the stack.
 */
export function failureOf(error) {
  if (error instanceof Failure) return error;
  if (!(error instanceof Error)) return new Failure('ERROR', String(error));
  const code = error.name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase();
  return new Failure(code, `${error.message}\n${stackOf(error)}`);
}

/** The stack of an error as lines. */
export function stackOf(error) {
  return error instanceof Error && error.stack ? error.stack.trimEnd() : '';
}
