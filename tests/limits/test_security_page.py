# SPDX-License-Identifier: Apache-2.0
"""doc/security.md says of every attack whether it was tried, and by what."""
import re

from front import ROOT

TEXT = (ROOT / "doc/security.md").read_text()


def rows(part):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if re.match(r"\| \d+ \|", line)]


def test_every_attack_has_a_state_and_tested_ones_have_rows():
    seen, listed = TEXT.split("## The list")
    tried = {row[0] for row in rows(seen)}
    states = {row[0]: row[2] for row in rows(listed)}
    assert list(states) == [str(n) for n in range(1, 41)]
    assert {n for n, state in states.items() if state.startswith("tested")} == tried
    assert all(re.match(r"(tested|open|no surface yet)( for|: |;|$)", state) for state in states.values())


def test_every_row_names_a_test_that_speaks_of_its_attack():
    for number, tried, _, test in rows(TEXT.split("## The list")[0]):
        words = (ROOT / test.strip("`")).read_text()
        assert re.search(rf"attacks? (\d+(, | and | to ))*{number}\b|attack[_(]{number}\b", words, re.I), (number, tried, test)
