// The thread of `open`: instantiates the component and makes the calls that thread.js sends.

import { parentPort, workerData } from 'node:worker_threads';
import { instantiate } from './instantiate.js';
import { dispose } from './resource.js';

const resources = new Map();
let last = 0;

// What can be called, by its path: interfaces and the classes of their resources.
const targets = new Map();
const paths = new Map();
const interfaces = {};
for (const [name, members] of Object.entries(await instantiate(workerData.file, workerData.options))) {
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

function call({ target, name, args }) {
  const receiver = typeof target === 'number' ? held(target) : targets.get(target);
  const value = receiver[name](...args.map((arg) => (arg.resource ? held(arg.resource) : arg.value)));
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
  resources.get(resource)?.[dispose]();
  resources.delete(resource);
}

/** An error of the component has a payload; by an option of jco it is the payload. */
function failureOf(error) {
  if (!(error instanceof Error)) return { payload: error, message: 'the component failed' };
  return 'payload' in error ? { payload: error.payload, message: error.message } : { error };
}

parentPort.on('message', (message) => {
  if ('drop' in message) {
    drop(message.drop);
    return;
  }
  try {
    parentPort.postMessage({ id: message.id, ...call(message) });
  } catch (error) {
    parentPort.postMessage({ id: message.id, failure: failureOf(error) });
  }
});
parentPort.postMessage({ id: 0, value: interfaces });
