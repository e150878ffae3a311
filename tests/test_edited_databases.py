"""A crawl.db that a person has edited with sqlite3 is healthy: columns, tables and views may be
added, and a blob of a person's is kept.

pytest tests/test_edited_databases.py
"""

import contextlib
import sqlite3

import pytest
from conftest import run_script, write_feed

LEAVES = ("Jeans > Bootcut", "Bags > Tote", "Shoes > Boot")


@pytest.fixture
def shop(tmp_path):
    rows = [
        (f"sku-{number}", f"item {number} {leaf[-4:]}", "text", leaf, "", "")
        for number, leaf in enumerate(LEAVES * 20)
    ]
    write_feed(tmp_path / "old.tsv", rows)
    (tmp_path / "moves.csv").write_text("from,to\nShoes > Boot,Shoes > Wellington\n")
    for command in (
        ("crawl", "--feed", "old.tsv", "--source", "s"),
        ("categorize_words", "--min-products", "5", "--epochs", "1"),
    ):
        done = run_script(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    return tmp_path


def edit(shop, statements):
    with contextlib.closing(sqlite3.connect(shop / "crawl.db")) as conn:
        conn.executescript(statements)


def own(table, column, value):
    return f"alter table {table} add column {column}; update {table} set {value};"


EDITS = {
    "a price with cents": own("product", "price integer", "price = 9.99"),
    "a price that is not known": own("product", "price real", "price = 'n/a'"),
    "a blob": own("product", "thumb text", "thumb = x'ffd8'"),
    "a name with a blank": own("product", '"my price" integer', '"my price" = 9'),
    "a word of SQL": own("product", '"order" integer', '"order" = 9'),
    "a name with a quote": own("category", '"it\'s" text', '"it\'s" = 1'),
    "a number as a name": own("category", '"2024" integer', '"2024" = 1'),
    "another column of near_duplicate": "alter table near_duplicate add column note text",
    "another column of learned_product": "alter table learned_product add column note text",
    "a view": "create view v as select * from product join category on category.id = category_id",
    "a broken view": "create view v as select * from nowhere",
    "tables": "create table counts_as(x); create table place(x); create table measured(x)",
    "a trigger": "create table seen(id); create trigger t after update on product "
    "begin insert into seen values (new.id); end",
}


@pytest.mark.redteam
def test_a_column_by_which_a_query_is_ambiguous_is_named_and_no_damage(shop):
    edit(shop, own("product", "score real", "score = 1"))
    done = run_script("analyze", "--experiment", "1", cwd=shop)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "score" in done.stderr and "rename" in done.stderr and "damaged" not in done.stderr


@pytest.mark.parametrize("name", EDITS)
def test_what_a_person_has_added_is_let_be(shop, name):
    edit(shop, EDITS[name])
    for command in (
        ("crawl", "--status"),
        ("analyze", "--experiment", "1"),
        ("categorize_words", "--min-products", "5", "--epochs", "1"),
        ("crawl", "--feed", "old.tsv", "--source", "s"),
        ("analyze", "--recategorize", "moves.csv"),
        ("analyze", "--undo-recategorize"),
    ):
        done = run_script(*command, cwd=shop)
        assert done.returncode == 0, (command, done.stderr[-500:])


BLOBS = (
    own("category", "thumb blob", "thumb = x'ff'"),
    own("category", "thumb", "thumb = cast(id as blob)"),
    "alter table label_override add column thumb blob; insert into label_override(product_id, "
    "decision, category_id, label_id, thumb) select id, 'label wrong', 'bags.tote', "
    "category_id, x'ff' from product where category_id = 'shoes.boot'",
)


def tree_and_decisions(shop):
    with contextlib.closing(sqlite3.connect(shop / "crawl.db")) as conn:
        statements = ("select * from category order by id", "select * from label_override")
        return [row for statement in statements for row in conn.execute(statement)]


@pytest.mark.redteam
@pytest.mark.parametrize("statements", BLOBS)
def test_a_blob_of_a_person_s_does_not_end_recategorize(shop, statements):
    edit(shop, statements)
    before = tree_and_decisions(shop)
    assert any(type(cell) is bytes for row in before for cell in row)
    for command in (("--recategorize", "moves.csv"), ("--undo-recategorize",)):
        done = run_script("analyze", *command, cwd=shop)
        assert "Traceback" not in done.stderr and done.returncode == 0, done.stderr[-500:]
        assert (tree_and_decisions(shop) == before) is (command == ("--undo-recategorize",))


@pytest.mark.redteam
@pytest.mark.parametrize("statements", ("", "update label_override set thumb = x'00'"))
def test_a_decision_is_taken_back_whatever_a_person_has_added_since(shop, statements):
    edit(shop, BLOBS[-1])
    assert run_script("analyze", "--recategorize", "moves.csv", cwd=shop).returncode == 0
    edit(shop, "alter table label_override add column note text;" + statements)
    assert run_script("analyze", "--undo-recategorize", cwd=shop).returncode == 0
    with contextlib.closing(sqlite3.connect(shop / "crawl.db")) as conn:
        labels = conn.execute("select distinct label_id from label_override").fetchall()
    assert labels == [("shoes.boot",)]


PATHS = ("shoes/gone/shoes.boot", "gone", "//", "shoes", "shoes/shoes.boot/shoes.boot/")


@pytest.mark.redteam
@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_nowhere_is_one_sentence_and_nothing_is_moved(shop, path):
    edit(shop, f"update category set path = '{path}' where id = 'shoes.boot'")
    (shop / "moves.csv").write_text("from,to\nshoes.boot,Shoes > Wellington\n")
    before = tree_and_decisions(shop)
    done = run_script("analyze", "--recategorize", "moves.csv", cwd=shop)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "the path of the category 'shoes.boot'" in done.stderr and repr(path) in done.stderr
    assert tree_and_decisions(shop) == before


@pytest.mark.redteam
@pytest.mark.parametrize("parent", ["gone", "shoes.boot", "bags.tote"])
def test_a_parent_that_leads_nowhere_is_mended_by_the_next_load(shop, parent):
    """A load ended with a KeyError, or never."""
    before = tree_and_decisions(shop)
    edit(shop, f"update category set parent = '{parent}' where id = 'shoes.boot'")
    done = run_script("crawl", "--feed", "old.tsv", "--source", "s", cwd=shop, timeout=60)
    assert done.returncode == 0, done.stderr[-500:]
    assert tree_and_decisions(shop) == before


@pytest.mark.redteam
def test_moves_have_the_bounds_of_a_load(shop):
    """A line of 500 characters made 249 levels, whose paths have 5 MB together."""
    deep = ">".join(["deep", *["a"] * 240])
    (shop / "moves.csv").write_text(f"from,to\nShoes > Boot,{deep}\nBags > Tote,Bags > Sack\n")
    done = run_script("analyze", "--recategorize", "moves.csv", cwd=shop)
    assert done.returncode == 1 and "line 2" in done.stderr, done.stderr
    with contextlib.closing(sqlite3.connect(shop / "crawl.db")) as conn:
        (longest,) = conn.execute("select max(length(path)) from category").fetchone()
    assert longest < 100


@pytest.mark.redteam
def test_a_text_that_is_no_utf8_is_named_by_verify(shop):
    """A file in another alphabet, which sqlite3 has imported: without the row nobody can mend it."""
    edit(shop, "update product set name = cast(x'4de462' as text) where id = 7")
    done = run_script("crawl", "--verify", cwd=shop)
    assert done.returncode == 2 and "product.name" in done.stderr and "7" in done.stderr
