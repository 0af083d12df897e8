"""Texts from files: found in every usual layout, numbered by first appearance, and checked by their sizes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nas.data import ptb, wikitext2
from nas.data.checks import read_tokens
from nas.data.corpus import Corpus
from nas.data.declared import check_source
from nas.data.embedded import FOLDER, WikiTextMini
from nas.data.ptb import PennTreebank
from nas.data.text import PARTS
from nas.data.wikitext2 import WikiText2
from nas.errors import ConfigError
from tests.shared import shared

TEXTS = {"train": " the cat sat \n the end\n", "valid": "the dog\n", "test": "cat <unk>\n"}
WORDS = ("the", "cat", "sat", "<eos>", "end", "dog", "<unk>")
SIZES = {"num_tokens": (7, 3, 3), "vocabulary_size": 7}
PTB = replace(ptb.LAYOUT, **SIZES)
WIKITEXT2 = replace(wikitext2.LAYOUT, **SIZES)
CONF = Path(__file__).parents[2] / "conf" / "dataset"


def write(folder: Path, pattern: str = "{part}.txt", texts: dict[str, str] = TEXTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in texts.items():
        (folder / pattern.format(part=part)).write_bytes(text.encode())
    return folder


def test_every_line_ends_with_eos_and_words_are_numbered_as_they_appear(tmp_path):
    source = PennTreebank(write(tmp_path), PTB)
    assert source.words() == WORDS
    assert source.train().tolist() == [0, 1, 2, 3, 0, 4, 3]
    assert source.valid().tolist() == [0, 5, 3]
    assert source.test().tolist() == [1, 6, 3]
    assert source.train().dtype == torch.int64


def test_blank_lines_count_and_so_does_a_last_line_without_an_end(tmp_path):
    texts = TEXTS | {"train": "\n \nthe cat sat end"}
    source = WikiText2(write(tmp_path, texts=texts), WIKITEXT2)
    assert [source.words()[index] for index in source.train()] == [
        "<eos>",
        "<eos>",
        "the",
        "cat",
        "sat",
        "end",
        "<eos>",
    ]


def test_a_windows_file_is_the_same_text(tmp_path):
    texts = {part: text.replace("\n", "\r\n") for part, text in TEXTS.items()}
    assert PennTreebank(write(tmp_path, texts=texts), PTB).words() == WORDS


@pytest.mark.parametrize("pattern", ["ptb.{part}.txt", "{part}.txt"])
@pytest.mark.parametrize("folder", ["", "penn", "simple-examples/data", "datasets/PennTreebank"])
def test_ptb_is_found_in_the_usual_places(folder, pattern, tmp_path):
    write(tmp_path / folder, pattern)
    assert PennTreebank(tmp_path, PTB).words() == WORDS


@pytest.mark.parametrize("pattern", ["wiki.{part}.tokens", "{part}.txt"])
@pytest.mark.parametrize("folder", ["", "wikitext-2", "wikitext-2-v1/wikitext-2"])
def test_wikitext2_is_found_in_the_usual_places(folder, pattern, tmp_path):
    write(tmp_path / folder, pattern)
    assert WikiText2(tmp_path, WIKITEXT2).words() == WORDS


def test_two_texts_below_one_root_are_told_apart(tmp_path):
    write(tmp_path, texts={part: "something else\n" for part in PARTS})
    write(tmp_path / "penn")
    write(tmp_path / "wikitext-2", "wiki.{part}.tokens")
    assert PennTreebank(tmp_path, PTB).words() == WikiText2(tmp_path, WIKITEXT2).words() == WORDS


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    source = PennTreebank(tmp_path / "missing")
    assert (source.name, source.vocabulary_size) == ("ptb", 10_000)


def test_the_files_are_read_once(tmp_path):
    source = PennTreebank(write(tmp_path), PTB)
    first = source.train()
    for path in tmp_path.iterdir():
        path.unlink()
    assert source.train() is first
    assert len(source.test()) == 3


def test_a_missing_text_says_what_was_looked_for_and_where_to_get_it(tmp_path):
    with pytest.raises(ConfigError) as caught:
        PennTreebank(tmp_path).train()
    message = str(caught.value)
    for part in ("dataset.root", str(tmp_path), "ptb.train.txt", "penn", "LDC99T42", "simple-examples.tgz"):
        assert part in message


def test_raw_wikitext_is_not_taken_for_the_tokens(tmp_path):
    write(tmp_path, "wiki.{part}.raw")
    with pytest.raises(
        ConfigError, match=r"no wiki\.train\.tokens or train\.txt.*not wikitext-2-raw-v1\.zip"
    ):
        WikiText2(tmp_path, WIKITEXT2).train()


def test_one_missing_file_is_named(tmp_path):
    (write(tmp_path, "ptb.{part}.txt") / "ptb.valid.txt").unlink()
    with pytest.raises(ConfigError, match=r"dataset\.root: ptb\.valid\.txt is missing from .*LDC"):
        PennTreebank(tmp_path, PTB).test()


@pytest.mark.parametrize("part, index", list(zip(PARTS, range(3), strict=True)))
def test_another_number_of_tokens_is_refused_with_both_numbers(part, index, tmp_path):
    write(tmp_path, texts=TEXTS | {part: TEXTS[part] + "cat\n"})
    expected = SIZES["num_tokens"][index]
    with pytest.raises(
        ConfigError, match=rf"{part}\.txt holds {expected + 2} tokens .* instead of the {expected} "
    ):
        PennTreebank(tmp_path, PTB).valid()


def test_another_vocabulary_is_refused_even_at_the_right_size(tmp_path):
    write(tmp_path, texts=TEXTS | {"test": "cat cat\n"})
    with pytest.raises(ConfigError, match=r"hold 6 different words .* instead of the 7 of the Penn Treebank"):
        PennTreebank(tmp_path, PTB).train()


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (write(tmp_path) / "valid.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"valid\.txt: not UTF-8 text"):
        PennTreebank(tmp_path, PTB).train()


def test_a_text_needs_a_root():
    with pytest.raises(ConfigError, match=r"dataset\.root: must name the folder"):
        WikiText2(None)


def test_the_published_sizes_are_those_of_the_papers():
    assert (ptb.LAYOUT.num_tokens, ptb.LAYOUT.vocabulary_size) == ((929_589, 73_760, 82_430), 10_000)
    assert wikitext2.LAYOUT.num_tokens == (2_088_628, 217_646, 245_569)
    assert wikitext2.LAYOUT.vocabulary_size == 33_278


def embedded_titles() -> list[str]:
    lines = (FOLDER / "train.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("= ") and not line.startswith("= =")]


def test_the_text_that_comes_with_the_project_is_whole_and_names_its_authors():
    source = WikiTextMini()
    words = source.words()
    assert len(words) == source.vocabulary_size
    known = source.train().bincount(minlength=len(words))
    assert int(known.min()) >= 3, "rarer words are <unk>, and no other part holds a word that training lacks"
    credits = (FOLDER / "CREDITS.md").read_text(encoding="utf-8")
    assert "creativecommons.org/licenses/by-sa/3.0" in credits
    titles = embedded_titles()
    assert len(titles) == 62
    assert "= Hurricane Lorenzo ( 2007 ) =" in titles
    assert "Hurricane Lorenzo (2007)" in credits


@pytest.mark.parametrize(
    "name, kind", [("ptb", PennTreebank), ("wikitext2", WikiText2), ("wikitext_mini", WikiTextMini)]
)
def test_the_files_of_conf_make_these_sources(name, kind):
    config = OmegaConf.create({"dataset": OmegaConf.load(CONF / f"{name}.yaml")})
    source = instantiate(config.dataset.source)
    assert isinstance(source, kind)
    assert source.name == config.dataset.name == name


@pytest.fixture(scope="session")
def real(tmp_path_factory) -> Path:
    """The folder that holds the real WikiText-2, unpacked."""
    import tarfile

    folder = tmp_path_factory.mktemp("wikitext2")
    with tarfile.open(shared("data/wikitext2/wikitext-2.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_the_real_wikitext2_has_the_published_sizes(real):
    source = WikiText2(real)
    assert [len(part) for part in (source.train(), source.valid(), source.test())] == [
        2_088_628,
        217_646,
        245_569,
    ]
    start = " ".join(source.words()[index] for index in source.test()[:7])
    assert start == "<eos> = Robert <unk> = <eos> <eos>"


def test_the_embedded_articles_are_in_neither_held_out_part_of_wikitext2(real):
    source = WikiText2(real)
    held_out = " ".join(source.words()[index] for part in (source.valid(), source.test()) for index in part)
    titles = embedded_titles()
    assert [title for title in titles if f"<eos> {title} <eos>" in held_out and "<unk>" not in title] == []


def test_a_text_of_ones_own_has_any_length_and_vocabulary(tmp_path):
    texts = TEXTS | {"train": "\ufeff" + "the cat sat\n" * 3}
    source = Corpus(write(tmp_path, texts=texts), "mine")
    check_source(source)
    assert (source.name, source.vocabulary_size, source.num_tokens) == ("mine", 6, None)
    assert source.words() == ("the", "cat", "sat", "<eos>", "dog", "<unk>")
    assert [len(read_tokens(source, part)) for part in PARTS] == [12, 3, 3]
    (tmp_path / "valid.txt").unlink()
    with pytest.raises(ConfigError, match=r"dataset\.root: valid\.txt is missing from .*; put train\.txt"):
        Corpus(tmp_path).valid()
    with pytest.raises(
        ConfigError, match=r"there is no text in three parts in .*no train\.txt or .* there; put"
    ):
        Corpus(tmp_path / "no").train()
