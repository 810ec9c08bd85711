// The things of the machine that there are. A component whose modules use this file is built with the imports behind it; it sees what it is
// granted.

import { Capability } from './capability.js';

/** The time of day and a monotonic clock, as they pass: `Date` and `performance.now()`. `ctx.now` stays the call's processing time. */
export const clock = /* @__PURE__ */ new Capability('clock');

/** Entropy of the system: `Math.random`, `crypto.getRandomValues` and `crypto.randomUUID`. `ctx.random()` stays the call's own. */
export const random = /* @__PURE__ */ new Capability('random');

/** A variable of the environment, by its name: `process.env`. The pipeline says its value. */
export const env = (name) => new Capability(`env:${name}`);
