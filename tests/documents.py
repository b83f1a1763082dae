"""What the project's pages hold: shell commands, examples in Python and YAML, names of files; each with its place."""

import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "datasets/*.md", "restore/models/*.md", "benchmarks/README.md")
SHELL = ("", "bash", "sh", "console")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.M | re.S)
INDENTED = re.compile(r"(?<=\n\n)((?:    (?:restore|python|sbatch) .*\n)(?:    .*\n)*)")
INLINE = re.compile(r"`((?:python (?:restore|benchmarks)/\w+\.py|restore [a-z]\w+)[^`]*)`")
CONNECTORS = {"|", "&&", "||", ";", "&", ";;"}
REDIRECTIONS = {">", ">>", "<"}
PROMPT = "$ "


class Passage(NamedTuple):
    """Lines of a page: `place` is `docs/inference.md:4`."""

    place: str
    text: str


class Command(NamedTuple):
    """One simple command, as a shell would hand it to its program."""

    place: str
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def pages() -> list[str]:
    """The pages, as paths from the repository's root."""
    found = (path for pattern in PAGES for path in sorted(REPOSITORY.glob(pattern)))
    return [path.relative_to(REPOSITORY).as_posix() for path in found]


def blocks(*kinds: str) -> list[Passage]:
    """All fenced blocks of these kinds; commands that are indented are one of kind ""."""
    found = []
    for page in pages():
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        fenced = [(match.start(2), match[2]) for match in FENCE.finditer(text) if match[1] in kinds]
        indented = [(match.start(1), match[1]) for match in INDENTED.finditer(text) if "" in kinds]
        for start, block in sorted(fenced + indented):
            found.append(Passage(f"{page}:{text.count(chr(10), 0, start) + 1}", block))
    return found


def inline_commands() -> list[Passage]:
    """Commands in running text and tables, which often say only what matters of them."""
    lines = ((page, number, line) for page in pages() for number, line in _prose(page))
    return [
        Passage(f"{page}:{number}", found[1].replace("\\|", "|"))
        for page, number, line in lines
        for found in INLINE.finditer(line)
    ]


def _prose(page: str) -> Iterator[tuple[int, str]]:
    inside = False
    for number, line in enumerate((REPOSITORY / page).read_text(encoding="utf-8").splitlines(), start=1):
        inside ^= line.startswith("```")
        if not inside:
            yield number, line


def commands(outputs: Sequence[str] = ()) -> list[Command]:
    """The commands of all shell blocks, loops unrolled.

    Args:
        outputs: what lines begin with that are shown as a command's output. A block that begins so is output as a
            whole; of a block with prompts, lines without one are output too.
    """
    return [
        command
        for block in blocks(*SHELL)
        if not block.text.startswith(tuple(outputs) or "\0")
        for command in _unrolled(_simple_commands(block, tuple(outputs)))
    ]


def _simple_commands(block: Passage, outputs: tuple[str, ...]) -> Iterator[Command]:
    for place, line in _whole_lines(block, outputs):
        words: list[str] = []
        for token in [*_tokens(line), ";"]:
            if token not in CONNECTORS:
                words.append(token)
            elif words := _bare(words):
                yield Command(place, tuple(words))
                words = []


def _whole_lines(block: Passage, outputs: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Lines with what continues them, by a backslash or inside quotes."""
    page, first = block.place.rsplit(":", 1)
    prompted = any(line.startswith(PROMPT) for line in block.text.splitlines())
    start, whole = 0, ""
    for number, line in enumerate(textwrap.dedent(block.text).splitlines(), start=int(first)):
        if not whole and (line.startswith(outputs or "\0") or (prompted and not line.startswith(PROMPT))):
            continue
        start = start if whole else number
        whole += line.removeprefix(PROMPT)
        if whole.endswith("\\"):
            whole = whole[:-1]
        elif _closed(whole):
            yield f"{page}:{start}", whole
            whole = ""
        else:
            whole += " "
    assert not whole, f"{page}:{start}: a quote is not closed"


def _closed(line: str) -> bool:
    try:
        _tokens(line)
    except ValueError:
        return False
    return True


def _tokens(line: str) -> list[str]:
    line = re.sub(r"^\w+=\$\(([^()]*)\)$", r"\1", line.strip())  # job=$(sbatch ...)
    line = re.sub(r"\$\([^()]*\)", "1", line)  # what another command says, such as $(id -u)
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";<>|&")
    lexer.whitespace_split = True
    return list(lexer)


def _bare(words: list[str]) -> list[str]:
    """Without redirections, and without variables set before the command."""
    kept = [word for before, word in pairwise(["", *words]) if not {before, word} & REDIRECTIONS]
    while kept and re.fullmatch(r"[A-Z_]+=.*", kept[0]):
        kept.pop(0)
    return kept


def _unrolled(found: Iterator[Command]) -> Iterator[Command]:
    """Loops `for NAME in VALUES; do ...; done` as their commands, once for each value."""
    variable, values, body = "", (), []
    for command in found:
        words = command.words[command.words[0] == "do" :]
        if not words:
            continue
        if words[0] == "for":
            variable, values, body = words[1], words[3:], []
        elif words[0] == "done":
            for value in values:
                yield from (_with(each, variable, value) for each in body)
            values = ()
        elif values:
            body.append(Command(command.place, words))
        else:
            yield Command(command.place, words)


def _with(command: Command, variable: str, value: str) -> Command:
    name = re.compile(rf"\$(?:{variable}\b|{{{variable}}})")
    return Command(command.place, tuple(name.sub(value, word) for word in command.words))
