// Calls that travel to worker.js, and answers that travel back.

import { MessageChannel, Worker } from 'node:worker_threads';
import { Monitor } from './addon.js';
import { ComponentError, ExitError } from './failure.js';

/** The property with a resource's number, and with the signal that ends it and its listener. */
export const held = Symbol('held');

// What computes does not hear that the process ends, and would hold it up.
const computing = new Set();
process.on('exit', () => computing.forEach((monitor) => monitor.end()));

export class Thread {
  /** The class of each resource, by its path. */
  classes = new Map();
  /** What the component exports. */
  interfaces;
  #worker;
  /** For what does not wait until the calls before it have returned. */
  #aside;
  #monitor = new Monitor();
  #pending = new Map();
  #last = 0;
  #error;
  #ended;
  #closing = false;
  #unreachable = new FinalizationRegistry((known) => this.#drop(known));

  constructor(url, preload) {
    const { port1, port2 } = new MessageChannel();
    this.#aside = port1;
    this.#aside.unref();
    computing.add(this.#monitor);
    this.#worker = new Worker(new URL('worker.js', import.meta.url), {
      workerData: { url: url.href, preload, monitor: this.#monitor.number, aside: port2 },
      transferList: [port2],
      execArgv: withoutInputType(process.execArgv),
    });
    this.#worker.on('message', (message) => this.#answer(message));
    this.#worker.on('messageerror', (error) => this.#failFirst(error));
    // What it had answered before arrives before `exit`.
    this.#worker.on('error', (error) => (this.#error = error));
    this.#worker.on('exit', () => this.#end());
    this.interfaces = this.#expect({ id: 0 });
  }

  /**
   * Calls a function of the interface, class or resource that `target` is. A last argument that is an `AbortSignal` is
   * not the component's: it ends the call, or the resource that the call gives.
   */
  call(target, name, args, resource) {
    const signal = args.at(-1) instanceof AbortSignal ? args.at(-1) : undefined;
    const aborted = signal?.aborted ? signal : resource?.[held].signal;
    if (aborted?.aborted) return Promise.reject(aborted.reason);
    if (this.#ended) return Promise.reject(this.#ended);
    const call = { id: ++this.#last, target, name, signal };
    // The frames of who calls, for the errors that come from the other thread.
    Error.captureStackTrace(call, this.call);
    try {
      const sent = args.slice(0, signal ? -1 : undefined).map((arg, index) => this.#numbered(arg, name, index));
      const message = { id: call.id, target, name, args: sent };
      if (name === 'cancel' && typeof target === 'number') this.#overtake(message);
      else this.#worker.postMessage(message);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#expect(call);
  }

  release(resource) {
    this.#unreachable.unregister(resource);
    this.#interrupt(resource[held].number);
    this.#drop(resource[held]);
  }

  async close() {
    // Until it has ended it keeps the process alive, or this promise would be forgotten.
    this.#closing = true;
    this.#worker.ref();
    this.#monitor.end();
    await this.#worker.terminate();
  }

  #numbered(arg, name, index) {
    if (arg instanceof Promise) {
      throw new TypeError(`${name}: argument ${index + 1}: expected a value, found a promise: await it first`);
    }
    if (!arg?.[held]) return { value: arg };
    if (![...this.classes.values()].includes(arg.constructor)) {
      throw new TypeError('expected a resource of this component, found one of another');
    }
    return { resource: arg[held].number };
  }

  /** Sends a `cancel`: what the resource computes ends, and it comes before other calls that wait. */
  #overtake(message) {
    this.#aside.postMessage(message);
    this.#interrupt(message.target);
  }

  /** Ends the call of this resource that is being computed, if there is one. */
  #interrupt(resource) {
    for (const { id, target } of this.#pending.values()) {
      if (target === resource) this.#monitor.interrupt(id);
    }
  }

  #expect(call) {
    // What computes keeps the process alive, an idle component does not.
    this.#worker.ref();
    return new Promise((fulfil, reject) => {
      Object.assign(call, { fulfil, reject });
      this.#pending.set(call.id, call);
      call.abort = () => {
        reject(call.signal.reason);
        // It may wait for others, or be the one that computes.
        this.#aside.postMessage({ skip: call.id });
        this.#monitor.interrupt(call.id);
      };
      call.signal?.addEventListener('abort', call.abort, { once: true });
    });
  }

  #answer({ id, value, resource, path, failure }) {
    const call = this.#pending.get(id);
    if (call === undefined) return;
    this.#settled(call);
    if (failure) call.reject(this.#failed(failure, call));
    else if (resource) this.#give(call, resource, path);
    else call.fulfil(value);
  }

  #give(call, number, path) {
    const { signal } = call;
    if (signal?.aborted) {
      this.#drop({ number });
      return;
    }
    const resource = Object.create(this.classes.get(path).prototype);
    // The signal may live longer than the resource, and must not keep it.
    const weak = new WeakRef(resource);
    const abort = () => weak.deref() && this.release(weak.deref());
    signal?.addEventListener('abort', abort, { once: true });
    resource[held] = { number, signal, abort };
    this.#unreachable.register(resource, resource[held], resource);
    call.fulfil(resource);
  }

  #failed({ error, exit, payload, message }, call) {
    const failed =
      error ?? (exit === undefined ? new ComponentError(payload, message) : new ExitError(exit));
    const frames = call.stack?.replace(/^.*\n?/, '');
    if (frames) failed.stack = `${error ? failed.stack : `${failed.name}: ${failed.message}`}\n${frames}`;
    return failed;
  }

  /** An answer that cannot be read is that of the call which has waited the longest. */
  #failFirst(error) {
    const [call] = this.#pending.values();
    if (call === undefined) return;
    this.#settled(call);
    call.reject(error);
  }

  #settled(call) {
    this.#pending.delete(call.id);
    call.signal?.removeEventListener('abort', call.abort);
    if (this.#pending.size === 0 && !this.#closing) this.#worker.unref();
  }

  #drop({ number, signal, abort }) {
    signal?.removeEventListener('abort', abort);
    if (!this.#ended) this.#worker.postMessage({ drop: number });
  }

  #end() {
    this.#ended = this.#error ?? new Error('the thread of the component has ended');
    computing.delete(this.#monitor);
    this.#monitor.end();
    this.#aside.close();
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}

/** Flags of Node.js that a thread may have too: it has a file, and no text of an unknown type. */
function withoutInputType(flags) {
  return flags.filter(
    (flag, index) =>
      !flag.startsWith('--input-type') && !(flags[index - 1] === '--input-type'),
  );
}
