// What the classes of all resources share.

/** The property with the addon's object. */
export const native = Symbol('native');

/** The method by which jco drops a resource. */
export const dispose = Symbol.dispose ?? Symbol.for('dispose');
