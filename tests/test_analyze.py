"""analyze.py on hand-made databases: the block to the letter, for every reader and terminal.

No TensorFlow; about 10 seconds.

    pytest tests/test_analyze.py
"""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys

import pytest
from conftest import REPO, environment, run_script

import db

BLOCK_2016 = """\
#1: Image classification of:\x20
  Accuracy: 57.14% (N=7)
  95% Accuracy Coverage: 28%
  98% Accuracy Coverage: 28%
  Parent Accuracy: 71.43%
  Parent 95% Accuracy Coverage: 57%
  Parent 98% Accuracy Coverage: 57%
"""
LEAVES = ("jeans.bootcut", "jeans.skinny", "bags.totes")
# (label, predicted, score): in descending order right, right, wrong leaf of the right parent,
# right, wrong, wrong, right; the first three wrong scores are a tie with a right one.
PREDICTIONS = [
    (0, 0, 0.99),
    (1, 1, 0.95),
    (0, 1, 0.9),
    (2, 2, 0.8),
    (2, 0, 0.5),
    (1, 2, 0.4),
    (0, 0, 0.3),
]
OLD_SCHEMA = """
create table schema_version(id integer primary key, date text, name text);
create table category(id text primary key, parent text, leaf integer, product_count integer,
                      path text);
create table product(id integer primary key, category_id text, image text, name text,
                     description text, image_crawled integer);
create table experiment(id integer primary key autoincrement, name text, date text);
create table predicted_category(experiment_id integer, product_id integer, category_id text,
                                score real);
insert into schema_version(date, name) values ('2016-12-01', 'category table'),
    ('2016-12-01', 'product table'), ('2016-12-01', 'add category.path'),
    ('2016-12-01', 'add product.image_crawled'), ('2016-12-01', 'add experiment schema');
"""


def tree(conn):
    rows = [
        ("women", None, 0, None),
        ("jeans", "women", 0, "jeans"),
        ("bags", "women", 0, "bags"),
        *((leaf, leaf.split(".")[0], 1, leaf.split(".")[0] + "/" + leaf) for leaf in LEAVES),
    ]
    conn.executemany("insert into category(id, parent, leaf, path) values (?, ?, ?, ?)", rows)


def add_product(conn, number, label, name="Name", description="Text", image=""):
    conn.execute(
        """insert into product(id, category_id, image, name, description)
                    values (?, ?, ?, ?, ?)""",
        (number, label, image, name, description),
    )


def add_prediction(conn, experiment, product, predicted, score, **more):
    names = ["experiment_id", "product_id", "category_id", "score", *more]
    conn.execute(
        f"""insert into predicted_category({", ".join(names)})
                     values ({", ".join("?" * len(names))})""",
        (experiment, product, predicted, score, *more.values()),
    )


def fill(conn, labels):
    """The predictions above as experiment 1; `labels` says whether rows hold one of their own."""
    tree(conn)
    conn.execute("""insert into experiment(name, date)
                    values ('Image classification of: ', '2016-12-24')""")
    for number, (label, predicted, score) in enumerate(PREDICTIONS, 1):
        # A product that was filed elsewhere since then keeps the label it was trained on.
        add_product(conn, number, LEAVES[label] if not labels else "bags")
        own = {"label_id": LEAVES[label]} if labels else {}
        add_prediction(conn, 1, number, LEAVES[predicted], score, **own)


