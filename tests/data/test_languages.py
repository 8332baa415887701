"""Texts of many languages: what Babel says, split and labelled."""

import datetime

import numpy as np
import pytest
from babel import Locale
from babel.dates import format_date

from tfhyper import data


def test_characters_have_their_places():
    found = data.encode_texts(["abc", "b?", "", "cabb"], alphabet="abc", length=3)
    assert found.dtype == np.int32
    assert found.tolist() == [[2, 3, 4], [3, 1, 0], [0, 0, 0], [4, 2, 3]]


def test_names_are_those_of_their_language_and_of_one_part_alone():
    languages = ["de", "fr", "pt_BR"]
    parts = data.language_names(languages, longest=20, seed=3)
    locales = [Locale.parse(x) for x in languages]
    concepts = {}
    for part, (texts, labels) in parts.items():
        concepts[part] = set()
        for text, label in zip(texts, labels, strict=True):
            locale = locales[label]
            keys = {
                (kind, key)
                for kind in ("territories", "languages", "currencies")
                for key, name in getattr(locale, kind).items()
                if name == text
            }
            assert keys and len(text) <= 20
            if len(keys) == 1:  # some names are of two things
                concepts[part] |= keys
    train, validation, test = concepts.values()
    assert not train & validation and not train & test and not validation & test
    sizes = np.array([len(x.texts) for x in parts.values()])
    np.testing.assert_allclose(sizes / sizes.sum(), [0.7, 0.15, 0.15], atol=0.03)
    again = data.language_names(languages, longest=20, seed=3)
    assert all(again[part].texts == parts[part].texts for part in parts)
    assert data.language_names(languages, seed=4)["train"].texts != again["train"].texts


def test_dates_are_written_as_babel_writes_them():
    texts, labels = data.written_dates(["de"], 300, seed=1)
    assert labels.shape == (300, max(map(len, texts)))
    known = 0
    for text, row in zip(texts, labels, strict=True):
        assert not row[len(text) :].any()
        parts = {
            name: "".join(c for c, i in zip(text, row, strict=False) if i == at)
            for at, name in enumerate(data.DATE_PARTS)
        }
        assert 1 <= int(parts["day"]) <= 31
        if len(parts["year"]) == 4 and parts["month"].isdigit():
            numbers = [int(parts[x]) for x in ("year", "month", "day")]
            date = datetime.date(*numbers)
            styles = ("d.M.y", "E, d.M.y", "dd.MM.y")
            assert text in [format_date(date, style, locale="de") for style in styles]
            assert parts["weekday"] in ("", format_date(date, "EEE", locale="de"))
            known += 1
    assert known > 50
    assert data.written_dates(["de"], 300, seed=1).texts == texts


def test_months_come_first_in_america():
    texts, labels = data.written_dates(["en"], 100)
    names = [data.DATE_PARTS[row[0]] for row in labels]
    assert set(names) == {"month", "weekday"}
    assert any("/" in text for text in texts)


def test_bad_arguments_are_named():
    for languages, message in (
        (["de"], "`languages` must be 2 or more, each once"),
        (["de", "de"], "`languages` must be 2 or more, each once"),
        (["de", "xx"], "`languages` must be codes that Babel knows.*'xx'"),
        (["de", "not a code"], "`languages` must be codes that Babel knows"),
    ):
        with pytest.raises(ValueError, match=message):
            data.language_names(languages)
    with pytest.raises(TypeError, match="`languages` must be a list"):
        data.written_dates("de", 3)
    with pytest.raises(ValueError, match="`count` must be"):
        data.written_dates(["de"], 0)
    with pytest.raises(ValueError, match="`alphabet` must have each character once"):
        data.encode_texts(["a"], "aa", 3)
    with pytest.raises(TypeError, match="`texts` must be"):
        data.encode_texts("ab", "ab", 3)
    with pytest.raises(TypeError, match="`texts` must be"):
        data.encode_texts(["a", 3], "ab", 3)
