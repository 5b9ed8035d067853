// Asks a model, and prints its answer as it comes.

import { getArguments } from "wasi:cli/environment@0.2.0";
import { getStderr } from "wasi:cli/stderr@0.2.0";
import { getStdout } from "wasi:cli/stdout@0.2.0";
import { streamChat } from "llm-wasi:llm/generation@0.1.0";
import { Model } from "llm-wasi:llm/models@0.1.0";

const encoder = new TextEncoder();

function print(stream, text) {
  const bytes = encoder.encode(text);
  // A stream takes at most 4,096 bytes at once.
  for (let at = 0; at < bytes.length; at += 4096) {
    stream.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
  }
}

function ask(question) {
  const model = Model.open(undefined, {});
  const message = { role: "user", content: [{ tag: "text", val: question }], toolCalls: [] };
  const stream = streamChat(model, [message], {});
  for (let event; (event = stream.next()); ) {
    switch (event.tag) {
      case "text":
        print(getStdout(), event.val.text);
        break;
      case "tool-call":
        print(getStdout(), `${event.val.name}(${event.val.arguments})`);
        break;
      case "finish":
        print(getStdout(), "\n");
        print(getStderr(), `${speed(event.val.usage)}\n`);
    }
  }
}

function speed({ generatedTokens, firstTokenTime, totalTime }) {
  const seconds = Number(totalTime - firstTokenTime) / 1e6;
  const rate = Math.max(generatedTokens - 1, 0) / seconds;
  return `${generatedTokens} tokens, ${rate.toFixed(1)} per second`;
}

export const run = {
  run() {
    const [, ...words] = getArguments();
    try {
      ask(words.join(" "));
    } catch (error) {
      // What is no error of the interface is a mistake here.
      if (!error.payload?.tag) throw error;
      const { tag, val } = error.payload;
      print(getStderr(), `error: ${tag.replaceAll("-", " ")}: ${JSON.stringify(val ?? "")}\n`);
      throw undefined;
    }
  },
};
