"""The index of places finds what reading every text finds."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eno.similarity.substrings import SubstringIndex

# Few letters, so that words are found; among them whole and half characters of several bytes, and ends of lines.
LETTERS = st.text(st.sampled_from("ab/é鱼\0 \n🎹\u2028"), max_size=40)


def linear(texts, words):
    return [at for at, text in enumerate(texts) if all(word in text for word in words.split())]


def opened(folder, texts, block=7):
    blocks = [pa.array(texts[first : first + block], pa.string()) for first in range(0, len(texts), block)]
    return SubstringIndex.open(folder, blocks)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(LETTERS, max_size=30), words=LETTERS, data=st.data())
def test_random_words_and_parts_of_the_texts(tmp_path_factory, texts, words, data):
    index = opened(tmp_path_factory.mktemp("index"), texts)
    assert index.find(words).tolist() == linear(texts, words)
    if texts:
        text = data.draw(st.sampled_from(texts))
        first = data.draw(st.integers(0, len(text)))
        part = text[first : first + data.draw(st.integers(0, 40))]
        assert index.find(part).tolist() == linear(texts, part)


def test_words_of_any_length_in_many_texts(tmp_path):
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdeé"), size)) for size in rng.integers(1, 24, 60)]
    texts = ["/".join(rng.choice(vocabulary, rng.integers(1, 6))) for _ in range(2_000)]
    index = opened(tmp_path, texts, block=600)
    joined = "/".join(texts[:50])
    for length in range(1, 40):
        word = joined[17 * length :][:length]
        assert index.find(word).tolist() == linear(texts, word)
    assert index.find("").tolist() == list(range(len(texts)))
    assert index.find("\ud800").tolist() == []


def test_several_groups_of_places_are_sorted_as_one(tmp_path, monkeypatch):
    texts = [f"{number:b} {number:x}" for number in range(3_000)]
    usual = opened(tmp_path / "usual", texts)
    monkeypatch.setattr("eno.similarity.substrings._AT_ONCE", 100)
    divided = opened(tmp_path / "divided", texts)
    assert sorted(usual.places) == sorted(divided.places)
    for word in ("10", "1 1", "abc", "f", "11111111111"):
        assert divided.find(word).tolist() == usual.find(word).tolist() == linear(texts, word)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"PK\3\4 no zip"])
def test_the_index_is_kept_until_the_texts_change(tmp_path, damage):
    texts = ["one", "two", "three"]
    opened(tmp_path, texts)
    (first,) = tmp_path.iterdir()
    before = first.stat().st_mtime_ns
    opened(tmp_path, texts)
    assert first.stat().st_mtime_ns == before
    first.write_bytes(damage)
    assert opened(tmp_path, texts).find("o").tolist() == [0, 1]
    assert opened(tmp_path, [*texts, "four"]).find("o").tolist() == [0, 1, 3]
    assert first not in set(tmp_path.iterdir()) and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_to(tmp_path, caplog):
    (tmp_path / "file").touch()
    assert opened(tmp_path / "file", ["one", "two"]).find("tw").tolist() == [1]
    assert "indexed again" in caplog.text
