// `llm-wasi:nn@0.1.0`.

import { ComponentError, attempt } from './failure.js';
import { dispose, native } from './resource.js';
import { Graph, bytes } from './wasi-nn.js';

class Failure {
  #error;

  constructor(error) {
    this.#error = error;
  }

  code() {
    return this.#error.code;
  }

  message() {
    return this.#error.message;
  }
}

const call = (function_) => attempt(Failure, function_);

class ExecutionContext {
  constructor(context) {
    this[native] = context;
  }

  static open(graph) {
    return new ExecutionContext(call(() => graph[native].openContext()));
  }

  setInput(index, dimensions, ty, data) {
    call(() => this[native].setInput(index, dimensions, ty, bytes(data)));
  }

  compute() {
    call(() => this[native].compute());
  }

  computeStep() {
    call(() => this[native].computeStep());
  }

  finish() {
    call(() => this[native].finish());
  }

  describeOutput(index) {
    return call(() => this[native].describeOutput(index));
  }

  readOutput(index, max) {
    return read(() => this[native].readOutput(index, max));
  }

  readStepOutput(index, max) {
    return read(() => this[native].readStepOutput(index, max));
  }

  [dispose]() {
    this[native].dispose();
  }
}

/** The addon gives the bytes, or their number if there are too many: `read-error`. */
function read(output) {
  const found = attempt(Failure, output, (failure) => ({ tag: 'failed', val: failure }));
  if (typeof found === 'number') {
    throw new ComponentError({ tag: 'too-small', val: found }, `the output has ${found} bytes`);
  }
  return found;
}

const language = {
  describe: (graph) => call(() => graph[native].describe()),
  tokenize: (graph, text, special) => call(() => graph[native].tokenize(text, special)),
  detokenize: (graph, tokens) => call(() => graph[native].detokenize(tokens)),
  setPrompt: (context, tokens) => call(() => context[native].setPrompt(tokens)),
  contextLength: (context) => call(() => context[native].contextLength()),
  candidates: (context, most) => call(() => context[native].candidates(most)),
  generated: (context) => call(() => context[native].generated()),
  usage: (context) => call(() => context[native].usage()),
};

/** The package's interfaces over a registry. */
export function llmWasiNn(registry) {
  const load = (builders, encoding, target, configuration) =>
    new Graph(call(() => registry.load(Array.from(builders, bytes), encoding, target, configuration)));
  const loadByName = (name, configuration) =>
    new Graph(call(() => registry.loadByName(name, configuration)));
  return {
    'llm-wasi:nn/errors': { Error: Failure },
    'llm-wasi:nn/graph': { load, loadByName },
    'llm-wasi:nn/inference': { ExecutionContext },
    'llm-wasi:nn/language': { names: () => registry.names(), ...language },
  };
}
