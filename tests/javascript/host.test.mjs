// The two packages as a component sees them, without a component: what comes back, and each wrong input.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComponentError, imports } from '../../javascript/index.js';

const dispose = Symbol.dispose ?? Symbol.for('dispose');
const host = imports({
  preload: [
    `tiny:GGML:CPU:${process.env.LLM_WASI_TINY}`,
    `double:ONNX:CPU:${process.env.LLM_WASI_DOUBLE}`,
    'absent:GGML:CPU:absent.gguf',
  ],
});
const { Tensor } = host['wasi:nn/tensor'];
const { Error: WasiError } = host['wasi:nn/errors'];
const wasiGraph = host['wasi:nn/graph'];
const { Error: ExtensionError } = host['llm-wasi:nn/errors'];
const graph = host['llm-wasi:nn/graph'];
const { ExecutionContext } = host['llm-wasi:nn/inference'];
const language = host['llm-wasi:nn/language'];

/** The call fails with a resource of the class; its code and text are as expected. */
function fails(call, Failure, code, text) {
  assert.throws(call, (error) => {
    assert.ok(error instanceof ComponentError, String(error));
    assert.ok(error.payload instanceof Failure);
    const message = Failure === WasiError ? error.payload.data() : error.payload.message();
    assert.equal(error.payload.code(), code, message);
    assert.match(message, text);
    assert.equal(error.message, message);
    return true;
  });
}

const floats = (...numbers) => new Uint8Array(new Float32Array(numbers).buffer);
const tensor = (...numbers) => new Tensor(Uint32Array.of(1, numbers.length), 'FP32', floats(...numbers));
const text = (words) => new TextEncoder().encode(words);

test('a text that names no model is refused with what was expected', () => {
  assert.throws(() => imports({ preload: ['tiny'] }), /expected NAME:ENCODING:TARGET:PATH.*found `tiny`/);
  assert.throws(() => imports({ preload: ['tiny:GGUF:CPU:x'] }), /expected one of OpenVINO.*found `GGUF`/);
});

test('wasi:nn computes by name', () => {
  const context = wasiGraph.loadByName('double').initExecutionContext();
  for (const name of ['x', '0']) {
    const outputs = context.compute([[name, tensor(1, 2, 3)]]);
    assert.equal(outputs.length, 1);
    const [[, output]] = outputs;
    assert.deepEqual([...output.dimensions()], [1, 3]);
    assert.equal(output.ty(), 'FP32');
    assert.deepEqual(output.data(), floats(2, 4, 6));
  }
});

test('wasi:nn: each wrong input is an error of its own', () => {
  const { loadByName, load } = wasiGraph;
  fails(() => loadByName('other'), WasiError, 'not-found', /no model is called `other`: this host has `absent`/);
  // `model-not-found` is a code of the extension alone.
  fails(() => loadByName('absent'), WasiError, 'not-found', /expected a file at absent\.gguf/);
  fails(() => load([], 'onnx', 'cpu'), WasiError, 'invalid-argument', /at least one file/);
  fails(() => load([text('x')], 'onnx', 'cpu'), WasiError, 'invalid-argument', /ONNX/i);
  fails(() => load([text('x')], 'pytorch', 'cpu'), WasiError, 'invalid-encoding', /found PyTorch/);
  const context = loadByName('double').initExecutionContext();
  fails(() => context.compute([['z', tensor(1, 2, 3)]]), WasiError, 'not-found', /`z`/);
  fails(() => context.compute([['x', tensor(1, 2)]]), WasiError, 'invalid-argument', /expected.*found/s);
  const short = new Tensor(Uint32Array.of(1, 3), 'FP32', floats(1, 2));
  fails(() => context.compute([['x', short]]), WasiError, 'invalid-argument', /expected.*found/s);
});

