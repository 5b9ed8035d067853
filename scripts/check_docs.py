"""Checks the documents: links to files and headings lead somewhere, `make` targets and mentioned
scripts exist, the book has every page, and Rust that is shown is an excerpt of a source that is compiled.
Prints what is wrong, and exits with 1 then."""

import pathlib
import re
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PROSE_OF_A_PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*")


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", without_fences(text), re.M):
        heading = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(heading.replace(" ", "-"))
    return found


def without_fences(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def fences(text):
    """The first line of a block of code that is not closed, if there is one."""
    opened = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"[ >]*(`{3,})(.*)", line)
        if not fence:
            continue
        if opened is None:
            opened = number, fence[1]
        elif len(fence[1]) >= len(opened[1]):
            if fence[2].strip():
                return opened[0]
            opened = None
    return opened and opened[0]


def book(wrong):
    """The book's contents: every page once, and no page that is not there."""
    summary = (ROOT / "docs/SUMMARY.md").read_text()
    pages = LINK.findall(summary)
    for page in sorted(set(page for page in pages if pages.count(page) > 1)):
        wrong.append(f"docs/SUMMARY.md: {page} is there twice")
    for page in sorted({path.name for path in ROOT.glob("docs/*.md")} - {"SUMMARY.md", *pages}):
        wrong.append(f"docs/SUMMARY.md: {page} is missing")


def excerpts(wrong):
    """Rust in docs/ is part of a source that is compiled, but for the indentation."""
    sources = [path.read_text().splitlines() for path in [
        *sorted(ROOT.glob("examples/*/src/*.rs")), ROOT / "tests/tests/embedding_guide.rs",
    ]]
    for page in sorted(ROOT.glob("docs/*.md")):
        for block in re.findall(r"^```rust\n(.*?)^```$", page.read_text(), re.M | re.S):
            lines = block.splitlines()
            if not any(
                textwrap.dedent("\n".join(source[at:at + len(lines)])) == "\n".join(lines)
                for source in sources
                for at, line in enumerate(source)
                if line.strip() == lines[0]
            ):
                wrong.append(f"{page.relative_to(ROOT)}: no source has the lines behind: {lines[0]}")


def main():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")
    documents = sorted(ROOT / name for name in listed if name.endswith(".md") and (ROOT / name).is_file())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    folders = {name.split("/")[0] for name in listed if "/" in name}
    wrong = []
    book(wrong)
    excerpts(wrong)
    for document in documents:
        text = document.read_text()
        name = document.relative_to(ROOT)
        if line := fences(text):
            wrong.append(f"{name}:{line}: the block of code that begins here is not closed")
        prose = without_fences(text)
        for link in LINK.findall(prose):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            if not target.exists():
                wrong.append(f"{name}: the link {link} leads to no file")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
                wrong.append(f"{name}: the link {link} leads to no heading")
        for target in re.findall(r"(?:^|`)make ([a-z]+)\b", text, re.M):
            if target not in targets:
                wrong.append(f"{name}: the Makefile has no target {target}")
        # Paths are from the root, or from the document's own folder. NAME stands for one.
        for code in CODE.findall(prose):
            if "NAME" in code or not PROSE_OF_A_PATH.fullmatch(code) or code.split("/")[0] not in folders - {"target"}:
                continue
            if not (ROOT / code).exists() and not (document.parent / code).exists():
                wrong.append(f"{name}: there is no {code}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
