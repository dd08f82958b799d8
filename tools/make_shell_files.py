"""Writes man pages and shell completions from the program's own help.

Usage: make_shell_files.py ESPY_BINARY FOLDER

FOLDER gets man/man1/*.1, espy.bash, _espy (zsh) and espy.fish. The same program gives the same bytes.
"""

import datetime
import os
import pathlib
import re
import sys

from make_cli_docs import help_of

# Flags whose value is a file, which shells complete as such.
FILE_VALUES = {"FILE", "[NAME=]FILE", "PATH"}


class Entry:
    """A flag, an argument or a command, as help lists it."""

    def __init__(self, name, text):
        words = name.removesuffix("...").split(" ", 1)
        self.name, self.value = words[0], words[1] if len(words) > 1 else ""
        self.shown, self.text = name, text
        self.choices = self.value.split("|") if "|" in self.value and self.value.islower() else []
        # What a completion has room for.
        self.summary = re.split(r"[;:(\[]", text)[0].strip()


def entries(text, title):
    """Returns what a help's section lists; its explanations begin in column 29 and may go on below."""
    section = re.search(rf"^{title}:\n((?:  .*\n?)+)", text, re.MULTILINE)
    found = []
    for line in section[1].splitlines() if section else []:
        name, explanation = line[:28].strip(), line[28:].strip()
        if line[2] != " ":
            if len(line) > 28 and line[27] != " ":  # a name that pushed its explanation to the next line
                name, explanation = line.strip(), ""
            found.append([name, explanation])
        else:
            found[-1][1] += " " + explanation
    return [Entry(name, explanation.strip()) for name, explanation in found]


class Command:
    def __init__(self, binary, words, summary):
        self.words, self.summary = words, summary
        self.help = help_of(binary, *words)
        self.flags = entries(self.help, "Flags")
        self.arguments = entries(self.help, "Arguments")
        self.usage = re.search(r"^Usage: (.*)$", self.help, re.MULTILINE)[1]
        last = self.flags[-1].shown
        after = self.help.split(f"\n  {last} ", 1)[1]
        self.notes = after.split("\n\n", 1)[1] if "\n\n" in after else ""


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.splitlines())


def man_page(name, summary, version, body):
    date = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), datetime.timezone.utc)
    head = f'.TH {name.upper().replace("-", chr(92) + "-")} 1 "{date:%Y\\-%m\\-%d}" "{version}" "User Commands"\n'
    return head + f".SH NAME\n{roff(name)} \\- {roff(summary)}\n" + body


def listed(title, found):
    text = f".SH {title}\n" if found else ""
    for entry in found:
        shown = f"\\fB{roff(entry.name)}\\fR" + (f" \\fI{roff(entry.value)}\\fR" if entry.value else "")
        text += f".TP\n{shown}\n{roff(entry.text)}\n"
    return text


def man_pages(version, program, commands):
    """Returns {file name: text}."""
    pages = {}
    body = ".SH SYNOPSIS\n.B espy\n.I COMMAND\n[flags]\n"
    body += ".SH DESCRIPTION\nespy trains image classifiers, serves them over HTTP, and keeps a durable record of every\nprediction.\n"
    body += ".SH COMMANDS\n"
    for command in commands:
        body += f".TP\n\\fBespy\\-{roff('-'.join(command.words))}\\fR(1)\n{roff(command.summary)}\n"
    body += listed("FLAGS", entries(program, "Flags"))
    body += ".SH NOTES\n.nf\n" + roff(program.split("\n\n", 4)[-1] if "`espy COMMAND" in program else "") + "\n.fi\n"
    pages["espy.1"] = man_page("espy", "trains an image classifier, serves it over HTTP, and keeps every prediction", version, body)
    for command in commands:
        name = "espy-" + "-".join(command.words)
        body = f".SH SYNOPSIS\n.B {roff(command.usage)}\n" + listed("ARGUMENTS", command.arguments)
        body += listed("FLAGS", command.flags)
        if command.notes:
            body += ".SH NOTES\n.nf\n" + roff(command.notes) + "\n.fi\n"
        body += ".SH SEE ALSO\n.BR espy (1)\n"
        pages[f"{name}.1"] = man_page(name, command.summary, version, body)
    return pages


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def groups_of(commands):
    """Returns {first word: [(second word, summary)]} in the order of the help."""
    groups = {}
    for command in commands:
        groups.setdefault(command.words[0], [])
        if len(command.words) == 2:
            groups[command.words[0]].append((command.words[1], command.summary))
    return groups


