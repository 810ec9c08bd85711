// What a function in JavaScript sees of the machine, by questions: with capabilities, and without any.

import { clock, component, dofn, env, random, t } from 'thalweg-udf';

const QUESTIONS = {
  year: () => String(new Date().getUTCFullYear()),
  clock: () => {
    const start = Date.now();
    for (let n = 0; n < 1e5; n++) if (Date.now() > start + 1) return 'passes';
    return 'stands';
  },
  garbage: () => {
    for (let n = 0; n < 100; n++) new Uint8Array(1 << 20).fill(n);
    return 'collected';
  },
  random: (sees) => (sees ? crypto.randomUUID() : String(Math.random())),
  env: () => `${globalThis.process?.env.REGION ?? ''}${Object.keys(globalThis.process?.env ?? {}).length}`,
};

const answer = (sees) => (question) => [QUESTIONS[question](sees)];

const shape = { input: t.string, outputs: { said: t.string } };

/** Asks for all there is. */
export const seen = dofn({ ...shape, capabilities: [clock, random, env('REGION')] }, answer(true));

/** Asks for nothing. */
export const blind = dofn(shape, answer(false));

export const functions = component({ seen, blind });
