// `wasi:nn@0.2.0-rc-2024-10-28`.

import { codeInWasiNn } from './addon.js';
import { attempt } from './failure.js';
import { dispose, native } from './resource.js';

class Tensor {
  #dimensions;
  #ty;
  #data;

  constructor(dimensions, ty, data) {
    this.#dimensions = dimensions;
    this.#ty = ty;
    this.#data = data;
  }

  dimensions() {
    return this.#dimensions;
  }

  ty() {
    return this.#ty;
  }

  data() {
    return this.#data;
  }
}

class Failure {
  #error;

  constructor(error) {
    this.#error = error;
  }

  code() {
    return codeInWasiNn(this.#error.code);
  }

  data() {
    return this.#error.message;
  }
}

class GraphExecutionContext {
  constructor(context) {
    this[native] = context;
  }

  compute(inputs) {
    // The addon reads memory while it looks into the objects: these run nobody's code.
    const named = Array.from(inputs, ([name, tensor]) => ({
      name: String(name),
      dimensions: Uint32Array.from(tensor.dimensions()),
      ty: String(tensor.ty()),
      data: bytes(tensor.data()),
    }));
    return attempt(Failure, () => this[native].computeNamed(named)).map((output) => [
      output.name,
      new Tensor(output.dimensions, output.ty, output.data),
    ]);
  }

  [dispose]() {
    this[native].dispose();
  }
}

/** Bytes that no other thread writes to. */
export function bytes(data) {
  if (!(data instanceof Uint8Array)) throw new TypeError(`expected a Uint8Array, found ${typeof data}`);
  return data.buffer instanceof SharedArrayBuffer ? Uint8Array.from(data) : data;
}

/** The graph of both packages. */
export class Graph {
  constructor(graph) {
    this[native] = graph;
  }

  initExecutionContext() {
    return new GraphExecutionContext(attempt(Failure, () => this[native].openContext()));
  }

  [dispose]() {
    this[native].dispose();
  }
}

/** The package's interfaces over a registry. */
export function wasiNn(registry) {
  const load = (builders, encoding, target) =>
    new Graph(attempt(Failure, () => registry.load(Array.from(builders, bytes), encoding, target)));
  const loadByName = (name) => new Graph(attempt(Failure, () => registry.loadByName(name)));
  return {
    'wasi:nn/tensor': { Tensor },
    'wasi:nn/errors': { Error: Failure },
    'wasi:nn/graph': { Graph, load, loadByName },
    'wasi:nn/inference': { GraphExecutionContext },
  };
}
