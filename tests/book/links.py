"""The links within a book as mdBook has built it."""

import re
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


def broken(book):
    """The links that lead to no file, or to no place in one."""
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
    return wrong
