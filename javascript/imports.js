import { Registry } from './addon.js';
import { llmWasiNn } from './llm-wasi-nn.js';
import { wasiNn } from './wasi-nn.js';

/** The two packages, over one registry with these models. */
export function imports({ preload = [] } = {}) {
  const registry = new Registry(preload);
  return { ...wasiNn(registry), ...llmWasiNn(registry) };
}
