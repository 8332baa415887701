"""Short texts of many languages, labelled: made of what Babel knows of them.

Babel carries the Unicode Common Locale Data Repository, which says what people of each
language call countries, languages and currencies, and how they write dates. It is
imported when the texts are made (`pip install "tfhyper[sequences]"`).
"""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfhyper.checks import check_instance, check_integer, check_text

# Numbers of characters begin behind those of the padding and of unknown ones.
PADDING, UNKNOWN, FIRST = 0, 1, 2
# What `written_dates` labels each character with.
DATE_PARTS = ("other", "day", "month", "year", "weekday")
_FIELDS = {"d": 1, "M": 2, "L": 2, "y": 3, "E": 4, "c": 4}
# Beside the four styles of each language: dates with a weekday, and short ones.
_SKELETONS = ("yMd", "yMEd", "yMMMd", "yMMMEd", "MMMEd")
_STYLES = ("full", "long", "medium", "short")
# Most of the years that people write of.
_YEARS = (1950, 2050)


class LabelledTexts(NamedTuple):
    """Texts and their labels.

    Attributes:
        texts: the texts.
        labels: ints, of shape (texts,): a class of each; or of shape (texts, longest):
            one of each character, and 0 behind the end.

    Example:
        >>> found = tfhyper.data.written_dates(["fi"], count=3)
        >>> len(found.texts), len(found.labels)
        (3, 3)
    """

    texts: list[str]
    labels: np.ndarray


def encode_texts(texts: Sequence[str], alphabet: str, length: int) -> np.ndarray:
    """Returns numbers for the characters of texts.

    A character has the number of its place in the alphabet plus 2; one that is not
    there has 1, and 0 stands behind the end of a text, which
    `keras.layers.Embedding(len(alphabet) + 2, units, mask_zero=True)` masks.

    Args:
        texts: list of strings.
        alphabet: string of the characters that have numbers, each once.
        length: int > 0, characters of each row; what is longer is cut off.

    Returns:
        int32 array of shape (texts, length).

    Raises:
        TypeError: for texts that are no list of strings.
        ValueError: for an alphabet with a character twice, or `length` out of range.

    Example:
        >>> tfhyper.data.encode_texts(["ab", "xa"], alphabet="ab", length=3).tolist()
        [[2, 3, 0], [1, 2, 0]]
    """
    check_text("alphabet", alphabet)
    if len(set(alphabet)) < len(alphabet):
        raise ValueError(
            f"`alphabet` must have each character once. Received: {alphabet!r}"
        )
    check_integer("length", length, 1)
    check_instance("texts", texts, list | tuple, "a list of strings")
    numbers = {character: i + FIRST for i, character in enumerate(alphabet)}
    rows = [check_text("texts", text)[:length] for text in texts]
    found = np.full((len(rows), length), PADDING, "int32")
    for row, text in zip(found, rows, strict=True):
        row[: len(text)] = [numbers.get(character, UNKNOWN) for character in text]
    return found


def language_names(
    languages: Sequence[str], *, longest: int = 32, seed: int = 0
) -> dict[str, LabelledTexts]:
    """Returns what countries, languages and currencies are called, by language.

    A text is a name in one of the languages, its label says in which. What is called
    the same in several languages is there once for each: no network can know which it
    is. A country, language or currency is in one part alone with all its names: 70 % of
    them in `"train"`, 15 % each in `"validation"` and `"test"`.

    Args:
        languages: codes, such as `"de"` or `"pt_BR"`; a label is a place among them.
        longest: int > 0; longer names are left out.
        seed: int in 0 <= seed < 2**31, which draws the parts and the order.

    Returns:
        Dict of part -> `LabelledTexts`.

    Raises:
        ImportError: if Babel is not installed.
        ValueError: for languages that Babel does not know, fewer than two, or one
            twice.

    Example:
        >>> names = tfhyper.data.language_names(["de", "fr"])
        >>> list(names)
        ['train', 'validation', 'test']
        >>> sorted(set(names["test"].labels.tolist()))
        [0, 1]

    Reference:
        Unicode Common Locale Data Repository, https://cldr.unicode.org, by Babel.
    """
    locales = _locales(languages, least=2)
    check_integer("longest", longest, 1)
    rng = np.random.default_rng(check_integer("seed", seed, 0, 2**31 - 1))
    parts: dict[str, list] = {"train": [], "validation": [], "test": []}
    kinds = ("territories", "languages", "currencies")
    keys = sorted({(kind, key) for kind in kinds for key in getattr(locales[0], kind)})
    bounds = (np.array([0.7, 0.85]) * len(keys)).astype(int)
    of_key = np.searchsorted(bounds, rng.permutation(len(keys)), side="right")
    for (kind, key), part in zip(keys, of_key, strict=True):
        for label, locale in enumerate(locales):
            name = getattr(locale, kind).get(key)
            # Some have no name, but for the code itself.
            if name is not None and name != key and len(name) <= longest:
                list(parts.values())[part].append((name, label))
    found = {}
    for part, pairs in parts.items():
        order = rng.permutation(len(pairs))
        texts = [pairs[i][0] for i in order]
        labels = np.array([pairs[i][1] for i in order], "int32")
        found[part] = LabelledTexts(texts, labels)
    return found


