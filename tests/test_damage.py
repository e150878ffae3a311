"""A damaged crawl.db, or a damaged file of a person's: each command ends with its result, or with
one sentence, and never with a traceback; a damaged file is not written to.

pytest tests/test_damage.py
"""

import contextlib
import gc
import json
import random
import shutil
import signal
import sqlite3

import pytest
from conftest import run_script, write_feed

from common import stored_json

READING = (
    ("crawl", "--status"),
    ("crawl", "--dry-run", "--feed", "old.tsv", "--source", "s"),
    ("analyze",),
    ("analyze", "--experiments"),
    ("analyze", "--experiment", "1"),
    ("analyze", "--compare", "1", "2"),
    ("analyze", "--label-suspects", "1"),
    ("analyze", "--dump-errors-for-experiment", "1"),
    ("analyze", "--models"),
    ("analyze", "--review", "1"),
    ("categorize_words", "--explain", "5", "--experiment", "1"),
)
WRITING = (
    ("categorize_words", "--apply", "1", "--dry-run"),
    ("categorize_words", "--apply", "1", "--format", "jsonl"),
    ("categorize_words", "--min-products", "5", "--epochs", "1"),
    ("crawl", "--feed", "old.tsv", "--source", "s"),
    ("crawl", "--verify"),
    ("analyze", "--overrides", "decisions.csv"),
    ("analyze", "--recategorize", "moves.csv"),
    ("analyze", "--undo-recategorize"),
)
COMMANDS = READING + WRITING
LEAVES = ("Jeans > Bootcut", "Jeans > Skinny", "Bags > Clutch", "Bags > Tote", "Shoes > Boot")
FILLING = "red green classic soft new daily light long warm plain".split()


