/** The models that a component can load. */
export interface HostOptions {
  /** Each `NAME:ENCODING:TARGET:PATH`, such as `default:GGML:AUTO:model.gguf`. None by default. */
  preload?: string[];
}

/**
 * What a component imports of `wasi:nn@0.2.0-rc-2024-10-28` and `llm-wasi:nn@0.1.0`: for `instantiate` of a component that
 * was transpiled with the option `instantiation`. Calls block the thread.
 */
export function imports(options?: HostOptions): Record<string, Record<string, unknown>>;

export interface InstantiateOptions extends HostOptions {
  /** Further imports, or others than the usual ones, by the names of their interfaces. */
  imports?: Record<string, object>;
}

/**
 * Instantiates a transpiled component on this thread, without files, network, environment and arguments. Give the
 * interface `Root` of its typings as type. Calls block the thread.
 */
export function instantiate<Root = any>(file: string, options?: InstantiateOptions): Promise<Root>;

/**
 * Instantiates a transpiled component on a thread of its own. What it exports is here as functions that give
 * promises; constructors of resources are not, and neither are pollables. A resource with a method `next` is an async
 * iterable, which is disposed of when its iteration ends.
 *
 * Give the interface `Root` of the component's typings as type.
 */
export function open<Root = any>(file: string, options?: HostOptions): Promise<Opened<Root>>;

/** What `open` gives. `close` ends the thread and all that it holds. */
export type Opened<Root> = 0 extends 1 & Root
  ? any
  : { [Name in keyof Root as Name extends `${string}:${string}` ? never : Name]: Interface<Root[Name]> } & {
      close(): Promise<void>;
    };

/** An interface with its functions and classes. */
export type Interface<T> = { [Member in keyof T]: Remote<T[Member]> };

type Remote<T> = T extends (...args: infer Args) => infer Result
  ? (...args: { [Index in keyof Args]: Held<Args[Index]> }) => Promise<Held<Result>>
  : T extends { prototype: infer Instance }
    ? { prototype: Resource<Instance> } & { [Static in Exclude<keyof T, 'prototype'>]: Remote<T[Static]> }
    : never;

/** A resource that the component's thread holds. */
export type Resource<T> = { [Method in keyof T]: Remote<T[Method]> } & { [Symbol.dispose](): void } & (T extends {
    next(): infer Item;
  }
    ? AsyncIterable<Exclude<Item, undefined>>
    : unknown);

/** A resource in place of an instance of its class, which has nothing but methods; other values are as they were. */
type Held<T> = T extends object
  ? T extends readonly unknown[] | ArrayBufferView
    ? T
    : [T[keyof T]] extends [(...args: any[]) => unknown]
      ? Resource<T>
      : T
  : T;

/** An error of a component's function, or of the host's: the `err` of its `result`. */
export class ComponentError<Payload = any> extends Error {
  payload: Payload;
}
