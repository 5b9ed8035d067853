// What index.d.ts declares.

export { ComponentError, ExitError } from './failure.js';
export { imports } from './imports.js';
export { instantiate } from './instantiate.js';
export { open } from './open.js';
