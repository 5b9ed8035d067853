// Calls that travel to worker.js, and answers that travel back.

import { MessageChannel, Worker, isMainThread } from 'node:worker_threads';
import { Monitor } from './addon.js';
import { ComponentError, ExitError } from './failure.js';
import { Signals } from './signals.js';

/** The property with what is known of a resource: its number, whether it is a stream, and the signal that ends it. */
export const held = Symbol('held');

// What computes does not hear that the thread or the process ends, and would hold it up.
const computing = new Set();
process.on('exit', () => {
  if (isMainThread) Monitor.endAll();
  else computing.forEach((monitor) => monitor.end());
});

export class Thread {
  /** The class of each resource, by its path. */
  classes = new Map();
  /** What the component exports. */
  interfaces;
  #worker;
  /** For what does not wait until the calls before it have returned. */
  #aside;
  #monitor = new Monitor();
  #signals = new Signals();
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
      ...(saysInputType(process.execArgv) && { execArgv: [] }),
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
   * not the component's: it ends the call, or the stream that the call gives.
   */
  call(target, name, args, resource) {
    const signal = args.at(-1) instanceof AbortSignal ? args.at(-1) : undefined;
    const aborted = [signal, resource?.[held].signal].find((signal) => signal?.aborted);
    if (aborted) return Promise.reject(aborted.reason);
    if (this.#ended) return Promise.reject(this.#ended);
    // A stream that is cancelled does not wait for the calls before.
    const overtakes = name === 'cancel' && resource?.[held].isStream === true;
    const call = { id: ++this.#last, target, signal, overtakes };
    // The frames of who calls, for the errors that come from the other thread.
    Error.captureStackTrace(call, this.call);
    try {
      const sent = args.slice(0, signal ? -1 : undefined).map((arg, index) => this.#numbered(arg, name, index));
      const message = { id: call.id, target, name, args: sent };
      (overtakes ? this.#aside : this.#worker).postMessage(message);
    } catch (error) {
      return Promise.reject(error);
    }
    if (overtakes) this.#callsOf(target).forEach(({ id }) => this.#monitor.interrupt(id));
    return this.#expect(call);
  }

  release(resource) {
    this.#unreachable.unregister(resource);
    const { number, isStream } = resource[held];
    // Others may be in the midst of what somebody waits for.
    if (isStream) this.#callsOf(number).forEach((call) => this.#leave(call));
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

  /** The calls of a resource that are not answered. */
  #callsOf(resource) {
    return [...this.#pending.values()].filter(({ target }) => target === resource);
  }

  /** Ends a call: it may wait for others, or be the one that computes. */
  #leave({ id, overtakes }) {
    if (!overtakes && !this.#ended) this.#aside.postMessage({ skip: id });
    this.#monitor.interrupt(id);
  }

  #expect(call) {
    // What computes keeps the process alive, an idle component does not.
    this.#worker.ref();
    return new Promise((fulfil, reject) => {
      Object.assign(call, { fulfil, reject });
      this.#pending.set(call.id, call);
      call.abort = () => {
        reject(call.signal.reason);
        this.#leave(call);
      };
      this.#signals.add(call.signal, call.abort);
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
    if (call.signal?.aborted) {
      this.#drop({ number });
      return;
    }
    const { prototype } = this.classes.get(path);
    const resource = Object.create(prototype);
    const known = { number, isStream: 'next' in prototype };
    if (known.isStream && call.signal) {
      // The signal may live longer than the resource, and must not keep it.
      const weak = new WeakRef(resource);
      known.signal = call.signal;
      known.abort = () => {
        const resource = weak.deref();
        if (resource === undefined) return;
        this.#callsOf(number).forEach(({ reject }) => reject(known.signal.reason));
        this.release(resource);
      };
      this.#signals.add(known.signal, known.abort);
    }
    resource[held] = known;
    this.#unreachable.register(resource, known, resource);
    call.fulfil(resource);
  }

  #failed({ error, exit, payload, message }, call) {
    const failed =
      error ?? (exit === undefined ? new ComponentError(payload, message) : new ExitError(exit));
    // Programs may have stacks of another kind.
    const frames = typeof call.stack === 'string' ? call.stack.replace(/^.*\n?/, '') : '';
    if (frames && typeof failed.stack === 'string') {
      failed.stack = `${error ? failed.stack : `${failed.name}: ${failed.message}`}\n${frames}`;
    }
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
    this.#signals.delete(call.signal, call.abort);
    if (this.#pending.size === 0 && !this.#closing) this.#worker.unref();
  }

  #drop({ number, signal, abort }) {
    this.#signals.delete(signal, abort);
    if (!this.#ended) this.#worker.postMessage({ drop: number });
  }

  #end() {
    this.#ended = this.#error ?? new Error('the thread of the component has ended');
    computing.delete(this.#monitor);
    this.#monitor.end();
    this.#aside.close();
    this.#signals.clear();
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}

/** Threads do not take the flag `--input-type`, and otherwise have those of the process. */
function saysInputType(flags) {
  return flags.some((flag) => flag.startsWith('--input-type'));
}
