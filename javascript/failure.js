// Failures of the host, as transpiled components expect them.

import { codeInWasiNn } from './addon.js';

/** Thrown where a function's `result` is an error. jco takes the payload, people read the message. */
export class ComponentError extends Error {
  constructor(payload, message = told(payload)) {
    super(message);
    this.name = 'ComponentError';
    this.payload = payload;
  }

  /** jco's output throws errors of a class of its own, one for each component. */
  static [Symbol.hasInstance](error) {
    const isOne = Function.prototype[Symbol.hasInstance].call(this, error);
    const isOfJco = error instanceof Error && error.constructor.name === 'ComponentError' && 'payload' in error;
    return isOne || (this === ComponentError && isOfJco);
  }
}

/** Thrown where a component asks to end the program: `wasi:cli/exit`. It cannot be used any more then. */
export class ExitError extends Error {
  constructor(code) {
    super(`the component has ended the program with the status ${code}`);
    this.name = 'ExitError';
    this.code = code;
  }
}

/** A payload in words: a variant is `tag: value`, a record `field: value, field: value`. */
function told(payload) {
  if (payload === null || typeof payload !== 'object') return String(payload);
  if (ArrayBuffer.isView(payload)) return `${payload.byteLength} bytes`;
  if (Array.isArray(payload)) return payload.map(told).join(', ');
  if (typeof payload.tag === 'string') {
    return payload.val === undefined ? payload.tag : `${payload.tag}: ${told(payload.val)}`;
  }
  return Object.entries(payload)
    .map(([field, value]) => `${field}: ${told(value)}`)
    .join(', ');
}

/** Calls the host. Its failure is thrown with a resource of the class as payload, or what `wrap` makes of that. */
export function attempt(Failure, call, wrap = (failure) => failure) {
  try {
    return call();
  } catch (error) {
    if (codeInWasiNn(String(error.code)) === null) throw error;
    throw new ComponentError(wrap(new Failure(error)), error.message);
  }
}
