"""Texts of one's own read by characters: vocabulary, what it lacks, and files as editors leave them."""

import logging

import pytest

from nas.data.checks import read_tokens
from nas.data.corpus import Corpus
from nas.data.declared import check_source
from nas.data.tokens import tokens_of
from nas.errors import ConfigError


def text(folder, train, valid="ab", test="ab", encoding="utf-8"):
    for part, content in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"{part}.txt").write_bytes(
            content.encode(encoding) if isinstance(content, str) else content
        )
    return Corpus(folder, tokenizer="characters")


def written(source, part):
    return [source.words()[index] for index in read_tokens(source, part).tolist()]


def test_every_character_of_the_training_text_is_a_token(tmp_path):
    train = "naïve 猫\n\tcafe\u0301 🙂\n\n"  # an accent of its own, and one beyond 16 bits
    source = text(tmp_path, train)
    check_source(source)
    assert written(source, "train") == list(train)
    known = sorted(set(train))
    assert source.words() == (*known, "<unk>") and source.vocabulary_size == len(known) + 1
    assert tokens_of(train, "characters") == list(train)


def test_characters_that_training_lacks_are_counted_and_read_as_unknown(tmp_path, caplog):
    source = text(tmp_path, "abc\n" * 5, valid="abz\tzz\n", test="cab")
    with caplog.at_level(logging.WARNING):
        assert written(source, "valid") == ["a", "b", *["<unk>"] * 4, "\n"]
    (told,) = [one.getMessage() for one in caplog.records]
    assert told.startswith("warning: valid.txt: 4 of 7 characters (2 different) are not in the training text")
    assert told.endswith(r"read as <unk>: 'z' (3), '\t' (1)")
    assert len(source.words()) == 5 and written(source, "test") == ["c", "a", "b"]


def test_a_mark_and_the_line_ends_of_windows_are_no_tokens(tmp_path):
    source = text(tmp_path, b"\xef\xbb\xbfab\r\nba\rb", valid="\ufeffab")
    assert written(source, "train") == list("ab\nba\nb") and written(source, "valid") == ["a", "b"]


def test_a_file_in_another_encoding_is_refused_with_the_place(tmp_path):
    with pytest.raises(
        ConfigError, match=r"train\.txt: not UTF-8 text \(byte 0xe9 at 3\); put train"
    ) as told:
        text(tmp_path, "café", encoding="latin-1").train()
    assert "\n" not in str(told.value)
    with pytest.raises(ConfigError, match=r"byte 0xff at 0"):
        text(tmp_path, "cafe", encoding="utf-16").train()


@pytest.mark.parametrize("tokenizer", ["letters", None, 1])
def test_another_tokenizer_is_refused(tmp_path, tokenizer):
    with pytest.raises(ConfigError, match=r"^dataset\.tokenizer=.* must be one of words, characters$"):
        Corpus(tmp_path, tokenizer=tokenizer)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_an_empty_part_is_named(tmp_path, part):
    source = text(tmp_path, **{"train": "abab", part: "\ufeff"})
    with pytest.raises(ConfigError, match=rf"{part}\.txt holds no character"):
        source.train()
