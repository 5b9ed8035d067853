"""Prints what the tests expect of real models, computed by Python's ONNX Runtime.

Usage: python3 host/tests/tensors/reference.py      needs the packages numpy and onnxruntime, and the
variables LLM_WASI_MINILM and LLM_WASI_ORIENTATION, which scripts/setup.sh prints values for
"""

import os

import numpy
import onnxruntime

# As in onnx.rs.
SENTENCES = {
    "king": [101, 1996, 2332, 2001, 1037, 2158, 102],
    "queen": [101, 1996, 3035, 2001, 1037, 2450, 102],
    "price": [101, 2054, 2003, 1996, 3976, 1997, 1996, 4518, 102],
}


def embed(session, tokens):
    """The mean of the tokens' vectors, of length 1."""
    ids = numpy.array([tokens], dtype=numpy.int64)
    (vectors,) = session.run(None, {
        "input_ids": ids,
        "attention_mask": numpy.ones_like(ids),
        "token_type_ids": numpy.zeros_like(ids),
    })
    mean = vectors[0].mean(0)
    return mean / numpy.linalg.norm(mean)


def main():
    session = onnxruntime.InferenceSession(os.environ["LLM_WASI_MINILM"])
    vectors = {name: embed(session, tokens) for name, tokens in SENTENCES.items()}
    print("king:", vectors["king"][:4])
    print("king and queen:", vectors["king"] @ vectors["queen"])
    print("king and price:", vectors["king"] @ vectors["price"])
    session = onnxruntime.InferenceSession(os.environ["LLM_WASI_ORIENTATION"])
    (classes,) = session.run(None, {"x": numpy.ones((1, 3, 224, 224), dtype=numpy.float32)})
    print("orientation:", classes[0])


main()
