"""Checks that links within a book as mdBook has built it lead to a file, and to a place in it.

Usage: links.py FOLDER"""

import pathlib
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids = set()
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])


def main():
    book = pathlib.Path(sys.argv[1])
    # The page for addresses that do not exist has links for any place, and print.html is all others again.
    files = [file for file in sorted(book.glob("*.html")) if file.name not in ("404.html", "print.html")]
    pages = {file.name: Page(file.read_text()) for file in files}
    wrong = []
    for name, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link) or link == "print.html":
                continue
            path, place = urldefrag(unquote(link))
            target = pages.get(path or name)
            if target is None and not (book / path).exists():
                wrong.append(f"{name}: {link} leads to no file")
            elif target and place and place not in target.ids:
                wrong.append(f"{name}: {link} leads to no place")
    for line in wrong:
        print(line)
    return 1 if wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