test('llm-wasi:nn keeps inputs and reads outputs by index', () => {
  const context = ExecutionContext.open(graph.loadByName('double', undefined));
  fails(() => context.compute(), ExtensionError, 'invalid-argument', /input/);
  assert.throws(
    () => context.readOutput(0, 100),
    ({ payload }) => payload.tag === 'failed' && payload.val.code() === 'runtime-error',
  );
  const wrongType = () => context.setInput(0, Uint32Array.of(2, 3), 'U8', text('abcdef'));
  fails(wrongType, ExtensionError, 'invalid-argument', /expected f32.*found u8/s);
  context.setInput(0, Uint32Array.of(2, 3), 'FP32', floats(1, 2, 3, 4, 5, 6));
  context.compute();
  const { dimensions, ty, size } = context.describeOutput(0);
  assert.deepEqual([[...dimensions], ty, size], [[2, 3], 'FP32', 24n]);
  assert.throws(
    () => context.readOutput(0, 23),
    ({ payload }) => payload.tag === 'too-small' && payload.val === 24,
  );
  assert.deepEqual(context.readOutput(0, 24), floats(2, 4, 6, 8, 10, 12));
  fails(() => context.computeStep(), ExtensionError, 'unsupported-operation', /steps/);
  fails(() => language.usage(context), ExtensionError, 'unsupported-operation', /language model/);
});

test('a language model by its tokens', () => {
  assert.deepEqual(language.names(), ['absent', 'double', 'tiny']);
  const model = graph.loadByName('tiny', undefined);
  const description = language.describe(model);
  assert.equal(description.architecture, 'llama');
  assert.equal(typeof description.parameters, 'bigint');
  assert.equal(description.chatTemplate, undefined);
  assert.deepEqual(language.tokenize(model, 'ab', false), Uint32Array.of(97, 98));
  assert.deepEqual(language.detokenize(model, Uint32Array.of(97, 98)), text('ab'));
  const context = ExecutionContext.open(model);
  assert.equal(language.contextLength(context), 512);
  language.setPrompt(context, Uint32Array.of(97));
  context.computeStep();
  const [chosen, top] = language.candidates(context, 2);
  assert.equal(top.length, 2);
  assert.ok(top[0].logprob >= top[1].logprob);
  assert.deepEqual(language.generated(context), Uint32Array.of(chosen.token));
  assert.deepEqual(context.readStepOutput(0, 100), chosen.bytes);
  const usage = { promptTokens: 1, cachedTokens: 0, generatedTokens: 1 };
  assert.deepEqual({ ...language.usage(context) }, usage);
  context.finish();
});

test('llm-wasi:nn: each wrong input is an error of its own', () => {
  fails(() => graph.loadByName('tiny', '{'), ExtensionError, 'invalid-encoding', /expected the options as a JSON object/);
  fails(() => graph.loadByName('absent', undefined), ExtensionError, 'model-not-found', /absent\.gguf/);
  const model = graph.loadByName('tiny', undefined);
  fails(() => language.detokenize(model, Uint32Array.of(1e6)), ExtensionError, 'invalid-argument', /token/);
  const context = ExecutionContext.open(model);
  fails(() => context.setInput(7, Uint32Array.of(1), 'U8', text('a')), ExtensionError, 'invalid-argument', /input/);
  fails(() => context.setInput(1, Uint32Array.of(1), 'U8', text('{')), ExtensionError, 'invalid-encoding', /JSON/);
  fails(() => language.setPrompt(context, Uint32Array.of(1e6)), ExtensionError, 'invalid-argument', /token/);
  // What no component passes, since jco checks types, is JavaScript's own error.
  assert.throws(() => context.setInput(0, 'x', 'U8', text('a')), (error) => !(error instanceof ComponentError));
  assert.throws(() => context.setInput(0, Uint32Array.of(1), 'U9', text('a')), /U9/);
});

test('what was disposed of is an error, again and again', () => {
  const model = graph.loadByName('tiny', undefined);
  const context = ExecutionContext.open(model);
  // The context keeps what it needs of the graph.
  model[dispose]();
  model[dispose]();
  assert.ok(language.contextLength(context) > 0);
  context[dispose]();
  context[dispose]();
  for (let i = 0; i < 2; i++) {
    fails(() => context.computeStep(), ExtensionError, 'invalid-argument', /expected a context that is in use/);
    fails(() => language.describe(model), ExtensionError, 'invalid-argument', /expected a graph that is in use/);
    fails(() => model.initExecutionContext(), WasiError, 'invalid-argument', /expected a graph that is in use/);
  }
});

test('a thousand contexts leave no memory behind', () => {
  const model = graph.loadByName('tiny', undefined);
  const use = (times) => {
    for (let i = 0; i < times; i++) {
      const context = ExecutionContext.open(model);
      language.setPrompt(context, Uint32Array.of(97));
      context.computeStep();
      context[dispose]();
    }
    return process.memoryUsage.rss();
  };
  const before = use(200);
  const grown = use(1000) - before;
  assert.ok(grown < 32 << 20, `1,000 contexts left ${grown} bytes behind`);
});
