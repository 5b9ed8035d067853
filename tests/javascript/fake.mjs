// Stands in for the output of jco: a component whose resources trap where they are dropped.

export async function instantiate() {
  class Thing {
    count(number) {
      return number;
    }

    [Symbol.dispose]() {
      throw new WebAssembly.RuntimeError('unreachable');
    }
  }
  Thing.make = () => new Thing();
  return { things: { Thing, uncloneable: () => () => 1 } };
}
