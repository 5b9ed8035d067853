// The addon that javascript/native builds: the file that LLM_WASI_NODE_ADDON names, else llm-wasi.node in
// this folder.

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const file = resolve(
  process.env.LLM_WASI_NODE_ADDON ?? fileURLToPath(new URL('llm-wasi.node', import.meta.url)),
);
if (!existsSync(file)) {
  throw new Error(
    `expected the addon at ${file}, found no file: build it with \`cargo build --release --workspace\` and copy ` +
      'it there, or set LLM_WASI_NODE_ADDON to it',
  );
}
const addon = { exports: {} };
// Not `require`, which takes only names that end in `.node`.
process.dlopen(addon, file);

export const { Monitor, Registry, codeInWasiNn } = addon.exports;