def feed_rows(first, count, labelled=True):
    rng = random.Random(first)
    for number in range(first, first + count):
        leaf = rng.choice(LEAVES)
        said = leaf if rng.random() > 0.1 else rng.choice(LEAVES)
        name = f"{rng.choice(FILLING)} {said.split()[-1]} {rng.choice(FILLING)}"
        text = " ".join(rng.sample(FILLING, 4))
        yield f"sku-{number}", name, text, leaf if labelled else "", "", ""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder where everything has been done once: two experiments, filed products, decisions,
    categories that were moved."""
    folder = tmp_path_factory.mktemp("shop")
    write_feed(folder / "old.tsv", list(feed_rows(0, 150)))
    write_feed(folder / "new.tsv", list(feed_rows(150, 30, labelled=False)))
    (folder / "first.csv").write_text("from,to\nJeans > Skinny,Jeans > Slim\n")
    (folder / "moves.csv").write_text("from,to\nShoes > Boot,Shoes > Wellington\n")
    numbers = [f"{number},unclear,,\n" for number in range(1, 20)]
    (folder / "decisions.csv").write_text(
        "product_id,decision,category,name\n"
        + "".join(numbers)
        + "20,label wrong,Bags > Tote,\n21,classifier wrong,,\n"
    )
    for command in (
        ("crawl", "--feed", "old.tsv", "--source", "s"),
        ("categorize_words", "--min-products", "5", "--folds", "3"),
        ("categorize_words", "--min-products", "5", "--epochs", "2"),
        ("crawl", "--feed", "new.tsv", "--source", "t", "--unlabelled"),
        ("categorize_words", "--apply", "1", "--target", "60"),
        ("analyze", "--overrides", "decisions.csv"),
        ("analyze", "--recategorize", "first.csv"),
    ):
        done = run_script(*command, cwd=folder)
        assert done.returncode in (0, 1), done.stderr
    gc.collect()
    with contextlib.closing(sqlite3.connect(folder / "crawl.db")) as conn:
        conn.execute("pragma wal_checkpoint(truncate)")
    return folder


class Copies:
    """A folder that gets a new crawl.db for each run."""

    def __init__(self, shop, folder):
        self.folder = shutil.copytree(shop, folder / "copy")
        self.path = self.folder / "crawl.db"
        self.whole = self.path.read_bytes()

    def put(self, content):
        for name in ("crawl.db-wal", "crawl.db-shm", "crawl.db"):
            (self.folder / name).unlink(missing_ok=True)
        self.path.write_bytes(content)

    def changed(self, statement, *values):
        """The content of the file after a change, or None if SQLite does not allow it."""
        self.put(self.whole)
        with contextlib.closing(sqlite3.connect(self.path)) as conn:
            conn.execute("pragma journal_mode = delete")
            conn.execute("pragma ignore_check_constraints = on")
            try:
                conn.execute(statement, values)
            except sqlite3.IntegrityError:
                return None
            conn.commit()
        return self.path.read_bytes()

    def run(self, content, command):
        """Run a command on a file. It must end with a result, or with a sentence."""
        self.put(content)
        done = run_script(*command, cwd=self.folder)
        assert "Traceback" not in done.stderr, (command, done.stderr[-2000:])
        assert done.returncode in (0, 1, 2), (command, done.stderr)
        if done.returncode == 2:
            last = done.stderr.splitlines()[-1]
            assert last.startswith(f"{command[0]}.py: ") and len(last) < 3000, done.stderr
        return done

    def is_whole(self):
        with contextlib.closing(sqlite3.connect(self.path)) as conn:
            try:
                return conn.execute("pragma quick_check(1)").fetchone()[0] == "ok"
            except (sqlite3.DatabaseError, UnicodeDecodeError):
                return False


@pytest.fixture
def copies(shop, tmp_path):
    return Copies(shop, tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_ends_well_with_the_whole_file(copies, command):
    """So that the tests below attack what each command does, and not only how it begins."""
    done = copies.run(copies.whole, command)
    assert done.returncode in (0, 1), done.stderr


# ---- flipped bytes ------------------------------------------------------------------------------


def flipped(content, rng):
    """The content with one to twenty bytes that are others."""
    content = bytearray(content)
    most = len(content)
    if rng.random() < 0.3:
        most = min(most, 6 * 4096)  # the schema is at the beginning
    for _ in range(rng.choice((1, 1, 3, 20))):
        content[rng.randrange(most)] = rng.randrange(256)
    return bytes(content)


def flip(copies, seed, files, commands):
    """Run so many commands on each of so many damaged files. Returns how many were refused."""
    rng, refused = random.Random(seed), 0
    for _ in range(files):
        content = flipped(copies.whole, rng)
        for command in rng.sample(COMMANDS, commands):
            copies.put(content)
            whole = copies.is_whole()
            done = copies.run(content, command)
            refused += done.returncode == 2
            if not whole:
                assert done.returncode == 2, command
                gc.collect()
                assert copies.path.read_bytes() == content, command
    return refused


@pytest.mark.redteam
@pytest.mark.slow
def test_flipped_bytes_give_a_result_or_a_sentence(copies):
    assert flip(copies, 1, 60, 2) > 30


@pytest.mark.slow
def test_a_thousand_files_with_flipped_bytes(copies):
    assert flip(copies, 2, 1000, 1) > 300


@pytest.mark.redteam
@pytest.mark.slow
@pytest.mark.parametrize(
    "name, flag", (("decisions.csv", "--overrides"), ("moves.csv", "--recategorize"))
)
def test_flipped_bytes_in_a_persons_file(copies, name, flag):
    flip_csv(copies, name, flag, 3, 40)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, flag", (("decisions.csv", "--overrides"), ("moves.csv", "--recategorize"))
)
def test_five_hundred_files_of_a_person_with_flipped_bytes(copies, name, flag):
    flip_csv(copies, name, flag, 4, 500)


def flip_csv(copies, name, flag, seed, files):
    """What is stored is what the lines say that can be read, and the database stays whole."""
    rng, content = random.Random(seed), (copies.folder / name).read_bytes()
    for _ in range(files):
        (copies.folder / name).write_bytes(
            flipped(content, rng) if rng.random() < 0.9 else content[: rng.randrange(len(content))]
        )
        done = copies.run(copies.whole, ("analyze", flag, name, "--json"))
        if done.returncode == 1:
            assert json.loads(done.stdout)["unusable"]
        gc.collect()
        assert copies.is_whole()


@pytest.mark.redteam
def test_an_index_that_lacks_a_row_is_found_by_verify(copies):
    """The pages hang together, so that only a comparison with the table finds it."""
    with contextlib.closing(sqlite3.connect(copies.path)) as conn:
        (size,) = conn.execute("pragma page_size").fetchone()
        (root,) = conn.execute(
            "select rootpage from sqlite_master where name = 'product_by_external_id'"
        ).fetchone()
    page = copies.whole[(root - 1) * size : root * size]
    content = copies.whole.replace(page, page.replace(b"ssku-149", b"ssku-14z"))
    assert content != copies.whole
    assert copies.run(content, ("crawl", "--status")).returncode == 0 and copies.is_whole()
    done = copies.run(content, ("crawl", "--verify"))
    assert done.returncode == 2 and "product_by_external_id" in done.stderr, done.stderr


@pytest.mark.redteam
@pytest.mark.parametrize(
    "table, column, value",
    (
        ("product", "name", "cast(x'4d6fe4' as text)"),
        ("category", "name", "cast(x'ff' as text)"),
        ("predicted_category", "top", "cast(x'5b80' as text)"),
        ("validation_prediction", "label_id", "cast(x'fe' as text)"),
        ("predicted_category", "score", "'high'"),
        ("filing", "level", "x'41'"),
    ),
)
def test_verify_looks_at_every_value_and_names_the_row(copies, table, column, value):
    """A file that was read in another encoding is the usual reason."""
    row = f"rowid = (select min(rowid) from {table})"
    if table == "filing":  # it has no row numbers
        row = "product_id = (select min(product_id) from filing)"
    content = copies.changed(f"update {table} set {column} = {value} where {row}")
    done = copies.run(content, ("crawl", "--verify"))
    assert done.returncode == 2 and f"{table}.{column} is no " in done.stderr, done.stderr
    assert " = " in done.stderr and "correct that with sqlite3" in done.stderr
    assert "no damage found" not in done.stdout


def test_verify_says_that_a_whole_file_has_no_damage(copies):
    assert "crawl.db: no damage found" in copies.run(copies.whole, ("crawl", "--verify")).stdout


@pytest.mark.redteam
@pytest.mark.parametrize("column", ("target", "level", "score", "category_id"))
def test_a_filing_that_no_script_wrote_is_made_again(copies, column):
    content = copies.changed(f"update filing set {column} = x'41'")
    done = copies.run(content, ("categorize_words", "--apply", "1", "--dry-run"))
    assert done.returncode in (0, 1), done.stderr


# ---- the schema ---------------------------------------------------------------------------------


@pytest.mark.redteam
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_schema_that_is_no_text_is_one_sentence(copies, command):
    """SQLite quotes the name in its message, and Python can't read that."""
    for name in (b"filed_before", b"product_by_image", b"description", b"label_override"):
        content = copies.whole.replace(name, b"\xff\xfe(" + name[3:])
        done = copies.run(content, command)
        assert done.returncode == 2 and "crawl.db is damaged" in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and copies.path.read_bytes() == content


