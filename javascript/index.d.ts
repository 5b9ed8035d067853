/** The models that a component can load. */
export interface HostOptions {
  /** Each `NAME:ENCODING:TARGET:PATH`, such as `default:GGML:AUTO:model.gguf`, or in parts. None by default. */
  preload?: (string | NamedModel)[];
}

/** A model in parts: in the notation a path ends at the next colon. */
export interface NamedModel {
  /** What components call it. */
  name: string;
  /** `AUTODETECT` by default, which looks at the file. */
  encoding?: string;
  /** `CPU`, `GPU` or `AUTO`, the default. */
  target?: string;
  /** The model's file, or its files in the order that the backend expects. */
  path: string | string[];
}

/**
 * What a component imports of `wasi:nn@0.2.0-rc-2024-10-28` and `llm-wasi:nn@0.1.0`: for `instantiate` of a component that
 * was transpiled with the option `instantiation`. Calls block the thread.
 */
export function imports(options?: HostOptions): Record<string, Record<string, unknown>>;

export interface InstantiateOptions extends HostOptions {
  /** Further imports, or others than the usual ones, by the names of their interfaces, with or without versions. */
  imports?: Record<string, object>;
}

/**
 * Instantiates a transpiled component on this thread, without files, network, environment and arguments. Give the
 * interface `Root` of its typings as type. Calls block the thread. Where the component ends the program, an `ExitError` is thrown.
 */
export function instantiate<Root = any>(file: string | URL, options?: InstantiateOptions): Promise<Root>;

/**
 * Instantiates a transpiled component on a thread of its own. What it exports is here as functions that give
 * promises; constructors of resources are not, and neither are pollables. A resource with a method `next` is an async
 * iterable, which is disposed of when its iteration ends.
 *
 * Each function takes an `AbortSignal` as one more argument, the last one. Once aborted, the call is rejected with the signal's
 * reason, and what it computes ends; so does a stream (a resource with a method `next`) that the call has given.
 *
 * Give the interface `Root` of the component's typings as type.
 */
export function open<Root = any>(file: string | URL, options?: HostOptions): Promise<Opened<Root>>;

/** What `open` gives. `close` ends the thread and all that it holds. */
export type Opened<Root> = 0 extends 1 & Root
  ? any
  : {
      // Interfaces of types alone have nothing at run time.
      [Name in keyof Root as Name extends `${string}:${string}` ? never : keyof Root[Name] extends never ? never : Name]: Interface<
        Root[Name]
      >;
    } & {
      close(): Promise<void>;
      [Symbol.asyncDispose](): Promise<void>;
    };

/** An interface with its functions and classes. */
export type Interface<T> = { [Member in keyof T]: Remote<T[Member]> };

type Remote<T> = T extends (...args: infer Args) => infer Result
  ? (...args: [...{ [Index in keyof Args]: Held<Args[Index]> }, signal?: AbortSignal]) => Promise<Held<Result>>
  : T extends { prototype: infer Instance }
    ? { prototype: Resource<Instance> } & { [Static in Exclude<keyof T, 'prototype'>]: Remote<T[Static]> }
    : never;

/** A resource that the component's thread holds. */
export type Resource<T> = { [Method in Exclude<keyof T, 'subscribe'>]: Remote<T[Method]> } & { [Symbol.dispose](): void } & (T extends {
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

/** An error of a component's function, or of the host's: the `err` of its `result`, whose words are the message. */
export class ComponentError<Payload = any> extends Error {
  payload: Payload;
}

/** Thrown where a component ends the program by `wasi:cli/exit`. It cannot be used any more then. */
export class ExitError extends Error {
  /** The status, 0 for success. */
  code: number;
}