@pytest.fixture
def old(tmp_path):
    """A crawl.db of the 2016 scripts."""
    conn = sqlite3.connect(tmp_path / "crawl.db")
    with conn:
        conn.executescript(OLD_SCHEMA)
        fill(conn, labels=False)
    conn.close()
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    """A crawl.db of today with experiment 1."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    fill(conn, labels=True)
    conn.close()
    return tmp_path


def change(folder, statement, *values):
    conn = sqlite3.connect(folder / "crawl.db")
    with conn:
        conn.execute(statement, values)
    conn.execute("pragma wal_checkpoint(truncate)")
    conn.close()


def repeat_experiment(folder):
    """Make an experiment 2 with the predictions of experiment 1."""
    change(folder, "insert into experiment(name, date) values ('again', '2016-12-25')")
    change(
        folder,
        """insert into predicted_category(experiment_id, product_id, category_id, score,
                      label_id) select 2, product_id, category_id, score, label_id
                      from predicted_category""",
    )


# ---- the block ----------------------------------------------------------------------------------


def test_the_block_to_the_letter(folder):
    done = run_script("analyze", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, BLOCK_2016, "")


def test_a_file_of_2016_is_brought_up_to_date_says_so_and_keeps_every_row(old):
    before = sqlite3.connect(old / "crawl.db")
    tables = ("category", "product", "experiment", "predicted_category")
    wanted = {table: before.execute(f"select * from {table}").fetchall() for table in tables}
    before.close()
    first, second = (run_script("analyze", cwd=old) for _ in range(2))
    assert first.stdout == second.stdout == BLOCK_2016 and second.stderr == ""
    assert first.returncode == 0 and len(first.stderr.splitlines()) == 1
    assert "crawl.db is of an older version" in first.stderr
    after = sqlite3.connect(old / "crawl.db")
    for table, rows in wanted.items():
        assert [row[: len(rows[0])] for row in after.execute(f"select * from {table}")] == rows
    after.close()


def test_what_was_right_at_a_leaf_and_a_parent_without_a_tree_is_itself(folder):
    change(folder, "delete from category")
    done = run_script("analyze", cwd=folder)
    assert "  Accuracy: 57.14% (N=7)\n" in done.stdout
    assert "  Parent Accuracy: 57.14%\n" in done.stdout


def test_experiments_without_predictions_are_skipped(folder):
    change(folder, "insert into experiment(name, date) values ('killed in 2016', '')")
    change(folder, "insert into experiment(name, date) values ('Text', '')")
    change(
        folder,
        """insert into predicted_category(experiment_id, product_id, category_id, score,
                      label_id) values (3, 1, 'jeans.skinny', .5, 'bags.totes')""",
    )
    done = run_script("analyze", cwd=folder)
    assert [line for line in done.stdout.splitlines() if line.startswith("#")] == [
        "#1: Image classification of: ",
        "#3: Text",
    ]
    assert done.stdout.endswith("""#3: Text
  Accuracy: 0.00% (N=1)
  95% Accuracy Coverage: 0%
  98% Accuracy Coverage: 0%
  Parent Accuracy: 0.00%
  Parent 95% Accuracy Coverage: 0%
  Parent 98% Accuracy Coverage: 0%
