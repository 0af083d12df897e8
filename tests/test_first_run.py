"""What a newcomer reads: every command of docs/first_run.md runs as printed, and says what the page says."""

import itertools
import os
import re
import shlex
import sys

from experiments.first_run import HOME, NEXT, PAGE, SEARCH, Step, commands_in, labels, walk
from tests.forks import finish


def blocks():
    """The command of each block of the page, and what it said."""
    found = re.findall(r"^```text\n\$ (.+)\n((?:.*\n)*?)```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [Step(*one) for one in found]


def execute(words, place):
    # A machine on which nothing has looked at the fonts yet.
    environment = os.environ | {"NAS_OUTPUTS": str(place / "outputs"), "MPLCONFIGDIR": str(place / "fonts")}
    done = finish([sys.executable, *words[1:]], cwd=place, env=environment)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return Step(shlex.join(words), done.stdout)


def test_the_page_is_what_is_read_when_it_is_pasted_again(tmp_path):
    told = blocks()
    again = walk(tmp_path, SEARCH, execute)
    assert [step.command.split()[2] for step in again] == [step.command.split()[2] for step in told]
    for ours, theirs in zip(again, told, strict=True):
        assert labels(ours.said) == labels(theirs.said), theirs.command
        assert "fontManager" not in ours.said + theirs.said


def test_each_command_of_the_page_was_printed_by_one_before():
    told = blocks()
    assert told[0].command == SEARCH and [step.command.split()[2] for step in told[1:]] == [
        f"nas.{name}" for name in NEXT
    ]
    printed = set()
    for before, after in itertools.pairwise(told):
        printed |= set(commands_in(before.said).values())
        assert after.command in printed
    assert HOME in told[0].said
