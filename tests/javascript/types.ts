// Is checked and never run: what index.d.ts says of the engine. `run.sh` puts it beside the transpiled engine.

import { ComponentError, ExitError, instantiate, open } from '@llm-wasi/host';
import type { Root } from './engine/engine.js';
import type { Message } from './engine/interfaces/llm-wasi-llm-generation.js';

await using component = await open<Root>(new URL('engine/engine.js', import.meta.url), {
  preload: [{ name: 'default', path: ['model.gguf'] }, 'other:GGML:CPU:model.gguf'],
});
const { models, generation } = component;
const signal = AbortSignal.timeout(1000);
const model = await models.Model.open('default', {}, signal);
const message: Message = { role: 'user', content: [{ tag: 'text', val: 'Hello' }], toolCalls: [] };
const stream = await generation.streamChat(model, [message], { limits: { maxTokens: 3 } }, signal);
for await (const event of stream) {
  if (event.tag === 'text') process.stdout.write(event.val.text);
}
const count: number = (await model.count('some words')) + (await model.count('some words', signal));
try {
  const here = await instantiate<Root>('engine/engine.js');
  const text: string = here.generation.chat(here.models.Model.open(undefined, {}), [message], {}).text;
} catch (error) {
  if (error instanceof ComponentError) console.log(error.payload, count);
  else if (error instanceof ExitError) console.log(error.code);
}

// @ts-expect-error: an unknown option
await generation.chat(model, [message], { maxTokens: 3 });
// @ts-expect-error: one argument too many
await model.count('some words', signal, 3);
// @ts-expect-error: an interface of types alone
component.types;
// @ts-expect-error: a pollable cannot travel
stream.subscribe;
// @ts-expect-error: functions cannot travel
await open('engine/engine.js', { imports: {} });
// @ts-expect-error: resources come from functions
new models.Model();