# ---- values that no script writes ---------------------------------------------------------------

ODD = (b"\xff\x00a", "[1", None, float("inf"), -float("inf"), 2**63 - 1, -5, "", "a/b//c", 0.5)
ODD += ('{"a": [[1]]}', "[5]", "x" * 5000, "[" * 5000)


def odd_values(copies, rng, files):
    """Damage so many files by a value in a column, and run a command on each. Returns how many were
    refused."""
    with contextlib.closing(sqlite3.connect(copies.path)) as conn:
        tables = [
            row[0] for row in conn.execute("select name from sqlite_master where type = 'table'")
        ]
        columns = [
            (table, row[1])
            for table in tables
            if not table.startswith("sqlite")
            for row in conn.execute(f"pragma table_info({table})")
        ]
    refused = 0
    for _ in range(files):
        table, column = rng.choice(columns)
        which = (
            ""
            if rng.random() < 0.5
            else (
                f"where {column} is (select {column} from {table} limit 1 offset {rng.randrange(5)})"
            )
        )
        content = copies.changed(f"update {table} set {column} = ? {which}", rng.choice(ODD))
        if content:
            refused += copies.run(content, rng.choice(COMMANDS)).returncode == 2
    return refused


@pytest.mark.redteam
@pytest.mark.slow
def test_odd_values_give_a_result_or_a_sentence(copies):
    assert odd_values(copies, random.Random(5), 100) > 10


