import { Registry } from './addon.js';
import { llmWasiNn } from './llm-wasi-nn.js';
import { known, models } from './options.js';
import { wasiNn } from './wasi-nn.js';

/** The two packages, over one registry with these models. */
export function imports(options = {}) {
  known(options, ['preload']);
  return over(models(options.preload));
}

/** The same of models that were checked; a monitor ends what is computed. */
export function over(preload, monitor) {
  const registry = new Registry(preload, monitor);
  return { ...wasiNn(registry), ...llmWasiNn(registry) };
}
