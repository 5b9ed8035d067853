// Calls that travel to worker.js, and answers that travel back.

import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { ComponentError } from './failure.js';

/** The property with a resource's number. */
export const number = Symbol('number');

export class Thread {
  /** The class of each resource, by its path. */
  classes = new Map();
  /** What the component exports. */
  interfaces;
  #worker;
  #pending = new Map();
  #last = 0;
  #ended;
  #closing = false;
  #unreachable = new FinalizationRegistry((resource) => this.#drop(resource));

  constructor(file, options) {
    this.#worker = new Worker(new URL('worker.js', import.meta.url), {
      workerData: { file: resolve(file), options },
    });
    this.#worker.on('message', (message) => this.#answer(message));
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('the thread of the component has ended')));
    this.interfaces = this.#expect(0);
  }

  /** Calls a function of the interface, class or resource that `target` is. */
  call(target, name, args) {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#last;
    try {
      this.#worker.postMessage({ id, target, name, args: args.map((arg) => this.#numbered(arg)) });
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#expect(id);
  }

  release(resource) {
    this.#unreachable.unregister(resource);
    this.#drop(resource[number]);
  }

  async close() {
    // Until it has ended it keeps the process alive, or this promise would be forgotten.
    this.#closing = true;
    this.#worker.ref();
    await this.#worker.terminate();
  }

  #numbered(arg) {
    if (!arg?.[number]) return { value: arg };
    if (![...this.classes.values()].includes(arg.constructor)) {
      throw new TypeError('expected a resource of this component, found one of another');
    }
    return { resource: arg[number] };
  }

  #expect(id) {
    // What computes keeps the process alive, an idle component does not.
    this.#worker.ref();
    return new Promise((fulfil, reject) => this.#pending.set(id, { fulfil, reject }));
  }

  #answer({ id, value, resource, path, failure }) {
    const { fulfil, reject } = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0 && !this.#closing) this.#worker.unref();
    if (failure) reject(failure.error ?? new ComponentError(failure.payload, failure.message));
    else if (resource) fulfil(this.#hold(this.classes.get(path), resource));
    else fulfil(value);
  }

  #hold(Class, resource) {
    const held = new Class(resource);
    this.#unreachable.register(held, resource, held);
    return held;
  }

  #drop(resource) {
    if (!this.#ended) this.#worker.postMessage({ drop: resource });
  }

  #end(error) {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}