@pytest.mark.slow
def test_a_thousand_odd_values(copies):
    assert odd_values(copies, random.Random(6), 1000) > 100


@pytest.mark.redteam
@pytest.mark.parametrize(
    "statement, column",
    (
        ("update product set name = x'ff' where id = 3", "product.name is no text where id = 3"),
        ("update product set removed = 'yes' where id = 3", "product.removed is no integer"),
        ("update category set path = x'00'", "category.path is no text"),
        ("update picture set position = 'a'", None),  # there are none
        ("update label_override set date = x'41'", "label_override.date is no text"),
        ("update filing_source set leaf = 'high'", "filing_source.leaf is no real"),
        ("update category_change set run = 'first'", "category_change.run is no integer"),
    ),
)
def test_a_value_of_another_type_is_named(copies, statement, column):
    """Text is greater than each number, so that a threshold of text would let all pass."""
    content = copies.changed(statement)
    for command in (("analyze",), ("crawl", "--status"), ("categorize_words", "--apply", "1")):
        done = copies.run(content, command)
        if column:
            assert done.returncode == 2 and column in done.stderr, done.stderr
            assert "correct that with sqlite3" in done.stderr
        else:
            assert done.returncode == 0, done.stderr


@pytest.mark.redteam
@pytest.mark.parametrize("score", ("'abc'", "x'ff'", "9e999", "-9e999", "5", "'{}'"))
def test_a_score_that_is_none_is_refused_in_all_figures(copies, score):
    content = copies.changed(f"update predicted_category set score = {score} where product_id = 3")
    for command in (
        *(("analyze",), ("analyze", "--experiment", "1"), ("analyze", "--compare", "1", "2")),
        ("categorize_words", "--apply", "1"),
    ):
        done = copies.run(content, command)
        assert done.returncode == 2 and "experiment 1 hold what no script" in done.stderr


@pytest.mark.redteam
@pytest.mark.parametrize(
    "change",
    (
        *("top = '{{'", "top = '[5]'", "top = '[[1, 2]]'", "top = x'ff'", "top = '[[\"a\", NaN]]'"),
        *("top = '[[\"a\", 1e999]]'", "leaf_score = 'abc'", "leaf_score = 9e999", "words = 'x'"),
        *("parent_score = x'ff'", "leaf_id = x'ff'", "leaf_score = 5", "twin = 'no'"),
    ),
)
def test_a_damaged_answer_is_asked_again(copies, change):
    """It is one row, which the model can make again; until then the page says so."""
    content = copies.changed(
        f"update filing set {change} where product_id = (select min(product_id) from filing)"
    )
    whole = copies.run(copies.whole, ("categorize_words", "--apply", "1")).stdout
    done = copies.run(content, ("categorize_words", "--apply", "1"))
    assert "1 answer of experiment 1 can't be read: asked again" in done.stderr
    assert (done.returncode, done.stdout) == (1, whole) or (done.returncode, done.stdout) == (
        0,
        whole,
    )
    if change.startswith("top"):
        done = copies.run(content, ("analyze", "--review", "1"))
        if done.returncode:
            assert "filing.top of experiment 1 can't be read" in done.stderr
            assert "run --apply 1 again" in done.stderr


@pytest.mark.redteam
@pytest.mark.parametrize(
    "value", ("nonsense", "{", "[1]", "[[1]]", '{"a": 1}', '[{"right": 1}]', 7)
)
@pytest.mark.parametrize("column", ("reasons", "refused", "shut"))
def test_damaged_reasons_are_one_sentence(copies, column, value):
    content = copies.changed(f"update filing_source set {column} = ?", value)
    done = copies.run(content, ("analyze", "--review", "1"))
    assert done.returncode == 2 and f"filing_source.{column}" in done.stderr, done.stderr


