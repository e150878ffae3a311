"""A file that a page has saved: whole or cut, in any encoding that a spreadsheet writes, and against
what others have decided meanwhile.

pytest tests/test_decision_conflicts.py
"""

import csv
import io
import json

import pytest
from conftest import run_script
from test_decisions import change, decisions, folder, leaf_of, override  # noqa: F401

from common.text import csv_line

HEAD = (
    "product_id decision suggestion proposed label source external_id name instead_of line"
).split()


def page_file(rows, head=HEAD):
    """A file as a page saves it, of rows (product, decision, category, instead_of)."""
    lines = [
        (
            *(number, decision, category, "", leaf_of(number), "shop", f"sku-{number}"),
            *(f"Name {number}", instead_of, f"{i} of {len(rows)}"),
        )
        for i, (number, decision, category, instead_of) in enumerate(rows, 1)
    ]
    return "\n".join(csv_line(line) for line in (head, *lines)) + "\n"


def stored_by(folder, rows):  # noqa: F811
    for number, decision, category in rows:
        change(
            folder,
            "insert or replace into label_override values (?, ?, ?, ?, 'then')",
            *(number, decision, category, leaf_of(number)),
        )


ROWS = [
    (1, "label wrong", "bags.clutches", "undecided"),
    (2, "classifier wrong", "", "undecided"),
    (3, "unclear", "", "undecided"),
]
TAKEN = {1: ("label wrong", "bags.clutches"), 2: ("classifier wrong", None), 3: ("unclear", None)}


# ---- two people -----------------------------------------------------------------------------------


def test_what_somebody_else_has_decided_is_named_and_stays(folder):  # noqa: F811
    stored_by(folder, [(1, "label wrong", "jeans.skinny"), (3, "unclear", None)])
    done = override(folder, page_file(ROWS))
    assert done.returncode == 1
    assert done.stderr == (
        "decisions.csv, line 2: product 1 is decided otherwise by now, 'label wrong jeans.skinny', "
        "and not 'label wrong bags.clutches': to replace that, empty the cell instead_of of this line\n"
        "1 line of decisions.csv can't be used; the other decisions were stored\n"
    )
    assert decisions(folder) == {**TAKEN, 1: ("label wrong", "jeans.skinny")}
    assert (
        json.loads(override(folder, page_file(ROWS), "--json").stdout)["unusable"][0]["line"] == 2
    )


def test_who_empties_the_cell_replaces_it_and_is_told_what(folder):  # noqa: F811
    stored_by(folder, [(1, "label wrong", "jeans.skinny")])
    done = override(folder, page_file([(*ROWS[0][:3], ""), *ROWS[1:]]))
    assert done.returncode == 0 and decisions(folder) == TAKEN
    assert done.stderr == (
        "product 1: label wrong bags.clutches, before that label wrong jeans.skinny\n"
    )


def test_taking_back_what_somebody_else_has_changed_is_a_conflict_too(folder):  # noqa: F811
    stored_by(folder, [(1, "unclear", None), (2, "classifier wrong", None)])
    rows = [
        (1, "undecided", "", "label wrong jeans.skinny"),
        (2, "undecided", "", "classifier wrong"),
    ]
    done = override(folder, page_file(rows))
    assert done.returncode == 1 and "and not 'undecided'" in done.stderr
    assert decisions(folder) == {1: ("unclear", None)}


@pytest.mark.parametrize(
    "instead_of",
    (
        "label wrong jeans.skinny",
        "undecided | unclear | label wrong jeans.skinny",
        "filed by hand jeans.skinny",  # as an older page called it
        "undecided | LABEL  wrong   jeans.skinny | unclear",
    ),
)
def test_a_change_of_mind_is_no_conflict(folder, instead_of):  # noqa: F811
    stored_by(folder, [(1, "label wrong", "jeans.skinny")])
    done = override(folder, page_file([(1, "label wrong", "bags.clutches", instead_of)]))
    assert (done.returncode, done.stderr) == (0, "")
    assert decisions(folder) == {1: ("label wrong", "bags.clutches")}


@pytest.mark.parametrize(
    "stored",
    ([], [(1, "label wrong", "bags.clutches")]),
    ids=("nothing is stored", "the same is stored"),
)
def test_what_agrees_is_no_conflict(folder, stored):  # noqa: F811
    stored_by(folder, stored)
    done = override(folder, page_file([(1, "label wrong", "bags.clutches", "unclear")]))
    assert (done.returncode, done.stderr) == (0, "")
    assert decisions(folder) == {1: ("label wrong", "bags.clutches")}


def test_a_decision_about_another_label_does_not_count(folder):  # noqa: F811
    stored_by(folder, [(1, "label wrong", "jeans.skinny")])
    change(folder, "update label_override set label_id = 'another' where product_id = 1")
    done = override(folder, page_file([(1, "label wrong", "bags.clutches", "undecided")]))
    assert (done.returncode, done.stderr) == (0, "")
    assert decisions(folder) == {1: ("label wrong", "bags.clutches")}


def test_a_category_that_was_moved_since_is_still_known(folder):  # noqa: F811
    stored_by(folder, [(1, "label wrong", "jeans.skinny")])
    change(folder, "update category set path = parent || '/' || id where parent is not null")
    (folder / "moves.csv").write_text("from,to\njeans.skinny,Jeans > Slim\n")
    assert run_script("analyze", "--recategorize", "moves.csv", cwd=folder).returncode == 0
    (moved,) = {category for _, category in decisions(folder).values()}
    assert moved not in (None, "jeans.skinny")
    done = override(folder, page_file([(1, "unclear", "", "label wrong jeans.skinny")]))
    assert (done.returncode, done.stderr) == (0, "")
    assert decisions(folder) == {1: ("unclear", None)}


