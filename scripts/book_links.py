"""A preprocessor of mdBook: links out of docs/ lead to the repository, since such files are no part of the book.

mdBook gives the book as JSON on standard input, and takes it back from standard output."""

import json
import re
import sys

# The end of a link, or of a picture, to a file in a folder above.
OUTSIDE = re.compile(r"\]\(\.\./([^()\s]+)\)")
FENCED = re.compile(r"(^```.*?^```$)", re.M | re.S)


def outside(text, repository):
    """The text with such links changed, but for code."""
    parts = FENCED.split(text)
    parts[::2] = [OUTSIDE.sub(rf"]({repository}/blob/main/\1)", part) for part in parts[::2]]
    return "".join(parts)


def change(item, repository):
    chapter = item.get("Chapter") if isinstance(item, dict) else None
    if chapter:
        chapter["content"] = outside(chapter["content"], repository)
        for inner in chapter["sub_items"]:
            change(inner, repository)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    repository = context["config"]["output"]["html"]["git-repository-url"]
    for item in book["items"]:
        change(item, repository)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
