import { known, located, models } from './options.js';
import { dispose } from './resource.js';
import { Thread, held } from './thread.js';

/**
 * Instantiates a transpiled component on a thread of its own, so that what it computes does not block this
 * one. What it exports is here as functions that give promises.
 */
export async function open(file, options = {}) {
  if (options?.imports !== undefined) {
    throw new TypeError('open takes no imports, since functions cannot travel to its thread: use instantiate');
  }
  known(options, ['preload']);
  const thread = new Thread(located(file), models(options.preload));
  const close = () => thread.close();
  const component = { close, [Symbol.asyncDispose]: close };
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
    constructor() {
      throw new TypeError(`${path}: expected a function that gives one, found \`new\``);
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
      return thread.call(this[held].number, name, args, this);
    };
  }
  // A method `next` gives options: until there is none.
  if (methods.includes('next')) {
    Resource.prototype[Symbol.asyncIterator] = function () {
      return iterator(this);
    };
  }
  return Resource;
}

/** Goes through what `next` gives, and disposes of the resource at the end, also of one that was never asked. */
function iterator(resource) {
  let ended = false;
  const end = (value) => {
    ended = true;
    resource[dispose]();
    return { done: true, value };
  };
  return {
    async next() {
      if (ended) return { done: true, value: undefined };
      try {
        const value = await resource.next();
        return value === undefined ? end() : { done: false, value };
      } catch (error) {
        end();
        throw error;
      }
    },
    async return(value) {
      return end(value);
    },
    async throw(error) {
      end();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