""")


def test_no_experiment_yet_is_no_output_and_no_error(tmp_path):
    db.open_database(str(tmp_path / "crawl.db"), create=True).close()
    done = run_script("analyze", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_file_of_today_is_only_read(folder):
    repeat_experiment(folder)
    digest = hashlib.sha256((folder / "crawl.db").read_bytes()).digest()
    stamp = os.stat(folder / "crawl.db").st_mtime_ns
    for flags in (
        (),
        ("--dump-errors-for-experiment", "1"),
        ("--experiment", "1"),
        ("--compare", "1", "2"),
    ):
        assert run_script("analyze", *flags, cwd=folder).returncode == 0
    assert hashlib.sha256((folder / "crawl.db").read_bytes()).digest() == digest
    assert os.stat(folder / "crawl.db").st_mtime_ns == stamp
    conn = db.open_readonly(str(folder / "crawl.db"))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        conn.execute("delete from experiment")
    conn.close()


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--dump-errors-for-experiment", "1"),
        ("--experiment", "1"),
        ("--compare", "1", "2", "--json"),
    ],
)
def test_it_never_imports_tensorflow(folder, flags):
    repeat_experiment(folder)
    code = (
        "import sys, analyze; assert analyze.main(sys.argv[1:]) == 0; "
        "assert not {'tensorflow', 'keras', 'sklearn', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *flags],
        cwd=folder,
        capture_output=True,
        env=environment(PYTHONPATH=str(REPO)),
        text=True,
    )
    assert done.returncode == 0, done.stderr


# ---- mistakes -----------------------------------------------------------------------------------


def malformed(data):
    """A file whose first page is whole and the rest is not."""
    return data[:4096] + bytes(byte ^ 0x5A for byte in data[4096:])


@pytest.mark.parametrize(
    "make",
    [
        lambda data: None,
        lambda data: b"hello, this is no database" * 99,
        lambda data: data[:20_000],
        lambda data: b"",
        malformed,
    ],
    ids=["missing", "text", "cut short", "empty", "malformed"],
)
def test_a_file_that_is_no_crawl_db_is_one_sentence(folder, make):
    data = make((folder / "crawl.db").read_bytes())
    (folder / "other.db").write_bytes(data or b"")
    if data is None:
        (folder / "other.db").unlink()
    done = run_script("analyze", "--db-path", "other.db", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("analyze.py: ")
    assert "other.db" in done.stderr or "--db-path" in done.stderr
    if data is not None:
        assert (folder / "other.db").read_bytes() == data


@pytest.mark.parametrize("number", ["7", "-1", "9" * 30])
def test_an_experiment_that_is_not_there_is_one_sentence_that_names_those_that_are(folder, number):
    done = run_script("analyze", "--dump-errors-for-experiment", number, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"analyze.py: there is no experiment {number} (there are: 1)\n"


@pytest.mark.parametrize("flags", [("--no-such-flag",), ("--dump-errors-for-experiment", "x")])
def test_a_wrong_flag_is_an_error(folder, flags):
    done = run_script("analyze", *flags, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "") and flags[0] in done.stderr


@pytest.mark.parametrize("flags", [(), ("--dump-errors-for-experiment", "1")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_traceback(folder, flags, unbuffered):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, REPO / "analyze.py", *flags],
            cwd=folder,
            env=environment(PYTHONUNBUFFERED=unbuffered),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_head_takes_the_first_line_of_a_long_page_in_peace(folder):
    change(folder, "update product set description = ? where id = 5", "word " * 200_000)
    done = subprocess.run(
        f'"{sys.executable}" "{REPO / "analyze.py"}" --dump-errors-for-experiment 1 | head -1',
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert (done.stdout, done.stderr) == ("<!doctype html>\n", "")


def test_a_terminal_of_another_alphabet_gets_utf_8_all_the_same(folder):
    change(folder, "update experiment set name = 'Text: röcke,ジーンズ'")
    change(folder, "update product set name = 'ジーンズ' where id = 5")
    for flags in ((), ("--dump-errors-for-experiment", "1")):
        done = subprocess.run(
            [sys.executable, REPO / "analyze.py", *flags],
            cwd=folder,
            env=environment(PYTHONIOENCODING="latin-1"),
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert "ジーンズ" in done.stdout.decode("utf-8")


# ---- what somebody else wrote into the file -----------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    (
        *("nonsense", "[1]", "{", "null", "7", "[" * 100_000),
        *('{"folds": "3"}', '{"categories": [7]}', '{"model": {}}', '{"calibration": {"test": 1}}'),
        '{"folds": 99999999999999999999999}',
    ),
    ids=lambda text: text[:20],
)
def test_settings_that_are_none_are_one_sentence(folder, settings):
    """Without `folds` or `model` in them, another answer would be given."""
    change(folder, "update experiment set settings = ?", settings)
    repeat_experiment(folder)
    for flags in ((), ("--experiment", 1), ("--compare", 1, 2), ("--label-suspects", 1)):
        done = run_script("analyze", *flags, cwd=folder)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "experiment.settings of experiment 1 can't be read" in done.stderr


@pytest.mark.parametrize("flags", ((), ("--experiment", 1), ("--compare", 1, 2)))
def test_a_score_that_is_no_number_is_one_sentence(folder, flags):
    repeat_experiment(folder)
    change(folder, "update predicted_category set score = 'abc' where product_id = 3")
    done = run_script("analyze", *flags, cwd=folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "experiment 1 hold what no script wrote" in done.stderr


@pytest.mark.parametrize("column", ("category_id", "label_id", "parent_id"))
def test_a_category_that_is_no_text_is_one_sentence(folder, column):
    repeat_experiment(folder)
    change(folder, f"update predicted_category set {column} = x'6a65' where product_id = 3")
    for flags in (("--experiment", 1), ("--compare", 1, 2)):
        done = run_script("analyze", *flags, cwd=folder)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert "experiment 1 hold what no script wrote" in done.stderr


def test_a_row_of_category_without_an_id_changes_nothing(folder):
    change(folder, "update predicted_category set category_id = 'gone' where product_id = 3")
    repeat_experiment(folder)
    change(
        folder,
        "update predicted_category set category_id = label_id where product_id = 3 and experiment_id = 2",
    )
    reports = ((), ("--experiment", 1), ("--compare", 1, 2), ("--experiments",))
    before = [run_script("analyze", *flags, cwd=folder).stdout for flags in reports]
    assert "gone" in before[2]
    change(folder, "insert into category(id, parent, leaf) values (null, null, 1)")
    assert [run_script("analyze", *flags, cwd=folder).stdout for flags in reports] == before


@pytest.mark.parametrize("product", ("null", "'abc'", "1.5", "x'01'", "99"))
def test_a_prediction_of_2016_for_what_is_no_product_is_wrong(old, product):
    conn = sqlite3.connect(old / "crawl.db")
    with conn:
        category = conn.execute("select category_id from product where id = 1").fetchone()[0]
        conn.execute("insert into product(id, category_id) values (0, ?)", (category,))
        conn.execute("update predicted_category set category_id = ?, score = 1", (category,))
        right = conn.execute(
            "select count(*) from product where id > 0 and category_id = ?", (category,)
        ).fetchone()[0]
        conn.execute(f"update predicted_category set product_id = {product} where product_id = 1")
        count = conn.execute("select count(*) from predicted_category").fetchone()[0]
    conn.close()
    done = run_script("analyze", "--json", cwd=old)
    assert json.loads(done.stdout)[0]["accuracy"] == pytest.approx((right - 1) / count)


def test_a_list_of_the_best_that_is_none_is_one_sentence(folder):
    change(folder, "update experiment set settings = '{\"folds\": 3}'")
    change(folder, "update predicted_category set top = '{{'")
    done = run_script("analyze", "--label-suspects", 1, cwd=folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "hold what no script wrote" in done.stderr
