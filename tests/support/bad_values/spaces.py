"""Bad values in YAML spaces, through the command line.

tests/search_spaces/test_search_spaces.py has fifty more, through the loader.
"""

from __future__ import annotations

from support.bad_values.case import SEARCH, Case, written


def space(name: str, content: str | bytes, *says: str) -> Case:
    arguments = [*SEARCH, "--space", "{at}/mine.yaml"]
    return Case(name, arguments, ["mine.yaml", *says], written("mine.yaml", content))


BOMB = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
SPACES = [
    space("a parameter's name", "parameters: {optimiser: {choices: [sgd]}}",
          "'optimiser'", "did you mean 'optimizer'"),
    space("a choice", "parameters: {optimizer: {choices: [adm]}}",
          "parameters.optimizer.choices[0]", "'adm'", "did you mean 'adam'"),
    space("a word for a number", "parameters: {lr: {low: small, high: 1}}",
          "parameters.lr.low", "'small'", "(0, 10]"),
    space("not a number", "parameters: {lr: {low: .nan, high: 1}}", "parameters.lr.low", "nan"),
    space("a range upside down", "parameters: {lr: {low: 1, high: 0.1}}",
          "parameters.lr.high", "0.1", "not above low"),
    space("a Python object", "parameters: !!python/object/apply:os.mkdir [owned]",
          "line 1", "python/object", "tag"),
    space("a bomb of aliases", BOMB, "line", "anchor or alias"),
    space("a bomb of brackets", "[" * 60_000, "levels of nesting"),
    space("no YAML", "parameters: {lr: [", "line", "not valid YAML"),
    space("no text", b"\xff\xfe\x00\xd8parameters", "not valid YAML"),
    space("a file too large", "#" * 70_000, "65536"),
    space("nothing", "", "is empty"),
    Case("a folder", [*SEARCH, "--space", "{at}/mine.yaml"], ["mine.yaml", "cannot be read"],
         lambda at: (at / "mine.yaml").mkdir()),
]  # fmt: skip
