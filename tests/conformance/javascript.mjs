// Runs cases.json against the engine on Node.js: node javascript.mjs ENGINE.js
//
// ENGINE.js is the engine with the file's configuration, transpiled. The models are the files that LLM_WASI_TINY,
// LLM_WASI_TOOLS and LLM_WASI_SMOLLM2 name. Prints `N passed, N failed` last.

import { readFile } from 'node:fs/promises';
import { ComponentError, open } from '../../javascript/index.js';

const MODELS = { tiny: 'LLM_WASI_TINY', tools: 'LLM_WASI_TOOLS', smollm2: 'LLM_WASI_SMOLLM2' };
/** Fields that differ from run to run. */
const TIMES = ['firstTokenTime', 'totalTime'];
/** By how much numbers with a fraction may differ. */
const TOLERANCE = 0.02;
const FUNCTION = /^([^.]+)\.(?:\[(static|method)\]([^.]+)\.)?([^.]+)$/;

/** Makes the steps of a case; throws at the first one that does not give what is expected. */
async function run(component, steps) {
  const bound = new Map();
  const lookUp = (name) => {
    if (!bound.has(name)) throw new Error(`no earlier step gives ${name}`);
    return bound.get(name);
  };
  for (const [index, step] of steps.entries()) {
    if (step.drop !== undefined) {
      lookUp(step.drop)[Symbol.dispose]();
      continue;
    }
    const isName = (arg) => typeof arg === 'string' && arg.startsWith('$');
    const args = step.args.map((arg) => (isName(arg) ? lookUp(arg) : (arg ?? undefined)));
    const place = `step ${index}, ${step.call}`;
    const outcome = step.all ? await callAll(component, step.call, args) : await call(component, step.call, args);
    if (step.as !== undefined) {
      if (outcome.tag === 'err') throw new Error(`${place}: found ${JSON.stringify(plain(outcome))}`);
      bound.set(`$${step.as}`, outcome.val);
      continue;
    }
    // jco gives the value of a result alone, as it gives other values: what is expected tells which it is.
    const isResult = outcome.tag === 'err' || ['ok', 'err'].includes(step.result?.tag);
    const difference = differ(plain(step.result), plain(isResult ? outcome : outcome.val), 'result');
    if (difference) throw new Error(`${place}: ${difference}`);
  }
}

/** Calls `interface.function`, `interface.[static]resource.function` or `interface.[method]resource.function`. */
async function call(component, path, args) {
  const [, interface_, kind, resource, name] = FUNCTION.exec(path);
  const members = component[camel(interface_)];
  const target = kind === 'static' ? members[camel(`-${resource}`)] : kind === 'method' ? args[0] : members;
  try {
    return { tag: 'ok', val: await target[camel(name)](...(kind === 'method' ? args.slice(1) : args)) };
  } catch (error) {
    if (!(error instanceof ComponentError)) throw error;
    return { tag: 'err', val: error.payload };
  }
}

/** Calls until there is none, or an error: the list of what came before, with the error. */
async function callAll(component, path, args) {
  const all = [];
  for (;;) {
    const outcome = await call(component, path, args);
    if (outcome.tag === 'ok' && outcome.val === undefined) return { tag: 'ok', val: all };
    all.push(outcome.tag === 'ok' ? outcome.val : outcome);
    if (outcome.tag === 'err') return { tag: 'ok', val: all };
  }
}

function camel(name) {
  return name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
}

/** A value as JSON has it, without the fields that differ from run to run. */
function plain(value) {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, plain);
  if (typeof value !== 'object' || value === null) return value ?? null;
  const fields = Object.entries(value).filter(([name, field]) => !TIMES.includes(name) && field !== undefined);
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field)]));
}

/** The first difference, in words. */
function differ(expected, found, path) {
  if (Array.isArray(expected) === Array.isArray(found) && isObject(expected) && isObject(found)) {
    for (const name of new Set([...Object.keys(expected), ...Object.keys(found)])) {
      const difference = differ(expected[name], found[name], `${path}.${name}`);
      if (difference) return difference;
    }
    return undefined;
  }
  if (expected === found) return undefined;
  const isFraction = typeof expected === 'number' && typeof found === 'number' && !Number.isInteger(expected - found);
  if (isFraction && Math.abs(expected - found) <= TOLERANCE) return undefined;
  return `expected ${JSON.stringify(expected)} at ${path}, found ${JSON.stringify(found)}`;
}

function isObject(value) {
  return typeof value === 'object' && value !== null;
}

const [engine] = process.argv.slice(2);
const { cases } = JSON.parse(await readFile(new URL('cases.json', import.meta.url), 'utf8'));
let failed = 0;
for (const { name, model, steps } of cases) {
  try {
    const file = process.env[MODELS[model]];
    if (!file) throw new Error(`the model ${model}: set ${MODELS[model]} to its file`);
    const component = await open(engine, { preload: [`default:GGML:CPU:${file}`] });
    try {
      await run(component, steps);
    } finally {
      await component.close();
    }
    console.log(`ok      ${name}`);
  } catch (error) {
    console.log(`FAILED  ${name}\n        ${error.message}`);
    failed++;
  }
}
console.log(`${cases.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
