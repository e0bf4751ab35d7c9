"""Names from file systems as text, and names of files that every system takes."""

import os
import unicodedata

import pytest

from mdx_progressive.runtime.names import find_name, safe_names, text_name

RESERVED = ["CON", "con", "nul.wav", "COM1", "LPT9.txt", "COM¹", "CONIN$", "a.", "a ", " a", ".a", "..", ".", "",
            "a:b", "a/b", "a\\b", "a*b", "a?b", 'a"b', "a<b", "a|b", "a\nb", "a\x7fb",
            "\ud800", os.fsdecode(b"a\xff")]  # fmt: skip


class TestText:
    @pytest.mark.parametrize("name", ["good", "é", "e\u0301", "音", "50 %", "a%FF", "a/b", "a\nb", ""])
    def test_what_is_text_stays(self, name: str) -> None:
        assert text_name(name) == name

    @pytest.mark.parametrize(
        ("name", "expected"), [(b"n\xff", "n%FF"), ("é/".encode("latin-1") + b"b\x80", "%E9/b%80")]
    )
    def test_bytes_that_are_none_are_escaped(self, name: bytes, expected: str) -> None:
        assert text_name(os.fsdecode(name)) == expected

    def test_half_a_surrogate_of_windows_too(self) -> None:
        assert text_name("a\ud83d") == "a%uD83D"

    def test_the_longest_names_are_no_longer_than_names_can_be_and_not_alike(self) -> None:
        longest = {text_name(os.fsdecode(b"\xff" * 250 + end)) for end in (b"a", b"b")}

        assert len(longest) == 2
        assert all(len(name.encode()) <= 255 - len("accompaniment.flac") for name in longest)


class TestFind:
    @pytest.mark.parametrize(
        ("name", "names", "found"),
        [
            ("vocals", ["Vocals", "drums"], "Vocals"),
            ("VOCALS", ["vocals", "Vocals"], None),
            ("Vocals", ["vocals", "Vocals"], "Vocals"),
            ("vocal", ["vocals"], None),
            ("e\u0301", ["É"], "É"),
            ("vocals", [], None),
        ],
    )
    def test_the_name_itself_or_the_only_one_in_another_case(
        self, name: str, names: list[str], found: str | None
    ) -> None:
        assert find_name(name, names) == found


class TestSafe:
    @pytest.mark.parametrize("name", RESERVED)
    def test_what_a_system_refuses_gets_another_name(self, name: str) -> None:
        safe = safe_names([name])[name]

        assert safe not in RESERVED
        assert safe.encode()
        assert not set(safe) & set('/\\:*?"<>|\n\x7f')
        assert safe == safe.strip(" .")
        assert safe.split(".")[0].upper() not in {"CON", "NUL", "COM1", "LPT9", "COM¹", "CONIN$"}

    def test_a_path_of_the_longest_names_is_short_enough_for_windows(self) -> None:
        name = "x" * 300

        safe = safe_names([name])[name]

        # <to>/<song>/<chunk>/<stem>.flac, with 60 for <to>.
        assert 60 + 1 + len(safe) + 5 + len(safe) + len(".flac") < 260

    @pytest.mark.parametrize(
        "names", [["a", "A"], ["é", "e\u0301"], ["ß", "SS"], ["n%FF", os.fsdecode(b"n\xff")], ["x" * 299, "x" * 300]]
    )
    def test_names_that_a_disk_may_take_for_one_are_told_apart(self, names: list[str]) -> None:
        safe = safe_names(names)

        assert len({unicodedata.normalize("NFC", each).casefold() for each in safe.values()}) == 2