ROWS = (
    *("nonsense", "[1]", "{}", "7", '{"id": 5}', '{"id": "a", "parent": [1]}', "[" * 100_000),
    *('{"id": "a", "leaf": "x"}', '{"id": "a", "total": 99999999999999999999999}', b"\xff"),
    *('{"id": "a", "x": {}}', '{"id": "a", "x": {"blob": "f"}}', '{"id": "a", "x": {"blob": 5}}'),
)


@pytest.mark.redteam
@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row)[:30])
@pytest.mark.parametrize(
    "command", (("analyze", "--experiment", "1"), ("analyze", "--undo-recategorize")), ids=" ".join
)
def test_a_damaged_row_of_an_earlier_tree_is_one_sentence(copies, row, command):
    content = copies.changed("update category_change_row set row = ? where row is not null", row)
    done = copies.run(content, command)
    assert done.returncode == 2 and "category_change_row" in done.stderr, done.stderr


def test_a_column_s_name_in_a_kept_row_is_no_sql(copies):
    """It stands in crawl.db as JSON, and becomes a statement when the row is put back."""
    hostile = json.dumps({"id": "jeans.skinny", "id) values ('x'); --": 1})
    content = copies.changed(
        "update category_change_row set row = ? where category_id = 'jeans.skinny' "
        "and row is not null",
        hostile,
    )
    done = copies.run(content, ("analyze", "--undo-recategorize"))
    assert done.returncode == 2 and "has no column named id) values" in done.stderr, done.stderr


NOWHERE = (
    "update category set parent = id",
    "update category set parent = 'shoes.boot' where id = 'shoes'",
    "update category set parent = 'nobody'",
    "update category set parent = null",
    "update category set path = 'a/a/a/' || id",
    "update category set path = '///'",
    "update category set leaf = 1 - leaf",
    "update category set product_count = -5",
    "delete from category",
    "delete from product",
    "update product set id = -id",
    "update product set id = id + 9223372036854770000",
    "update product set category_id = 'nobody'",
    "update predicted_category set product_id = 10000000 + product_id",
    "update predicted_category set experiment_id = 77",
    "update predicted_category set category_id = 'nobody', label_id = null",
    "update predicted_category set fold = 10000000000",
    "delete from validation_prediction",
    "update near_duplicate set cluster = ''",
    "update category_change set to_id = from_id, undoes = run",
    "update category_change set run = 9223372036854775807",
    "delete from experiment where id = 1",
    "update regrouped set product_id = 0",
    "delete from filing_source",
)


def run_with(copies, statement, commands):
    content = copies.changed(statement)
    if content:
        signal.alarm(300)  # what goes round in a circle would never end
        for command in commands:
            copies.run(content, command)
        signal.alarm(0)


@pytest.mark.redteam
@pytest.mark.parametrize("turn", range(len(NOWHERE)), ids=lambda turn: NOWHERE[turn])
def test_rows_that_point_nowhere_or_at_themselves(copies, turn):
    run_with(copies, NOWHERE[turn], COMMANDS[turn % 4 :: 4])


@pytest.mark.slow
@pytest.mark.parametrize("statement", NOWHERE)
def test_rows_that_point_nowhere_in_all_commands(copies, statement):
    run_with(copies, statement, COMMANDS)


def test_forms_of_stored_json():
    fits = stored_json.fits
    assert fits([["a", 0.5], ["b", 1]], stored_json.TOP) and fits([], stored_json.TOP)
    for value in ([["a"]], [["a", "b"]], [["a", True]], {"a": 1}, None, [["a", 1e300]], "ab"):
        assert not fits(value, stored_json.TOP)
    assert fits({"folds": None, "more": [1]}, stored_json.SETTINGS)
    for value in ({"folds": True}, {"folds": 2**70}, {"categories": "ab"}, [], None):
        assert not fits(value, stored_json.SETTINGS)
