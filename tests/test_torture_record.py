"""What the torture chamber tries next, what it counts as tried, how it is kept; rooms are made up here."""

import csv
import os
import subprocess
from contextlib import contextmanager

import pytest

from nas.engine import provenance
from torture import keeping, record
from torture.chamber import Chamber
from torture.commands import Failed
from torture.record import Record, Tried
from torture.room import Case, Outcome, Plant
from torture.rooms.long import Look, judged


class Made:
    """A room of a few cases, each of which takes its time of a clock that is made up too."""

    about = holds = ""

    def __init__(self, name, clock, seconds=1.0, cases=4):
        self.name, self.clock, self.seconds, self.number = name, clock, seconds, cases
        self.fault, self.plants = "", {}

    def cases(self, seed):
        return (Case(f"{self.name}{number}", {"cell": "kind"}) for number in range(self.number))

    def run(self, case, folder):
        self.clock.now += self.seconds
        if self.fault and case.name == f"{self.name}2":
            raise Failed(self.fault)
        return Outcome("held")

    def with_plant(self, name, says, fault, cases=()):
        @contextmanager
        def plant():
            self.fault = fault
            try:
                yield
            finally:
                self.fault = ""

        self.plants[name] = Plant(f"about {name}", says, plant, cases)
        return self


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr("torture.chamber.time", found)
    return found


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page and a folder of records of their own."""
    monkeypatch.setattr(keeping, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(keeping, "RESULTS", tmp_path / "results")
    marks = (keeping.BEGIN, keeping.END, keeping.BEGIN_PLANTS, keeping.END_PLANTS)
    keeping.PAGE.write_text("".join(f"{mark}\n" for mark in marks))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/plants.csv").write_text("")
    return keeping.PAGE


def names(chamber):
    return [one.case for one in chamber.record.tried]


def test_each_room_has_a_case_and_then_the_one_that_has_had_the_least_time(tmp_path, clock):
    rooms = [Made("a", clock, 60), Made("b", clock, 1), Made("c", clock, 90)]
    share = Chamber(tmp_path, rooms, 0, ["c1"], minutes=2)
    share.go()
    # Two minutes are over after a and half of c; what is over is no reason to leave a room out.
    assert names(share) == ["a0", "b0", "c0"]
    again = Chamber(tmp_path, rooms, 0, ["c1"], minutes=2)
    again.go()
    assert names(again)[3:] == ["b1", "b2", "b3", "a1", "c1"]
    last = Chamber(tmp_path, rooms, 0, ["c1"])
    last.go()
    assert sorted(names(last)) == sorted(f"{room}{number}" for room in "abc" for number in range(4))


def test_cases_of_an_earlier_commit_count_where_they_held_and_the_table_says_so(tmp_path, clock, page):
    room = Made("a", clock)
    room.fault = "broken"
    Chamber(tmp_path, [room], 0, ["c1"]).go()
    room.fault, room.number = "", 5
    chamber = Chamber(tmp_path, [room], 0, ["c1", "c2"])
    chamber.go()
    assert names(chamber)[4:] == ["a2", "a4"]
    assert {one.verdict for one in chamber.tried()} == {"held"} and len(chamber.tried()) == 5
    keeping.keep(chamber)
    (line,) = csv.DictReader((page.parent / "results/cells.csv").open())
    assert (line["cases"], line["not_reached"], line["commit"], line["commits"]) == ("5", "0", "c2", "2")
    for told in (page.read_text(), keeping.table(chamber)):
        assert "2 of them were tried at commit c2, and 3 at c1, before it" in told
    # What the present commit no longer has is no case of it.
    room.number = 2
    keeping.keep(Chamber(tmp_path, [room], 0, ["c1", "c3"]))
    (line,) = csv.DictReader((page.parent / "results/cells.csv").open())
    assert (line["cases"], line["not_reached"]) == ("2", "0")
    alone = Chamber(tmp_path, [room], 0, ["c2"])
    assert [one.case for one in alone.tried()] == ["a2", "a4"]
    assert "All of them were tried at commit c2" in keeping.table(alone)


def test_a_plant_is_seen_by_what_a_case_says_and_not_by_any_failure(tmp_path, clock):
    room = Made("a", clock).with_plant("fault", "it is bro.en", "it is broken")
    room.with_plant("other", "it is broken", "TypeError").with_plant(
        "far", "broken", "it is broken", ("a[01]",)
    )
    chamber = Chamber(tmp_path, [room], 0, ["c1"])
    seen, other, far = chamber.plants()
    assert (seen.verdict, seen.case, seen.inputs, seen.said) == ("held", "a2", 3, "it is broken")
    assert (other.verdict, other.inputs) == ("failed", 4) and "a2 fails otherwise: TypeError" in other.said
    assert (far.verdict, far.inputs) == ("failed", 2)
    # What was seen is not planted again, but where it is asked for.
    assert [one.plant for one in Chamber(tmp_path, [room], 0, ["c1"]).plants()] == ["fault", "other", "far"]
    tried = [one.plant for one in Record(tmp_path / "cases.jsonl").tried]
    assert tried == ["fault", "other", "far", "other", "far"]
    (named,) = Chamber(tmp_path, [room], 0, ["c1"]).plants(["fault"])
    assert named.plant == "fault" and len(Record(tmp_path / "cases.jsonl").tried) == 6
    with pytest.raises(LookupError, match=r"--plants no: unknown; known are fault \(a\), other"):
        chamber.plants(["no"])


def test_cases_and_plants_are_kept_each_without_the_other(tmp_path, clock, page):
    first, second = Made("a", clock).with_plant("one", "broken", "broken"), Made("b", clock)
    second.with_plant("two", "broken", "broken").with_plant("three", "broken", "fine")
    both = [first, second]
    cases = Chamber(tmp_path / "cases", both, 0, ["c1"])
    cases.go()
    keeping.keep(cases)
    kept = (page.parent / "results/cells.csv").read_text()
    assert kept and cases.tried()
    chamber = Chamber(tmp_path / "plants", [first], 0, ["c1"])
    chamber.plants()
    keeping.keep_plants(chamber, both)
    assert "Of 3 planted faults 1 were seen, 0 were not, and 2 have not been run." in page.read_text()
    assert "| b | two | about two | not run |" in page.read_text()
    chamber = Chamber(tmp_path / "elsewhere", [second], 0, ["c2"])
    chamber.plants()
    keeping.keep_plants(chamber, both)
    told = page.read_text()
    assert "Of 3 planted faults 2 were seen, 1 were not, and 0 have not been run." in told
    assert "| a | one | about one | `a2` | 3 | broken | c1," in told and "| **by none** | 4 |" in told
    assert (page.parent / "results/cells.csv").read_text() == kept and "All of them were tried" in told
    plants = (page.parent / "results/plants.csv").read_text()
    keeping.keep(cases)
    assert (page.parent / "results/plants.csv").read_text() == plants and "| a | one |" in page.read_text()
    # A plant that there is no more.
    del second.plants["two"]
    keeping.keep_plants(chamber, both)
    assert "about two" not in page.read_text() and len(keeping.plants_kept()) == 2


def test_the_page_counts_what_many_cases_say(tmp_path, clock, page):
    class Telling(Made):
        def run(self, case, folder):
            return Outcome("held", "memory 5 MB" if case.name == "a0" else f"refused: {case.name}")

    chamber = Chamber(tmp_path, [Telling("a", clock)], 0, ["c1"])
    chamber.go()
    keeping.keep(chamber)
    assert "- a `a0`: memory 5 MB" in page.read_text() and "- a: 3 cases: refused\n" in page.read_text()


def test_the_revision_is_the_last_commit_of_the_code(tmp_path, monkeypatch):
    def git(*words):
        line = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    def commit(name):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{git('rev-list', '--all', '--count')}\n")
        git("add", "-A")
        git("commit", "-qm", name)
        return git("rev-parse", "HEAD")[:12]

    git("init", "-q")
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    first = commit("nas/a.py")
    docs = commit("docs/a.md")
    assert record.revision() == first and record.revisions(docs) == [first]
    second = commit("torture/a.py")
    commit("torture/results/a.csv")
    assert record.revision() == second
    assert record.revisions(docs) == [first, second] and record.revisions("HEAD") == [second]
    (tmp_path / "docs/a.md").write_text("changed")
    assert record.revision() == second
    (tmp_path / "nas/a.py").write_text("changed")
    changed = record.revision()
    assert changed.startswith(f"{second}+") and record.revisions(first) == [first, second, changed]
    for unknown in ("nothing", "0" * 40):
        with pytest.raises(LookupError, match=f"--since {unknown}: no commit that the present one follows"):
            record.revisions(unknown)


def test_of_a_case_that_was_tried_twice_the_last_counts_and_plants_are_apart(tmp_path):
    found = Record(tmp_path / "cases.jsonl")

    def tried(case, commit, verdict="held", plant=""):
        return Tried("a", case, "", 0, verdict, "", 1.0, 1, commit, "2026-01-01", plant)

    for one in (
        tried("x", "c2", "failed"), tried("x", "c1"), tried("x", "c2"), tried("x", "c2", "failed", "p"),
        tried("y", "c2", "held", "p"),
    ):  # fmt: skip
        found.add(one)
    assert [(one.case, one.commit, one.verdict, one.plant) for one in found.of(["c1", "c2"], 0)] == [
        ("x", "c2", "held", ""), ("y", "c2", "held", "p"),
    ]  # fmt: skip
    assert found.of(["c1", "c2"], 1) == []


def test_what_failed_before_a_branch_was_merged_is_tried_again_though_the_branch_held(
    tmp_path, clock, monkeypatch
):
    project = tmp_path / "project"
    (project / "nas").mkdir(parents=True)

    def git(day, *words):
        line = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        date = f"2026-01-0{day}T00:00:00Z"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        done = subprocess.run(line, check=True, capture_output=True, text=True, env={**os.environ, **dates})
        return done.stdout.strip()

    def commit(day, name):
        (project / "nas" / name).write_text(name)
        git(day, "add", "-A")
        git(day, "commit", "-qm", name)
        return git(day, "rev-parse", "HEAD")[:12]

    git(1, "init", "-q", "-b", "mainline")
    first = commit(1, "first")
    git(1, "branch", "side")
    broken = commit(2, "broken")
    git(2, "checkout", "-q", "side")
    side = commit(3, "side")
    git(3, "checkout", "-q", "mainline")
    git(4, "merge", "-q", "--no-ff", "-m", "merged", "side")
    monkeypatch.setattr(record, "ROOT", project)
    monkeypatch.setattr(provenance, "ROOT", project)
    commits = record.revisions(first)
    assert commits.index(broken) < commits.index(side) < commits.index(record.revision())
    room = Made("a", clock)
    room.fault = "broken"
    Chamber(tmp_path / "out", [room], 0, [broken]).go()
    room.fault = ""
    Chamber(tmp_path / "out", [room], 0, [side]).go()
    merged = Chamber(tmp_path / "out", [room], 0, commits)
    assert [one.case for one in merged.tried() if one.verdict == "failed"] == ["a2"]
    merged.go()
    assert names(merged)[8:] == ["a2"] and {one.verdict for one in merged.tried()} == {"held"}


def looks(seconds, slope, noise=0.2):
    """A process of 500 MB that grows by so many MB a day, looked at twice a second."""
    times = [number / 2 for number in range(2 * seconds)]
    return [
        Look(one, 500 + slope * one / 86_400 + noise * (number % 7), 3, 9, 1)
        for number, one in enumerate(times)
    ]


def test_of_half_a_minute_nothing_is_said_of_a_day_and_of_minutes_a_slope_is_judged():
    said = judged(looks(36, 2000))
    assert said.startswith("memory 500.6 MB at first and 501.4 at last (72 looks over 36 s, too few")
    assert "in a day" not in said
    with pytest.raises(Failed, match="it grows: memory"):
        judged(looks(36, 86_400 * 40 / 36))
    assert "in a day +" in judged(looks(600, 400))
    with pytest.raises(Failed, match=r"it grows: .*in a day \+[0-9]+ to \+[0-9]+ MB"):
        judged(looks(600, 2000))
