import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { WASIShim } from '@bytecodealliance/preview2-shim/instantiation';
import { ExitError } from './failure.js';
import { over } from './imports.js';
import { known, located, models } from './options.js';

// Nothing of the machine but clocks, random numbers, standard output and standard error.
const SANDBOX = { preopens: {}, env: {}, args: [], enableNetwork: false };

// The shim ends the process, which is not the component's.
const EXIT = {
  exit(status) {
    throw new ExitError(status.tag === 'ok' ? 0 : 1);
  },
  exitWithCode(code) {
    throw new ExitError(code);
  },
};

/** Instantiates a component that was transpiled with `instantiation: 'async'`, on this thread. */
export async function instantiate(file, options = {}) {
  known(options, ['preload', 'imports']);
  return instance(located(file), { ...options, preload: models(options.preload) });
}

/** The same of a component at a URL, with models that were checked; a monitor ends what is computed. */
export async function instance(url, { preload, imports = {} }, monitor) {
  const component = await import(url);
  if (typeof component.instantiate !== 'function') {
    throw new TypeError(
      `expected the JavaScript of a component that was transpiled for instantiation, found another module: ` +
        `${fileURLToPath(url)}. Transpile the component with llm-wasi-transpile, or with jco and --instantiation async`,
    );
  }
  const core = async (name) => WebAssembly.compile(await readFile(new URL(name, url)));
  return component.instantiate(core, {
    ...new WASIShim({ sandbox: SANDBOX }).getImportObject(),
    'wasi:cli/exit': EXIT,
    ...over(preload, monitor),
    ...Object.fromEntries(Object.entries(imports).map(([name, members]) => [unversioned(name), members])),
  });
}

/** jco's output asks for imports without their versions, its typings name them with these. */
function unversioned(name) {
  return name.replace(/@.*$/, '');
}