def written_dates(
    languages: Sequence[str], count: int, *, seed: int = 0
) -> LabelledTexts:
    """Returns dates as they are written, each character labelled with its part.

    Day, language and style are drawn: 'Donnerstag, 3. März 2022' has a weekday, a day,
    a month and a year, as places in `DATE_PARTS`, and what is between them is 0. Of
    '3/4/2022' nobody can know whether the day or the month comes first, where the
    languages do not agree.

    Args:
        languages: codes, such as `"de"` or `"pt_BR"`.
        count: int > 0, how many dates.
        seed: int in 0 <= seed < 2**31.

    Returns:
        `LabelledTexts` with a label of each character.

    Raises:
        ImportError: if Babel is not installed.
        ValueError: for languages that Babel does not know, none, or one twice.

    Example:
        >>> dates = tfhyper.data.written_dates(["en", "de"], count=100)
        >>> text, labels = dates.texts[0], dates.labels[0]
        >>> {"day", "month"} < {tfhyper.data.DATE_PARTS[i] for i in labels[:len(text)]}
        True

    Reference:
        Unicode Common Locale Data Repository, https://cldr.unicode.org, by Babel.
    """
    from babel.dates import DateTimeFormat, tokenize_pattern

    locales = _locales(languages, least=1)
    check_integer("count", count, 1)
    rng = np.random.default_rng(check_integer("seed", seed, 0, 2**31 - 1))
    patterns = [[tokenize_pattern(p) for p in _patterns(locale)] for locale in locales]
    first, last = (datetime.date(year, 1, 1).toordinal() for year in _YEARS)
    texts, rows = [], []
    for _ in range(count):
        date = datetime.date.fromordinal(int(rng.integers(first, last)))
        at = rng.integers(len(locales))
        pattern = patterns[at][rng.integers(len(patterns[at]))]
        found = DateTimeFormat(date, locales[at])
        text, labels = "", []
        for _, value in pattern:
            if isinstance(value, str):  # what stands between the fields
                piece, label = value, 0
            else:
                piece, label = found[value[0] * value[1]], _FIELDS.get(value[0], 0)
            text += piece
            labels += [label] * len(piece)
        texts.append(text)
        rows.append(labels)
    padded = np.zeros((count, max(map(len, rows))), "int32")
    for row, labels in zip(padded, rows, strict=True):
        row[: len(labels)] = labels
    return LabelledTexts(texts, padded)


def _patterns(locale: Any) -> list[str]:
    """Returns the patterns of dates, each once."""
    styles = [str(locale.date_formats[style]) for style in _STYLES]
    known = locale.datetime_skeletons
    styles += [str(known[name]) for name in _SKELETONS if name in known]
    return list(dict.fromkeys(styles))


def _locales(languages: Sequence[str], least: int) -> list[Any]:
    import babel

    rule = "a list of languages' codes"
    check_instance("languages", languages, list | tuple, rule)
    codes = [check_text("languages", code) for code in languages]
    if len(codes) < least or len(set(codes)) < len(codes):
        raise ValueError(
            f"`languages` must be {least} or more, each once. "
            f"Received: languages={languages!r}"
        )
    found = []
    for code in codes:
        try:
            found.append(babel.Locale.parse(code))
        except (ValueError, babel.UnknownLocaleError) as error:
            raise ValueError(
                "`languages` must be codes that Babel knows. Received: "
                f"languages={languages!r} with {code!r}"
            ) from error
    return found
