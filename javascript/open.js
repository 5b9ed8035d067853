import { dispose } from './resource.js';
import { Thread, number } from './thread.js';

/**
 * Instantiates a transpiled component on a thread of its own, so that what it computes does not block this
 * one. What it exports is here as functions that give promises.
 */
export async function open(file, options = {}) {
  const thread = new Thread(file, options);
  const component = { close: () => thread.close() };
  for (const [name, members] of Object.entries(await thread.interfaces)) {
    component[name] = {};
    for (const [member, description] of Object.entries(members)) {
      component[name][member] =
        description === null
          ? (...args) => thread.call(name, member, args)
          : resourceClass(thread, `${name}.${member}`, description);
    }
  }
  return component;
}

function resourceClass(thread, path, { functions, methods }) {
  class Resource {
    constructor(resource) {
      this[number] = resource;
    }

    [dispose]() {
      thread.release(this);
    }
  }
  thread.classes.set(path, Resource);
  for (const name of functions) {
    Resource[name] = (...args) => thread.call(path, name, args);
  }
  for (const name of methods) {
    Resource.prototype[name] = function (...args) {
      return thread.call(this[number], name, args);
    };
  }
  // A method `next` gives options: until there is none.
  if (methods.includes('next')) {
    Resource.prototype[Symbol.asyncIterator] = async function* () {
      try {
        for (let item; (item = await this.next()) !== undefined; ) yield item;
      } finally {
        this[dispose]();
      }
    };
  }
  return Resource;
}
