// Runs a transpiled command component with a model: node command.mjs COMMAND.js NAME:ENCODING:TARGET:PATH [ARGUMENT...]

import { basename } from 'node:path';
import { ExitError, instantiate } from '../../javascript/index.js';

const [file, preload, ...args] = process.argv.slice(2);
const environment = {
  getArguments: () => [basename(file), ...args],
  getEnvironment: () => Object.entries(process.env),
  initialCwd: () => undefined,
};
const { run } = await instantiate(file, {
  preload: [preload],
  imports: { 'wasi:cli/environment': environment },
});
try {
  run.run();
} catch (error) {
  if (!(error instanceof ExitError)) throw error;
  process.exitCode = error.code;
}
