// The engine on a thread of its own.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ComponentError, instantiate, open } from '../../javascript/index.js';

const engine = process.env.LLM_WASI_ENGINE;
const preload = [`default:GGML:CPU:${process.env.LLM_WASI_TINY}`];
// Its prompts take long enough to be left.
const slow = [{ name: 'default', encoding: 'GGML', target: 'CPU', path: process.env.LLM_WASI_SMOLLM2 }];
const long = 'Once upon a time there was a little girl. '.repeat(400);

async function opened(t, models = preload) {
  const component = await open(engine, { preload: models });
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
    assert.match(error.message, /^model-not-found: .*other.*default/);
    // Where it was called, too.
    assert.match(error.stack, /open\.test\.mjs/);
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

test('a cancelled prompt is left, and so is one whose signal is aborted', async (t) => {
  const { models, generation } = await opened(t, slow);
  const model = await models.Model.open('default', {});
  const stream = await generation.streamCompletion(model, long, {});
  const first = stream.next();
  // It has to be in the midst of the prompt, where nothing can be seen of it.
  await new Promise((later) => setTimeout(later, 300));
  await stream.cancel();
  const { tag, val } = await first;
  assert.equal(tag, 'finish');
  assert.equal(val.reason, 'cancelled');
  assert.equal(val.usage.generatedTokens, 0);

  const computing = new AbortController();
  const answer = generation.complete(model, long, {}, computing.signal);
  const waiting = new AbortController();
  const other = generation.complete(model, long, {}, waiting.signal);
  await new Promise((later) => setTimeout(later, 300));
  waiting.abort(new Error('not needed'));
  await assert.rejects(other, /^Error: not needed$/);
  computing.abort();
  await assert.rejects(answer, { name: 'AbortError' });
  await assert.rejects(generation.complete(model, 'a', {}, computing.signal), { name: 'AbortError' });
  // What was interrupted does not interrupt what follows.
  const { finish } = await generation.complete(model, 'Once', { limits: { maxTokens: 3 } });
  assert.equal(finish.usage.generatedTokens, 3);
});

test('what waits of a stream that is disposed of, or aborted, is not computed', async (t) => {
  const { models, generation } = await opened(t, slow);
  const model = await models.Model.open('default', {});
  const controller = new AbortController();
  const disposed = await generation.streamCompletion(model, long, {});
  const aborted = await generation.streamCompletion(model, long, {}, controller.signal);
  const first = generation.complete(model, 'Once', { limits: { maxTokens: 20 } });
  const waiting = Promise.allSettled([disposed.next(), aborted.next()]);
  disposed[Symbol.dispose]();
  controller.abort();
  const reasons = (await waiting).map(({ reason }) => String(reason));
  assert.deepEqual(reasons, ['Error: the call was left', 'AbortError: This operation was aborted']);
  assert.equal((await first).finish.usage.generatedTokens, 20);
  // Other resources do not end with the signal that their making had.
  const opening = new AbortController();
  const other = await models.Model.open('default', {}, opening.signal);
  opening.abort();
  assert.deepEqual(await other.tokenize('Once', false), await model.tokenize('Once', false));
  // What was cancelled before its first token was not said.
  const conversation = await generation.Conversation.begin(model, [], {});
  const message = { role: 'user', content: [{ tag: 'text', val: long }], toolCalls: [] };
  const said = new AbortController();
  const saying = conversation.say(message, {}, said.signal);
  await new Promise((later) => setTimeout(later, 300));
  said.abort();
  await assert.rejects(saying, { name: 'AbortError' });
  assert.deepEqual(await conversation.messages(), []);
});

test('many calls share a signal without a warning', async (t) => {
  const { models } = await opened(t);
  const warnings = [];
  const warn = (warning) => warnings.push(warning.message);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  const model = await models.Model.open('default', {});
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 20 }, () => model.count('a', signal)));
  await new Promise((later) => setImmediate(later));
  assert.deepEqual(warnings, []);
});

test('flags of the process, and stacks of another kind', () => {
  const program = `
    const { open } = await import(${JSON.stringify(new URL('../../javascript/index.js', import.meta.url).href)});
    Error.prepareStackTrace = (error, frames) => frames;
    const { models, close } = await open(${JSON.stringify(engine)});
    await models.Model.open('other', {}).catch((error) => console.log(error.payload.tag));
    await close();`;
  for (const flags of [[], ['--max-old-space-size=1000', '--expose-gc', '--title=x']]) {
    const { stdout, stderr } = spawnSync(process.execPath, [...flags, '--input-type=module', '-e', program]);
    assert.equal(`${stdout}`, 'model-not-found\n', `${flags} ${stderr}`);
  }
});

