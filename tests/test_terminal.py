"""Many warnings of one kind are one line.

pytest tests/test_terminal.py
"""

import pytest

from common import terminal


def sentence(count, names, reason):
    return f"{count}: {reason} ({names})"


def test_warnings_of_one_reason_are_one_line_with_a_count_and_the_first_names():
    lines = []
    with terminal.grouped(sentence, lines.append) as tell:
        for number in range(30):
            tell("odd" if number % 3 else "even", f"n{number}")
        assert lines == []
    assert lines == [
        "10: even (n0, n3, n6, n9, n12 and 5 more)",
        "20: odd (n1, n2, n4, n5, n7 and 15 more)",
    ]


def test_reasons_without_end_share_a_line():
    lines = []
    with terminal.grouped(sentence, lines.append) as tell:
        for number in range(1000):
            tell(f"reason {number}", number)
    assert len(lines) == terminal.MOST_REASONS + 1
    assert lines[-1] == "990: other reasons (10, 11, 12, 13, 14 and 985 more)"


def test_what_was_told_before_an_error_is_not_lost(capsys):
    with pytest.raises(ValueError), terminal.grouped(sentence) as tell:
        tell("broken", "\x1b[31ma")
        raise ValueError
    assert capsys.readouterr().err == "1: broken ( [31ma)\n"


def test_a_name_that_comes_again_is_shown_once():
    lines = []
    with terminal.grouped(sentence, lines.append) as tell:
        for name in "aab":
            tell("x", name)
    assert lines == ["3: x (a, b and 1 more)"]
    assert terminal.first_few(["a", "b"]) == "a, b"


@pytest.mark.parametrize(
    "done, said", [(3, "pictures: 3 pictures in"), (2, "pictures: 2 of 3 pict")]
)
def test_what_was_stopped_half_way_is_not_said_to_be_done(capsys, done, said):
    with pytest.raises(ValueError), terminal.progress("pictures", 3, "pictures") as bar:
        bar.update(done)
        raise ValueError
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)
