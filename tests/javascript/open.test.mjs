// The engine on a thread of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComponentError, instantiate, open } from '../../javascript/index.js';

const engine = process.env.LLM_WASI_ENGINE;
const preload = [`default:GGML:CPU:${process.env.LLM_WASI_TINY}`];

async function opened(t) {
  const component = await open(engine, { preload });
  t.after(() => component.close());
  return component;
}

test('a stream is an async iterable, and this thread stays free', async (t) => {
  const { models, generation } = await opened(t);
  const model = await models.Model.open(undefined, {});
  const stream = await generation.streamCompletion(model, 'a', { limits: { maxTokens: 300 } });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  let text = '';
  let finish;
  for await (const event of stream) {
    if (event.tag === 'text') text += event.val.text;
    if (event.tag === 'finish') finish = event.val;
  }
  clearInterval(timer);
  assert.equal(text.length, 300);
  assert.equal(finish.reason, 'length');
  assert.equal(finish.usage.generatedTokens, 300);
  assert.equal(typeof finish.usage.totalTime, 'bigint');
  assert.ok(ticks > 5, `${ticks} ticks`);
  await assert.rejects(stream.next(), /expected a resource that is in use/);
});

test('one who stops iterating, or cancels, gets no more', async (t) => {
  const { models, generation } = await opened(t);
  const model = await models.Model.open('default', {});
  const left = await generation.streamCompletion(model, 'a', {});
  for await (const event of left) {
    assert.equal(event.tag, 'text');
    break;
  }
  await assert.rejects(left.next(), /expected a resource that is in use/);
  const cancelled = await generation.streamCompletion(model, 'a', {});
  await cancelled.next();
  await cancelled.cancel();
  const events = [];
  for await (const event of cancelled) events.push(event);
  assert.deepEqual(events.map(({ tag }) => tag), ['finish']);
  assert.equal(events[0].val.reason, 'cancelled');
});

test('an error of the engine is thrown with the payload that the interface names', async (t) => {
  const { models } = await opened(t);
  await assert.rejects(models.Model.open('other', {}), (error) => {
    assert.ok(error instanceof ComponentError);
    assert.equal(error.payload.tag, 'model-not-found');
    assert.deepEqual(error.payload.val.available, ['default']);
    return true;
  });
  // The component still works.
  assert.deepEqual(await models.listNames(), ['default']);
});

test('what cannot travel between threads is an error', async (t) => {
  const first = await opened(t);
  const second = await opened(t);
  const model = await first.models.Model.open('default', {});
  const stream = await first.generation.streamCompletion(model, 'a', {});
  await assert.rejects(stream.subscribe(), /subscribe gives a resource of another component/);
  await assert.rejects(second.generation.streamCompletion(model, 'a', {}), /expected a resource of this component/);
});

test('calls after the end, and before a beginning that fails, are rejected', async () => {
  const component = await open(engine, { preload });
  const model = await component.models.Model.open(undefined, {});
  const pending = model.count('some words');
  await component.close();
  await Promise.allSettled([pending]);
  await assert.rejects(model.count('some words'), /the thread of the component has ended/);
  await assert.rejects(open('nothing.js'), /nothing\.js/);
  await assert.rejects(open(engine, { preload: ['default'] }), /expected NAME:ENCODING:TARGET:PATH/);
});

test('the same component on this thread', async () => {
  const { models } = await instantiate(engine, { preload });
  const model = models.Model.open(undefined, {});
  assert.deepEqual(model.tokenize('ab', false), Uint32Array.of(97, 98));
});
