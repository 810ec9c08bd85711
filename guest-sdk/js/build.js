#!/usr/bin/env node
// Makes a component of a module: bundles it with the SDK, and puts it together with a JavaScript engine.
//
//   thalweg-udf-build src/index.js -o split.wasm [--wit FOLDER]
//
// The module (JavaScript or TypeScript) exports `functions`. The component imports nothing of WASI, unless a function asks for something of the
// machine. What its modules do when they are loaded is done now, not in the pipeline.

import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const INTERFACES = { log: 'log', outputs: 'outputs', lists: 'iterables', state: 'state', sides: 'side-inputs', tables: 'tables' };
// What is imported of the machine, and what of the interfaces is used.
const MACHINE = {
  clocks: `interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }
    interface monotonic-clock { type instant = u64; now: func() -> instant; }`,
  random: 'interface random { get-random-u64: func() -> u64; }',
  cli: 'interface environment { get-environment: func() -> list<tuple<string, string>>; }',
};
const WASI = '0.2.0';
const MACHINE_IMPORTS = { wall: 'clocks/wall-clock', monotonic: 'clocks/monotonic-clock', random: 'random/random', environment: 'cli/environment' };

/** The version of the contract in a folder of WIT files. */
async function versionOf(wit) {
  for (const name of await readdir(wit)) {
    const found = name.endsWith('.wit') && /^package thalweg:udf@([^;]+);/m.exec(await readFile(join(wit, name), 'utf8'));
    if (found) return found[1];
  }
  throw new Error(`${wit} is not the contract thalweg:udf`);
}

/** The module that exports the contract over a user's functions. */
function entry(module, version, asks) {
  const imports = Object.entries(INTERFACES).map(([name, path]) => `import * as ${name} from 'thalweg:udf/${path}@${version}';`);
  const machine = '{ wall: wall.now, monotonic: monotonic.now, random: random.getRandomU64, environment: environment.getEnvironment }';
  if (asks) imports.push(...Object.entries(MACHINE_IMPORTS).map(([name, path]) => `import * as ${name} from 'wasi:${path}@${WASI}';`));
  return `${imports.join('\n')}
import { connect } from ${JSON.stringify(join(here, 'src/component.js'))};
import { functions } from ${JSON.stringify(module)};
export const guest = connect(functions, {
  log: log.write,
  emit: outputs.emit,
  iterablesRead: lists.read,
  stateRead: state.read,
  stateLookup: state.lookup,
  stateScan: state.scan,
  sideRead: sides.read,
  sideKeys: sides.keys,
  tableLookup: tables.lookup,
  machine: ${asks ? machine : 'undefined'},
});
`;
}

/** Copies the contract to a folder, with a world that has the machine besides. */
async function withMachine(wit, folder, version) {
  for (const [name, interfaces] of Object.entries(MACHINE)) {
    await mkdir(join(folder, 'deps', name), { recursive: true });
    await writeFile(join(folder, 'deps', name, `${name}.wit`), `package wasi:${name}@${WASI};\n${interfaces}\n`);
  }
  for (const name of await readdir(wit)) if (name.endsWith('.wit')) await copyFile(join(wit, name), join(folder, name));
  const imports = Object.values(MACHINE_IMPORTS).map((path) => `import wasi:${path}@${WASI};`);
  await writeFile(join(folder, 'machine.wit'), `package thalweg:udf@${version};\nworld machine { include full; ${imports.join(' ')} }\n`);
}

/** Whether a bundle has the file of the SDK that names what of the machine there is. */
function asksFor({ outputs }) {
  const file = join(here, 'src/machine.js');
  return Object.values(outputs).some(({ inputs }) => Object.entries(inputs).some(([path, { bytesInOutput }]) => resolve(path) === file && bytesInOutput > 0));
}

/**
 * Builds a component.
 *
 * @param {string} module path of the module
 * @param {{wit?: string}} [options] the folder of the contract
 * @returns {Promise<Uint8Array>} the component
 */
export async function build(module, { wit = join(here, '../../wit') } = {}) {
  const esbuild = await import('esbuild');
  // its package lacks a dependency, preview2-shim, which ours has in its place
  const { componentize } = await import('@bytecodealliance/componentize-js');
  const folder = await mkdtemp(join(tmpdir(), 'thalweg-udf-'));
  try {
    const sourcePath = join(folder, 'component.js');
    const sdk = {
      name: 'sdk',
      setup: (chain) => chain.onResolve({ filter: /^thalweg-udf$/ }, () => ({ path: join(here, 'src/index.js') })),
    };
    const version = await versionOf(wit);
    const options = {
      outfile: sourcePath,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      keepNames: true,
      charset: 'utf8',
      external: ['thalweg:*', 'wasi:*'],
      plugins: [sdk],
      logLevel: 'error',
      metafile: true,
    };
    const bundle = (asks) => esbuild.build({ ...options, stdin: { contents: entry(resolve(module), version, asks), resolveDir: here } });
    const asks = asksFor((await bundle(false)).metafile);
    if (asks) {
      await bundle(true);
      await withMachine(wit, join(folder, 'wit'), version);
    }
    // with these features off, what the world imports of them is a trap, or always the same
    const disableFeatures = ['stdio', 'http', 'fetch-event', ...(asks ? [] : ['random', 'clocks'])];
    const world = asks ? { witPath: join(folder, 'wit'), worldName: 'machine' } : { witPath: wit, worldName: 'full' };
    const made = await componentize({ sourcePath, ...world, disableFeatures });
    return made.component;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { output: { type: 'string', short: 'o' }, wit: { type: 'string' } },
  });
  if (positionals.length !== 1 || !values.output) {
    console.error('usage: thalweg-udf-build MODULE -o COMPONENT.wasm [--wit FOLDER]');
    process.exit(2);
  }
  await writeFile(values.output, await build(positionals[0], { wit: values.wit }));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main();
