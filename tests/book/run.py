"""Runs the commands of README.md and of the pages in docs/: those of each page in a session of bash of its own, in a
copy of the repository. Then builds the book.

Usage: run.py CHECKOUT [PAGE...]

CHECKOUT is that copy, prepared by run.sh. Prints a line for each command and `N passed, N failed` last."""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

from links import broken
from not_run import NOT_RUN
from pages import commands, shows

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# The longest time for the commands of a page, in seconds.
TIME_LIMIT = 600


class Results:
    passed = 0
    failed = 0
    # The commands of NOT_RUN that some page has.
    covered = set()

    def ok(self, name):
        self.passed += 1
        print(f"ok      {name}", flush=True)

    def not_ok(self, name, why):
        self.failed += 1
        print(f"FAILED  {name}")
        for line in why.splitlines()[-30:]:
            print(f"        {line}")
        sys.stdout.flush()


def run(session, folder, log):
    """Runs the commands one after the other until one fails. Gives the exit status and output of each that ran."""
    script = ["set -o pipefail"]
    for number, command in enumerate(session):
        (log / f"{number}.sh").write_text(command.text + "\n")
        file = shlex.quote(str(log / str(number)))
        script.append(f". {file}.sh >{file}.out 2>&1 </dev/null")
        on = "true" if command.may_fail else "exit"
        script.append(f"status=$?; echo $status >{file}.status; [ $status = 0 ] || {on}")
    # In a group of its own, so that what it leaves in the background can be ended.
    bash = subprocess.Popen(["bash", "-c", "\n".join(script)], cwd=folder, start_new_session=True)
    try:
        bash.wait(TIME_LIMIT)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(bash.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    bash.wait()
    for number in range(len(session)):
        status, output = log / f"{number}.status", log / f"{number}.out"
        if output.exists():
            yield (
                int(status.read_text()) if status.exists() else None,
                output.read_text(errors="replace"),
            )


def check(page, checkout, results):
    session = []
    for command in commands((ROOT / page).read_text()):
        if command.name in NOT_RUN:
            results.covered.add(command.name)
            print(f"covered {page}: {command.name}: {NOT_RUN[command.name]}")
        else:
            session.append(command)
    if not session:
        return
    folder = checkout.parent / page.replace("/", "-")
    shutil.copytree(checkout, folder, symlinks=True)
    log = checkout.parent / f"{folder.name}.log"
    log.mkdir()
    started = time.monotonic()
    ran = list(run(session, folder, log))
    for number, command in enumerate(session):
        name = f"{page}: {command.name}"
        if number >= len(ran):
            results.not_ok(name, "not reached")
            continue
        status, output = ran[number]
        if status is None or (status != 0 and not command.may_fail):
            why = "has not ended in time" if status is None else f"exit status {status}"
            results.not_ok(name, f"{output}\n{why}")
        elif command.output is not None and not shows(command.output, output):
            results.not_ok(name, f"shown:\n{command.output}found:\n{output}")
        else:
            results.ok(name)
    shutil.rmtree(folder)
    print(f"{page}: {time.monotonic() - started:.0f} s")


def check_book(checkout, results):
    name = "mdBook builds the book"
    folder = checkout.parent / "book"
    built = subprocess.run(
        ["mdbook", "build", checkout / "docs", "--dest-dir", folder], text=True, capture_output=True
    )
    said = built.stdout + built.stderr
    if built.returncode != 0 or re.search(r"^ *(WARN|ERROR)", said, re.M):
        results.not_ok(name, said)
        return
    results.ok(name)
    wrong = broken(folder)
    if wrong:
        results.not_ok("links within the book", "\n".join(wrong))
    else:
        results.ok("links within the book")


def main():
    checkout, *pages = sys.argv[1:]
    chosen = pages or ["README.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
    results = Results()
    for page in chosen:
        check(page, pathlib.Path(checkout), results)
    if not pages:
        for command in NOT_RUN.keys() - results.covered:
            results.not_ok(command, "is in not_run.py, and no page has it")
        check_book(pathlib.Path(checkout), results)
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
