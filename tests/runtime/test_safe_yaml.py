"""YAML of others: what would take memory or time is refused, what is no value is told."""

import time
from contextlib import suppress

import pytest
import yaml

from mdx_progressive.runtime.safe_yaml import check_yaml_size, load_yaml

MERGES = "a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(4000)) + "}\n" + "".join(
    f"a{level}: &a{level} {{<<: [*a{level - 1}, *a{level - 1}]}}\n" for level in range(1, 9)
)  # fmt: skip
BOMBS = {
    "1.9 million items": "[" + "1," * 520_000 + "1]",
    "100,000 keys": "".join(f"k{i}: 1\n" for i in range(50_000)),
    "merges": MERGES,
    "merges of one": "a: &a {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}\n" + "b: {<<: [" + "*a, " * 20 + "]}",
    "digits": "1" * 5000,
    "sexagesimal": "1" + ":1" * 2000,
    "negative": "-" + "1" * 5000,
    "fraction": "0." + "1" * 5000,
    "tagged": "!!int '" + "1" * 5000 + "'",
    "tagged sexagesimal": "!!float '1" + ":1" * 2000 + "'",
    "long": "a" * 2**21,
    "deep": "[" * 60 + "]" * 60,
    "itself": "a: &a [*a]",
    "itself in a key": "&a {b: {c: *a}}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"more than|longer than|a number or date|nested|stands within"):
        check_yaml_size(BOMBS[name])


@pytest.mark.parametrize(
    "text",
    ["2001-99-99", "!!bool maybe", "!!int ''", "!!int x", "!!timestamp x", "!!float x", "? [a]\n: 1", "!!set [a]",
     "0b2: 09_", "1e999999999:1", "!!python/name:os.system", "a: ]"],
)  # fmt: skip
def test_what_is_no_value_is_an_error_of_yaml_or_a_text(text: str) -> None:
    with suppress(yaml.YAMLError):
        load_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "values: [" + "0.5, " * 9000 + "0.5]",
        "song: '" + "1" * 5000 + "'",
        "text: " + "long " * 5000,
        "base: &base {a: 1, b: [1, 2]}\nmore: {<<: *base, c: *base}",
    ],
    ids=["a schedule", "digits in quotes", "a text", "a merge"],
)
def test_settings_are_loaded(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)


def test_time_grows_with_the_length() -> None:
    def seconds(count: int) -> float:
        text = "[" + ", ".join(f"k{i}: {{a: [1, 2.5, x]}}" for i in range(count)) + "]"
        begun = time.process_time()
        load_yaml(text)
        return time.process_time() - begun

    seconds(10)
    assert seconds(2000) < 40 * max(seconds(200), 0.01)
