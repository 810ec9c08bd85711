// What a function was granted, where the language looks for it. In: the host's functions and the capabilities of the function that is opened.
// Without them a component sees the call's own time and numbers, and no environment.

import { moment } from './moment.js';

/** What the opened function may see: an instance of a component is of one function. */
const granted = { clock: false, random: false };
let machine;

/** Milliseconds since 1970. */
export function today() {
  if (!granted.clock) return moment.now;
  const { seconds, nanoseconds } = machine.wall();
  return Number(seconds) * 1000 + Math.floor(nanoseconds / 1e6);
}

/** At least 0 and below 1. */
export function chance() {
  return granted.random ? Number(machine.random() >> 11n) / 2 ** 53 : moment.numbers.random();
}

function fill(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (let at = 0; at < bytes.length; at += 8) {
    let word = machine.random();
    for (let i = at; i < Math.min(at + 8, bytes.length); i++, word >>= 8n) bytes[i] = Number(word & 0xffn);
  }
  return array;
}

/** 122 random bits. Source: RFC 9562, version 4. */
function uuid() {
  const bytes = fill(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function define(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** Has what a function describes found. `from` has the imports of the machine, if the component was built with them. */
export function take(capabilities, from) {
  if (!from || capabilities.length === 0) return;
  machine = from;
  granted.clock = capabilities.includes('clock');
  granted.random = capabilities.includes('random');
  if (granted.clock) {
    const start = machine.monotonic();
    define('performance', { now: () => Number(machine.monotonic() - start) / 1e6 });
  }
  if (granted.random) define('crypto', { getRandomValues: fill, randomUUID: uuid });
  if (capabilities.some((name) => name.startsWith('env:'))) define('process', { env: Object.fromEntries(machine.environment()) });
}
