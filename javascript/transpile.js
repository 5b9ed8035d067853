#!/usr/bin/env node
// Transpiles a component for `instantiate` and `open`: llm-wasi-transpile COMPONENT [FOLDER]

import { existsSync, statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

const [component, folder = component && basename(component, '.wasm')] = process.argv.slice(2);
if (component === undefined || process.argv.length > 4) {
  console.error('usage: llm-wasi-transpile COMPONENT [FOLDER]');
  process.exit(2);
}
if (existsSync(folder) && !statSync(folder).isDirectory()) {
  console.error(`error: expected a folder to write to, found a file: ${folder}: name another one as the second argument`);
  process.exit(1);
}
let transpiler;
try {
  transpiler = await import('@bytecodealliance/jco-transpile');
} catch (error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  console.error(
    "error: expected the package @bytecodealliance/jco-transpile, found none: npm install --save-dev @bytecodealliance/jco-transpile",
  );
  process.exit(1);
}
const name = basename(component, '.wasm');
try {
  const { files } = await transpiler.transpileBytes(await readFile(component), {
    name,
    instantiation: 'async',
    // An error of the component is an `Error` with a payload, not the payload alone.
    noComponentErrorWrapping: false,
  });
  await transpiler.writeFiles(files, { baseDir: folder });
} catch (error) {
  console.error(`error: ${component} cannot be transpiled to ${folder}: ${error?.message ?? error}`);
  process.exit(1);
}
// The output is of ES modules, also in a project that is not.
const manifest = join(folder, 'package.json');
if (!existsSync(manifest)) await writeFile(manifest, '{ "type": "module" }\n');
else if (JSON.parse(await readFile(manifest, 'utf8')).type !== 'module') {
  console.error(`warning: ${manifest} does not say "type": "module", and what was written are ES modules`);
}
