"""Texts from outside, as names of files, in the words of what shows them: one escaping for each kind of output.

HTML is escaped by the templates, YAML and JSON by their libraries.
"""

import re

_COMPUTED = re.compile(r"'*[=+@\t\r\n\-＝＋－＠]")  # Spreadsheets take the wide ones too.
"""How a cell begins that a spreadsheet would compute, or one that begins with the mark of such a cell already."""
_MARK = "'"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|&~$]|(?<![^\W_])_|_(?![^\W_])|(?<=https):(?=//)|(?<=http):(?=//)|(?<=www)\.")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
}  # fmt: skip


def escape_unprintable(text: str) -> str:
    r"""The text in one line of printable characters: what a terminal, a chart and a message show.

    Example:
        >>> print(escape_unprintable("a\n\x1b[31m\udcff.wav: no such file"))
        a\n\x1b[31m\udcff.wav: no such file
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def escape_lines(text: str) -> str:
    """As `escape_unprintable`, but lines stay."""
    return "\n".join(map(escape_unprintable, text.split("\n")))


def escape_cell(text: str) -> str:
    """A text as a cell of CSV: one that a spreadsheet would compute begins with an apostrophe. Numbers stay.

    Example:
        >>> escape_cell("=1+1"), escape_cell("-5"), escape_cell("'=1"), escape_cell("it's")
        ("'=1+1", '-5', "''=1", "it's")
    """
    return _MARK + text if _COMPUTED.match(text) and not _NUMBER.fullmatch(text) else text


def read_cell(cell: str) -> str:
    """The text that `escape_cell` has made a cell of.

    Example:
        >>> read_cell("'=1+1"), read_cell("''=1"), read_cell("'quoted'")
        ('=1+1', "'=1", "'quoted'")
    """
    return cell[1:] if cell.startswith(_MARK) and _COMPUTED.match(cell) else cell


def escape_markdown(text: str) -> str:
    r"""A text as Markdown shows it, in a line or a cell of a table: no links, no HTML, no columns of its own.

    Example:
        >>> print(escape_markdown("<b>a|b</b> [x](http://x) my_song"))
        \<b\>a\|b\</b\> \[x\](http\://x) my_song
    """
    return _MARKDOWN.sub(r"\\\g<0>", escape_unprintable(text))


def escape_latex(text: str) -> str:
    r"""A text as LaTeX prints it.

    Example:
        >>> print(escape_latex("100 % of logs/my_run"))
        100 \% of logs/my\_run
    """
    return "".join(_LATEX.get(letter, letter) for letter in escape_unprintable(text))
