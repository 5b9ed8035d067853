// The thread of `open`: instantiates the component and makes the calls that thread.js sends.

import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Monitor } from './addon.js';
import { ExitError } from './failure.js';
import { instance } from './instantiate.js';
import { dispose } from './resource.js';

const { url, preload, monitor: number, aside } = workerData;
const monitor = Monitor.of(number);
const resources = new Map();
let last = 0;
/** Calls to come that nobody waits for any more, and the last one that came. */
const skipped = new Set();
let latest = 0;
/** Why the component cannot be used any more. */
let broken;

// What can be called, by its path: interfaces and the classes of their resources.
const targets = new Map();
const paths = new Map();
const interfaces = {};
for (const [name, members] of Object.entries(await instance(new URL(url), { preload }, monitor))) {
  // jco exports each interface under its short and under its full name.
  if (name.includes(':')) continue;
  targets.set(name, members);
  interfaces[name] = {};
  for (const [member, value] of Object.entries(members)) {
    // In jco's output only classes begin with a capital letter.
    if (!/^[A-Z]/.test(member)) {
      interfaces[name][member] = null;
      continue;
    }
    targets.set(`${name}.${member}`, value);
    paths.set(value, `${name}.${member}`);
    interfaces[name][member] = {
      functions: Object.keys(value),
      methods: Object.getOwnPropertyNames(value.prototype).filter((method) => method !== 'constructor'),
    };
  }
}

function held(resource) {
  const found = resources.get(resource);
  if (found === undefined) throw new Error('expected a resource that is in use, found one that was disposed of');
  return found;
}

/** Runs something of the component's. What traps leaves it in the midst of something. */
function enter(function_) {
  if (broken !== undefined) {
    throw new Error(`the component cannot be used any more, open it anew: ${broken.message}`);
  }
  try {
    return function_();
  } catch (error) {
    const trapped =
      error instanceof WebAssembly.RuntimeError ||
      error instanceof ExitError ||
      (error instanceof RangeError && /call stack/.test(error.message));
    if (trapped) broken = error;
    throw error;
  }
}

function call({ id, target, name, args }) {
  const receiver = typeof target === 'number' ? held(target) : targets.get(target);
  const values = args.map((arg) => (arg.resource ? held(arg.resource) : arg.value));
  monitor.begin(id);
  let value;
  try {
    value = enter(() => receiver[name](...values));
  } finally {
    monitor.done(id);
  }
  const path = paths.get(value?.constructor);
  if (path !== undefined) {
    resources.set(++last, value);
    return { resource: last, path };
  }
  if (value?.[dispose]) {
    value[dispose]();
    throw new Error(`${name} gives a resource of another component, which cannot leave its thread`);
  }
  return { value };
}

function drop(resource) {
  const found = resources.get(resource);
  resources.delete(resource);
  try {
    if (found !== undefined) enter(() => found[dispose]());
  } catch {
    // Who dropped it does not wait; the next call is told what has broken the component.
  }
}

/** An error of the component has a payload; by an option of jco it is the payload. */
function failureOf(error) {
  if (error instanceof ExitError) return { exit: error.code };
  if (!(error instanceof Error)) return { payload: error };
  if (!('payload' in error)) return { error };
  // jco says no more than that there is a payload.
  const says = !error.message.endsWith('(see error.payload)');
  return { payload: error.payload, message: says ? error.message : undefined };
}

function send(message) {
  try {
    parentPort.postMessage(message);
  } catch (error) {
    parentPort.postMessage({ id: message.id, failure: { error: new Error(`${error.message}`) } });
  }
}

function answer(message) {
  try {
    send({ id: message.id, ...call(message) });
  } catch (error) {
    send({ id: message.id, failure: failureOf(error) });
  }
}

function hear(message) {
  if (!('skip' in message)) answer(message);
  else if (message.skip > latest) skipped.add(message.skip);
}

/** What came aside while something was computed. */
function hearAside() {
  for (let received; (received = receiveMessageOnPort(aside)) !== undefined; ) hear(received.message);
}

aside.on('message', hear);
aside.unref();
parentPort.on('message', (message) => {
  hearAside();
  if ('drop' in message) {
    drop(message.drop);
    return;
  }
  latest = message.id;
  if (skipped.delete(message.id)) {
    monitor.done(message.id);
    send({ id: message.id, failure: { error: new Error('the call was left') } });
  } else {
    answer(message);
  }
});
parentPort.postMessage({ id: 0, value: interfaces });
