"""What pages tell the reader to type, and what they show as its output."""

import re
import subprocess
from dataclasses import dataclass

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclass
class Command:
    """A command, and the output that is shown for it, if any is."""

    text: str
    output: str | None = None
    # What is shown with its output may be a failure: then the output is what counts.
    may_fail: bool = False

    @property
    def name(self):
        """On one line, without comments."""
        lines = [re.sub(r"(^|\s+)# .*$", "", line).strip() for line in self.text.splitlines()]
        return " ".join(line.removesuffix("\\").strip() for line in lines if line)


def commands(page):
    """The commands of a page, in their order.

    They are those of blocks `sh`, whose output a block `text` right behind shows: that of the block's last
    command. In a block `console` they follow a `$ `, each with its output behind it."""
    found = []
    end = None
    for fence in FENCE.finditer(page):
        language, text = fence.groups()
        behind = end is not None and not page[end:fence.start()].strip()
        end = None
        if language == "sh":
            found += [Command(command) for command in split(text)]
            end = fence.end()
        elif language == "console":
            found += session(text)
        elif language == "text" and behind:
            found[-1].output = text
    return found


def split(text):
    """The commands of a shell's text: each is the fewest lines that are whole."""
    found, lines = [], []
    for line in text.splitlines():
        lines.append(line)
        if whole("\n".join(lines)):
            if not all(re.match(r"\s*(#|$)", line) for line in lines):
                found.append("\n".join(lines))
            lines = []
    if lines:
        raise ValueError(f"the shell waits for more behind: {lines[0]}")
    return found


def whole(text):
    # A document without its end is only a warning.
    parsed = subprocess.run(["bash", "-n"], input=text + "\n", text=True, capture_output=True)
    return parsed.returncode == 0 and not parsed.stderr and not text.endswith("\\")


def session(text):
    found = []
    for line in text.splitlines():
        if found and found[-1].text.endswith("\\"):
            found[-1].text += "\n" + line
        elif line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif found:
            found[-1].output += line + "\n"
        else:
            raise ValueError(f"expected a command behind `$ `, found: {line}")
    for command in found:
        command.output = command.output or None
        command.may_fail = command.output is not None
    return found


def shows(expected, output):
    """Whether this is the output that a page shows, where `…` is anything."""
    def lines(text):
        return "\n".join(line.rstrip() for line in text.strip().splitlines())

    pattern = re.escape(lines(expected)).replace("…", ".*")
    return re.fullmatch(pattern, lines(output), re.S) is not None
