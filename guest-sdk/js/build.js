#!/usr/bin/env node
// Makes a component of a module: bundles it with the SDK, and puts it together with a JavaScript engine.
//
//   thalweg-udf-build src/index.js -o split.wasm [--wit FOLDER]
//
// The module (JavaScript or TypeScript) exports `functions`. The component imports nothing of WASI. What its modules do when they are
// loaded is done now, not in the pipeline.

import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const INTERFACES = { log: 'log', outputs: 'outputs', lists: 'iterables', state: 'state', sides: 'side-inputs', tables: 'tables' };

/** The version of the contract in a folder of WIT files. */
async function versionOf(wit) {
  for (const name of await readdir(wit)) {
    const found = name.endsWith('.wit') && /^package thalweg:udf@([^;]+);/m.exec(await readFile(join(wit, name), 'utf8'));
    if (found) return found[1];
  }
  throw new Error(`${wit} is not the contract thalweg:udf`);
}

/** The module that exports the contract over a user's functions. */
function entry(module, version) {
  const imports = Object.entries(INTERFACES).map(([name, path]) => `import * as ${name} from 'thalweg:udf/${path}@${version}';`);
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
});
`;
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
    await esbuild.build({
      stdin: { contents: entry(resolve(module), await versionOf(wit)), resolveDir: here },
      outfile: sourcePath,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      keepNames: true,
      charset: 'utf8',
      external: ['thalweg:*'],
      plugins: [sdk],
      logLevel: 'error',
    });
    const disableFeatures = ['stdio', 'random', 'clocks', 'http', 'fetch-event'];
    const made = await componentize({ sourcePath, witPath: wit, worldName: 'full', disableFeatures });
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
