import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { imports } from './imports.js';

// Nothing of the machine but clocks, random numbers, standard output and standard error.
const SANDBOX = { preopens: {}, env: {}, args: [], enableNetwork: false };

/** Instantiates a component that was transpiled with `instantiation: 'async'`, on this thread. */
export async function instantiate(file, options = {}) {
  const url = pathToFileURL(resolve(file));
  const component = await import(url);
  const core = async (name) => WebAssembly.compile(await readFile(new URL(name, url)));
  return component.instantiate(core, {
    ...new WASIShim({ sandbox: SANDBOX }).getImportObject(),
    ...imports(options),
    ...options.imports,
  });
}
