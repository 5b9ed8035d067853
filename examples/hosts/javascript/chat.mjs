// Answers a question with a language model: node chat.mjs MODEL.gguf "QUESTION"
//
// The engine component, transpiled into the folder engine, runs on a thread of its own. This thread prints the
// answer as it comes, and is free meanwhile.

import { ComponentError, open } from '@llm-wasi/host';
import { fileURLToPath } from 'node:url';

const [file, question] = process.argv.slice(2);
if (question === undefined) {
  console.error('usage: node chat.mjs MODEL.gguf "QUESTION"');
  process.exit(2);
}

/** A text as it is, records as `field: value`. */
const told = (val) =>
  typeof val === 'object' ? Object.entries(val).map(([field, value]) => `${field}: ${value}`).join(', ') : val;

const engine = fileURLToPath(new URL('engine/engine.js', import.meta.url));
const { models, generation, close } = await open(engine, { preload: [`default:GGML:AUTO:${file}`] });
try {
  const model = await models.Model.open('default', {});
  const message = { role: 'user', content: [{ tag: 'text', val: question }], toolCalls: [] };
  const stream = await generation.streamChat(model, [message], { limits: { maxTokens: 200 } });
  for await (const event of stream) {
    if (event.tag === 'text') {
      process.stdout.write(event.val.text);
    } else if (event.tag === 'finish') {
      const { promptTokens, generatedTokens } = event.val.usage;
      console.log();
      console.error(`${promptTokens} + ${generatedTokens} tokens, ${event.val.reason}`);
    }
  }
} catch (error) {
  if (!(error instanceof ComponentError)) throw error;
  // What went wrong, as the interface names it, with its text, counts or names.
  const { tag, val } = error.payload;
  console.error(`the engine failed: ${tag}${val === undefined ? '' : `: ${told(val)}`}`);
  process.exitCode = 1;
} finally {
  await close();
}