def bash(commands):
    groups = groups_of(commands)
    text = "# bash completion for espy\n_espy() {\n  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command_path=${COMP_WORDS[1]} flags= values=\n"
    text += "  COMPREPLY=()\n"
    grouped = "|".join(group for group, members in groups.items() if members)
    text += f"  case $command_path in {grouped}) ((COMP_CWORD > 2)) && command_path+=\" ${{COMP_WORDS[2]}}\" ;; esac\n"
    text += f"  if ((COMP_CWORD == 1)); then\n    COMPREPLY=($(compgen -W \"{' '.join(groups)} --help --version\" -- \"$word\"))\n    return\n  fi\n"
    text += "  case $command_path in\n"
    for group, members in groups.items():
        if members:
            names = " ".join(name for name, _ in members)
            text += f"    {group}) COMPREPLY=($(compgen -W \"{names} --help\" -- \"$word\")); return ;;\n"
    for command in commands:
        text += f"    \"{' '.join(command.words)}\")\n      flags=\"{' '.join(flag.name for flag in command.flags)}\"\n"
        text += "      case $before in\n"
        for flag in command.flags:
            if flag.choices:
                text += f"        {flag.name}) values=\"{' '.join(flag.choices)}\" ;;\n"
        files = [flag.name for flag in command.flags if flag.value in FILE_VALUES]
        others = [flag.name for flag in command.flags if flag.value and not flag.choices and flag.value not in FILE_VALUES]
        if files:
            text += f"        {'|'.join(files)}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
        if others:
            text += f"        {'|'.join(others)}) return ;;\n"
        text += "      esac ;;\n"
    text += "  esac\n"
    text += "  if [[ -n $values ]]; then\n    COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
    text += "  elif [[ $word == -* ]]; then\n    COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n"
    text += "  else\n    COMPREPLY=($(compgen -f -- \"$word\"))\n  fi\n}\ncomplete -o filenames -F _espy espy\n"
    return text


def zsh(commands):
    def described(name, text):
        return quoted(name.replace(":", "\\:") + ":" + text)

    groups = groups_of(commands)
    summaries = {command.words[0]: command.summary for command in commands if len(command.words) == 1}
    text = "#compdef espy\n# zsh completion for espy\n_espy() {\n  local command_path=${words[2]} offset=2\n  local -a found\n"
    text += "  if ((CURRENT == 2)); then\n    found=(\n"
    for group, members in groups.items():
        text += "      " + described(group, summaries.get(group) or ", ".join(name for name, _ in members)) + "\n"
    text += "    )\n    _describe command found\n    return\n  fi\n  case $command_path in\n"
    for group, members in groups.items():
        if members:
            text += f"    {group})\n      if ((CURRENT == 3)); then\n        found=("
            text += " ".join(described(name, summary) for name, summary in members)
            text += ")\n        _describe command found\n        return\n      fi\n      command_path+=\" ${words[3]}\"; offset=3 ;;\n"
    text += "  esac\n  shift $((offset - 1)) words\n  ((CURRENT -= offset - 1))\n  case $command_path in\n"
    for command in commands:
        text += f"    {quoted(' '.join(command.words))})\n      _arguments"
        for flag in command.flags:
            summary = re.sub(r"[\[\]:]", "", flag.summary)
            value = ""
            if flag.choices:
                value = f":value:({' '.join(flag.choices)})"
            elif flag.value:
                value = ":value:_files" if flag.value in FILE_VALUES else f":{re.sub(r'[^A-Z/]', '', flag.value)}: "
            text += " \\\n        " + quoted(f"{flag.name}[{summary}]{value}")
        text += " \\\n        '*:file:_files' ;;\n"
    text += "  esac\n}\n_espy \"$@\"\n"
    return text


def fish(commands):
    groups = groups_of(commands)
    summaries = {command.words[0]: command.summary for command in commands if len(command.words) == 1}
    text = "# fish completion for espy\ncomplete -c espy -f\n"
    for group, members in groups.items():
        summary = summaries.get(group) or ", ".join(name for name, _ in members)
        text += f"complete -c espy -n __fish_use_subcommand -a {group} -d {quoted(summary)}\n"
        names = " ".join(name for name, _ in members)
        for name, summary in members:
            text += (f"complete -c espy -n '__fish_seen_subcommand_from {group}; and not __fish_seen_subcommand_from {names}'"
                     f" -a {name} -d {quoted(summary)}\n")
    for command in commands:
        condition = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words)
        if command.arguments:
            text += f"complete -c espy -n '{condition}' -F\n"
        for flag in command.flags:
            value = ""
            if flag.choices:
                value = f" -x -a '{' '.join(flag.choices)}'"
            elif flag.value:
                value = " -r -F" if flag.value in FILE_VALUES else " -x"
            text += f"complete -c espy -n '{condition}' -l {flag.name[2:]}{value} -d {quoted(flag.summary)}\n"
    return text


def main():
    binary, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    program = help_of(binary)
    version = program.split(":")[0]
    commands = [Command(binary, entry.shown.split(), entry.text) for entry in entries(program, "Commands")]
    pages = folder / "man" / "man1"
    pages.mkdir(parents=True)
    for name, text in man_pages(version, program, commands).items():
        (pages / name).write_text(text)
    (folder / "espy.bash").write_text(bash(commands))
    (folder / "_espy").write_text(zsh(commands))
    (folder / "espy.fish").write_text(fish(commands))


if __name__ == "__main__":
    main()