test('a signal ends the stream that it was given for', async (t) => {
  const { models, generation } = await opened(t);
  const model = await models.Model.open('default', {});
  const controller = new AbortController();
  const stream = await generation.streamCompletion(model, 'a', {}, controller.signal);
  await assert.rejects(
    async () => {
      for await (const event of stream) {
        assert.equal(event.tag, 'text');
        controller.abort();
      }
    },
    { name: 'AbortError' },
  );
});

test('an iteration that is left before it begins disposes of the stream', async (t) => {
  const { models, generation } = await opened(t);
  const model = await models.Model.open('default', {});
  const conversation = await generation.Conversation.begin(model, [], {});
  const message = { role: 'user', content: [{ tag: 'text', val: 'a' }], toolCalls: [] };
  const stream = await conversation.streamAnswer(message, { limits: { maxTokens: 3 } });
  const iterator = stream[Symbol.asyncIterator]();
  assert.deepEqual(await iterator.return(), { done: true, value: undefined });
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
  // Else the conversation would be busy.
  await conversation.say(message, { limits: { maxTokens: 3 } });
});

test('what breaks a component loses no answer', async () => {
  const { things, close } = await open(new URL('fake.mjs', import.meta.url));
  const thing = await things.Thing.make();
  const answers = Array.from({ length: 50 }, (_, number) => thing.count(number));
  thing[Symbol.dispose]();
  assert.deepEqual(await Promise.all(answers), [...answers.keys()]);
  await assert.rejects(things.Thing.make(), /cannot be used any more, open it anew: unreachable/);
  await close();
  const again = await open(new URL('fake.mjs', import.meta.url));
  await assert.rejects(again.things.uncloneable(), /could not be cloned/);
  await again.close();
});

test('arguments that make no sense are told', async (t) => {
  const { models } = await opened(t);
  assert.throws(() => new models.Model(), /models\.Model: expected a function that gives one/);
  await assert.rejects(models.Model.open(Promise.resolve('default'), {}), /argument 1: .*found a promise/);
  const wrong = [
    [undefined, {}, /expected the path or the URL of a transpiled component, found undefined/],
    ['engine.wasm', {}, /found WebAssembly: .*engine\.wasm\. Transpile it first/],
    [engine, null, /expected an object with options, found null/],
    [engine, { preloads: [] }, /expected the options preload, found preloads/],
    [engine, { preload: preload[0] }, /preload: expected a list of models, found string/],
    [engine, { preload: [undefined] }, /preload\[0\]: expected NAME:ENCODING:TARGET:PATH or an object/],
    [engine, { preload: [...preload, ...slow] }, /preload\[1\]: expected another name, found default again/],
    [engine, { preload: [{ name: 'a' }] }, /preload\[0\]\.path: expected a path or a list of paths/],
    [engine, { preload: [{ ...slow[0], encoding: 'GGUF' }] }, /GGUF/],
    [engine, { imports: {} }, /open takes no imports.*use instantiate/],
  ];
  for (const [file, options, message] of wrong) await assert.rejects(open(file, options), message);
  await assert.rejects(instantiate(new URL('../../javascript/open.js', import.meta.url)), /found another module/);
});

test('errors on this thread are of the same class, and names of imports may have versions', async () => {
  const told = [];
  const getRandomBytes = (length) => {
    told.push(length);
    return new Uint8Array(Number(length));
  };
  const { models, generation } = await instantiate(pathToFileURL(engine), {
    preload,
    imports: { 'wasi:random/random@0.2.12': { getRandomBytes, getRandomU64: () => 7n } },
  });
  assert.throws(() => models.Model.open('other', {}), (error) => error instanceof ComponentError);
  assert.ok(!(new TypeError('no') instanceof ComponentError));
  class Own extends ComponentError {}
  assert.ok(!(new ComponentError('other') instanceof Own));
  assert.ok(new Own('own') instanceof ComponentError);
  generation.complete(models.Model.open('default', {}), 'a', { limits: { maxTokens: 2 } });
});
