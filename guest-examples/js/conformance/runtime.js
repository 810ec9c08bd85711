// What the runtime of JavaScript does in a component, by commands: the clock, randomness, output, and ways in which an element goes wrong. The
// other languages have no function of this name here.

import { Failure, dofn, t } from 'thalweg-udf';

function recursion() {
  return recursion() + 1;
}

const COMMANDS = {
  clock: () => `${Date.now()} ${new Date().toISOString()} ${new Date(5).getTime()}`,
  numbers: () => `${Math.random()} ${Math.random()}`,
  globals: () => ['process', 'require', 'Deno', 'Worker'].filter((name) => name in globalThis).join(),
  lines: () => {
    console.log('one', 'line ü', { deep: [1n] });
    console.warn('warned', 5);
  },
  told: () => {
    throw new Failure('TOLD', 'as it was told');
  },
  broken: () => undefined.nothing,
  promise: () => new Promise(() => {}),
  recursion,
  loop: () => {
    for (;;);
  },
  memory: () => {
    const kept = [];
    for (;;) kept.push(new Uint8Array(1 << 20).fill(kept.length));
  },
};

/** Runs the command of an element. */
export const run = dofn({ input: t.string, outputs: { said: t.string } }, (command) => {
  const said = COMMANDS[command]();
  return command === 'promise' ? said : [String(said)];
});