def test_the_older_of_two_files_of_one_page_does_not_undo_the_newer(folder):  # noqa: F811
    older = page_file([(1, "label wrong", "bags.clutches", "undecided")])
    newer = page_file([(1, "unclear", "", "undecided | label wrong bags.clutches")])
    for data, status in ((older, 0), (newer, 0), (older, 2), (newer, 0)):
        assert override(folder, data).returncode == status
        assert decisions(folder)[1][0] == ("unclear" if data == newer or status else "label wrong")


def test_a_file_that_does_not_know_says_what_it_replaces(folder):  # noqa: F811
    stored_by(folder, [(1, "label wrong", "jeans.skinny"), (2, "classifier wrong", None)])
    data = "product_id,decision,suggestion\n1,unclear,\n2,classifier wrong,\n3,unclear,\n"
    done = override(folder, data)
    assert done.returncode == 0
    assert done.stderr == (
        "decisions.csv replaces 1 decision (product 1: unclear, before that label wrong "
        "jeans.skinny)\n"
    )
    assert override(folder, data).stderr == ""


# ---- whole or named -------------------------------------------------------------------------------


def test_wherever_a_file_is_cut_each_line_comes_in_right_or_is_named(folder):  # noqa: F811
    """`bags.clutches` cut to the id of another category would be stored without a word."""
    change(
        folder, "insert into category(id, parent, leaf, path) values ('bags.c', 'bags', 1, 'b/c')"
    )
    whole = page_file(ROWS)
    head = len(whole.splitlines()[0]) + 1
    named = 0
    for end in range(head, len(whole) + 1):
        change(folder, "delete from label_override")
        done = override(folder, whole[:end])
        stored = decisions(folder)
        assert stored.items() <= TAKEN.items(), whole[:end]
        lines = whole[:end].count("\n") - 1
        assert len(stored) >= lines
        if len(stored) < 3:
            named += 1
            assert "decisions.csv" in done.stderr, whole[:end]
    assert named > 50


def test_a_file_with_fewer_lines_than_were_saved_says_so(folder):  # noqa: F811
    lines = page_file(ROWS).splitlines(keepends=True)
    done = override(folder, "".join(lines[:2] + lines[3:]))
    assert done.returncode == 0
    assert done.stderr == (
        "decisions.csv holds 2 of the 3 decisions that the page saved: if nobody has deleted the "
        "others, take in the whole file (answers of an audit that are missing count as skipped)\n"
    )
    assert sorted(decisions(folder)) == [1, 3]


def test_saved_twice_and_joined_it_comes_in_once(folder):  # noqa: F811
    done = override(folder, page_file(ROWS) * 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert decisions(folder) == TAKEN


def spreadsheet(text, separator, end="\r\n"):
    """The file as a spreadsheet writes it again."""
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end).writerows(
        csv.reader(io.StringIO(text))
    )
    return out.getvalue()


@pytest.mark.parametrize("separator", ",;\t", ids=("comma", "semicolon", "tab"))
@pytest.mark.parametrize(
    "encoding", ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
)
def test_what_spreadsheets_make_of_it_comes_in(folder, separator, encoding):  # noqa: F811
    """Also if a name has letters that the encoding has and others that it lacks."""
    change(folder, "update product set name = 'Röcke – été' where id = 1")
    change(folder, "update product set name = 'Кофта' where id = 2")
    text = page_file(ROWS).replace("Name 1", "Röcke – été").replace("Name 2", "Кофта")
    data = spreadsheet(text, separator).encode(encoding, "replace")
    done = override(folder, data)
    assert done.returncode == 0 and decisions(folder) == TAKEN
    assert done.stderr == (
        "decisions.csv is no UTF-8: read as Excel saves CSV files in Western Europe (cp1252)\n"
        if encoding == "cp1252"
        else ""
    )


def test_without_unicode_a_new_category_is_not_guessed(folder):  # noqa: F811
    text = page_file([(1, "label wrong", "", "undecided"), *ROWS[1:]])
    text = text.replace("label wrong,,,", "label wrong,,Röcke > Mini,")
    done = override(folder, text.encode("cp1252"))
    assert done.returncode == 1 and "'Röcke > Mini' are not sure: save the file as CSV UTF-8" in (
        done.stderr
    )
    assert sorted(decisions(folder)) == [2, 3]
    assert override(folder, text).returncode == 0
    assert decisions(folder)[1] == ("label wrong", "Röcke > Mini")


def test_a_category_whose_letters_were_taken_for_others_is_named(folder):  # noqa: F811
    change(folder, "insert into category(id, leaf, path) values ('röcke', 1, 'röcke')")
    text = page_file([(1, "label wrong", "röcke", "undecided"), *ROWS[1:]])
    done = override(folder, text.encode("mac_roman"))
    assert done.returncode == 1 and "line 2: 'label wrong' needs a category's id" in done.stderr
    assert sorted(decisions(folder)) == [2, 3]
    assert override(folder, text.encode("cp1252")).returncode == 0
    assert decisions(folder)[1] == ("label wrong", "röcke")


def test_a_workbook_is_one_sentence(folder):  # noqa: F811
    done = override(folder, b"PK\x03\x04" + bytes(2000))
    assert done.returncode == 2 and done.stderr == (
        "analyze.py: decisions.csv can't be read as a CSV file in UTF-8 (it is a workbook: save its sheet as "
        "CSV UTF-8)\n"
    )
