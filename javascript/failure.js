// Failures of the host, as transpiled components expect them.

import { codeInWasiNn } from './addon.js';

/** Thrown where a function's `result` is an error. jco takes the payload, people read the message. */
export class ComponentError extends Error {
  constructor(payload, message) {
    super(message);
    this.name = 'ComponentError';
    this.payload = payload;
  }
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
