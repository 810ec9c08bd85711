// What of the machine a function may want to see, as its description says it. What there is to want stands in machine.js.

/** One thing of the machine. The pipeline has to grant it, and the server to allow it. */
export class Capability {
  constructor(name) {
    this.name = name;
  }
}

/** The names of what a class of functions wants. */
export function capabilitiesOf(name, Fn) {
  const wanted = Fn.capabilities ?? [];
  for (const one of wanted) {
    // a name would not bring what the build links
    if (!(one instanceof Capability)) throw new TypeError(`${name}: ${JSON.stringify(one)} is no capability; there are clock, random and env(NAME)`);
  }
  return wanted.map((one) => one.name);
}
