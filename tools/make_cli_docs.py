"""Writes docs/cli.md from the program's own help.

Usage: make_cli_docs.py ESPY_BINARY > docs/cli.md
       make_cli_docs.py --check docs/cli.md ESPY_BINARY    (fails when the file is not up to date)
"""

import os
import pathlib
import re
import subprocess
import sys


def help_of(binary, *command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESPY_")}
    answer = subprocess.run([binary, *command, "--help"], env=environment, capture_output=True, text=True, check=True)
    return answer.stdout.rstrip()


def document(binary):
    program = help_of(binary)
    listed = program.split("Commands:\n")[1].split("\n\n")[0]
    commands = re.findall(r"^  (\w+(?: \w+)?)  ", listed, re.MULTILINE)
    parts = ["# The command line", "Made from the program's help by tools/make_cli_docs.py; do not edit.", f"```\n{program}\n```"]
    for command in commands:
        parts += [f"## espy {command}", f"```\n{help_of(binary, *command.split())}\n```"]
    return "\n\n".join(parts) + "\n"


def main():
    if sys.argv[1] != "--check":
        sys.stdout.write(document(sys.argv[1]))
        return 0
    path, binary = pathlib.Path(sys.argv[2]), sys.argv[3]
    if path.read_text() == document(binary):
        return 0
    print(f"{path} is not what the help says; run: tools/make_cli_docs.py {binary} > {path}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
