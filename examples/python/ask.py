"""Asks a model, and prints its answer as it comes."""

import re
import sys

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import environment
from wit_world.imports.generation import (
    Event_Finish, Event_Text, Event_ToolCall, Message, Options, Part_Text, Role, stream_chat,
)
from wit_world.imports.models import Model, ModelOptions
from wit_world.imports.types import Error, Usage


class Run(exports.Run):
    def run(self) -> None:
        _, *words = environment.get_arguments()
        try:
            ask(" ".join(words))
        except Err as error:
            print(f"error: {in_words(error.value)}", file=sys.stderr)
            sys.exit(1)


def ask(question: str) -> None:
    model = Model.open(None, ModelOptions(context_length=None))
    message = Message(Role.USER, [Part_Text(question)], tool_calls=[], tool_call_id=None)
    options = Options(sampling=None, limits=None, format=None, logprobs=None, tools=None, tool_choice=None)
    with model, stream_chat(model, [message], options) as stream:
        while event := stream.next():
            match event:
                case Event_Text(piece):
                    print(piece.text, end="", flush=True)
                case Event_ToolCall(call):
                    print(f"{call.name}({call.arguments})", end="", flush=True)
                case Event_Finish(finish):
                    print()
                    print(speed(finish.usage), file=sys.stderr)


def speed(usage: Usage) -> str:
    seconds = (usage.total_time - usage.first_token_time) / 1e6
    rate = max(usage.generated_tokens - 1, 0) / seconds if seconds else 0.0
    return f"{usage.generated_tokens} tokens, {rate:.1f} per second"


def in_words(error: Error) -> str:
    """`Error_ModelNotFound(value)` becomes `model not found: value`."""
    name = type(error).__name__.removeprefix("Error_")
    words = " ".join(re.findall("[A-Z][a-z]*", name)).lower()
    return f"{words}: {error.value}" if hasattr(error, "value") else words
