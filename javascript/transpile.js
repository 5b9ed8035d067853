#!/usr/bin/env node
// Transpiles a component for `instantiate` and `open`: llm-wasi-transpile COMPONENT FOLDER

import { basename } from 'node:path';
import { readFile } from 'node:fs/promises';
import { transpileBytes, writeFiles } from '@bytecodealliance/jco-transpile';

const [component, folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: llm-wasi-transpile COMPONENT FOLDER');
  process.exit(2);
}
const name = basename(component, '.wasm');
const { files } = await transpileBytes(await readFile(component), {
  name,
  instantiation: 'async',
  // An error of the component is an `Error` with a payload, not the payload alone.
  noComponentErrorWrapping: false,
});
await writeFiles(files, { baseDir: folder });
