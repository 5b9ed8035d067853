// The arguments of `open`, `instantiate` and `imports`, checked before anything is done with them.

import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The URL of a transpiled component, whose file is given by its path or its URL. */
export function located(file) {
  const isURL = file instanceof URL || (typeof file === 'string' && file.startsWith('file:'));
  if (!isURL && typeof file !== 'string') {
    throw new TypeError(`expected the path or the URL of a transpiled component, found ${shown(file)}`);
  }
  // By way of the path, so that a URL that is no file's is an error here.
  const path = isURL ? fileURLToPath(file) : resolve(file);
  if (path.endsWith('.wasm')) {
    throw new TypeError(
      `expected the JavaScript of a transpiled component, found WebAssembly: ${path}. Transpile it first: ` +
        'llm-wasi-transpile COMPONENT FOLDER',
    );
  }
  return pathToFileURL(path);
}

/** Fails where an option is none of these. */
export function known(options, names) {
  if (options === null || typeof options !== 'object') {
    throw new TypeError(`expected an object with options, found ${shown(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !names.includes(name)) {
      throw new TypeError(`expected the options ${names.join(' and ')}, found ${name}`);
    }
  }
}

/** The models as the addon takes them. */
export function models(preload = []) {
  if (!Array.isArray(preload)) {
    throw new TypeError(`preload: expected a list of models, found ${shown(preload)}`);
  }
  const names = new Set();
  return Array.from(preload, (model, index) => {
    const checked = typeof model === 'string' ? model : parts(model, `preload[${index}]`);
    const name = typeof checked === 'string' ? checked.split(':', 1)[0] : checked.name;
    if (names.has(name)) throw new TypeError(`preload[${index}]: expected another name, found ${name} again`);
    names.add(name);
    return checked;
  });
}

/** A model that is given in parts. */
function parts(model, place) {
  if (model === null || typeof model !== 'object') {
    throw new TypeError(
      `${place}: expected NAME:ENCODING:TARGET:PATH or an object with name and path, found ${shown(model)}`,
    );
  }
  const { name, encoding = 'AUTODETECT', target = 'AUTO', path, ...others } = model;
  for (const [field, value] of Object.entries({ name, encoding, target })) {
    if (typeof value !== 'string') throw new TypeError(`${place}.${field}: expected a text, found ${shown(value)}`);
  }
  for (const field of Object.keys(others)) {
    throw new TypeError(`${place}: expected name, encoding, target and path, found ${field}`);
  }
  const paths = Array.isArray(path) ? path : [path];
  if (paths.length === 0 || paths.some((part) => typeof part !== 'string')) {
    throw new TypeError(`${place}.path: expected a path or a list of paths, found ${shown(path)}`);
  }
  return { name, encoding, target, paths };
}

function shown(value) {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `${typeof value} ${String(value)}`;
}
