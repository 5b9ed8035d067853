// What is to happen when signals are aborted, with one listener for each signal: Node.js warns of more than ten.

export class Signals {
  /** What is to be called, and the listener that does it, by signal. */
  #known = new Map();

  /** Calls `abort` once the signal is aborted; without a signal never. */
  add(signal, abort) {
    if (signal === undefined) return;
    let known = this.#known.get(signal);
    if (known === undefined) {
      const aborts = new Set();
      known = { aborts, listener: () => this.#aborted(signal) };
      this.#known.set(signal, known);
      signal.addEventListener('abort', known.listener);
    }
    known.aborts.add(abort);
  }

  delete(signal, abort) {
    const known = this.#known.get(signal);
    if (known === undefined) return;
    known.aborts.delete(abort);
    if (known.aborts.size === 0) this.#forget(signal, known);
  }

  clear() {
    for (const [signal, known] of this.#known) this.#forget(signal, known);
  }

  #aborted(signal) {
    const known = this.#known.get(signal);
    this.#forget(signal, known);
    for (const abort of known.aborts) abort();
  }

  #forget(signal, { listener }) {
    signal.removeEventListener('abort', listener);
    this.#known.delete(signal);
  }
}
