"""crawl.db keeps what it promises: old files open and lose nothing, writes are whole or absent,
a product is filed by the shop's list and not by the order of the crawl."""

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from conftest import REPO, environment
from hypothesis import given
from hypothesis import strategies as st

import db
from common import catalogue_schema_queries
from common.terminal import UserError
from common.text import normalised
from crawling import picture_queries
from crawling import queries as crawling_queries
from evaluation import figures
from learning import category_tree, model_folders, recording, saved_models
from learning.category_tree import Rule

STEPS_2016 = (
    "category table",
    "product table",
    "add category.path",
    "add product.image_crawled",
    "add experiment schema",
)
TABLES_2016 = ("category", "product", "experiment", "predicted_category")
URL = "https://img.example.com/xim/8a/00/8a00f_xlarge.jpg"


def make_2016(path, products=(), without=()):
    """A crawl.db as the 2016 scripts made it, step by step; `without` names steps that were
    recorded and never done."""
    conn = sqlite3.connect(path)
    conn.execute(
        "create table schema_version(id integer primary key autoincrement, date text, name text)"
    )
    statements = (
        (
            "create table category(id text primary key, parent text, leaf integer, "
            "product_count integer)",
        ),
        (
            "create table product(id integer primary key, category_id text, image text, name text, "
            "description text)",
        ),
        ("alter table category add column path text",),
        ("alter table product add column image_crawled integer",),
        (
            "create table experiment(id integer primary key autoincrement, name text, date text)",
            "create table predicted_category(experiment_id integer, product_id integer, "
            "category_id text, score real)",
        ),
    )
    for name, step in zip(STEPS_2016, statements):
        conn.execute("insert into schema_version(date, name) values ('2016-12-01', ?)", (name,))
        for statement in step if name not in without else ():
            conn.execute(statement)
    conn.executemany(
        "insert into category(id, parent, leaf, product_count) values (?, ?, ?, ?)",
        [
            ("women", None, 0, 0),
            ("jeans", "women", 0, 0),
            ("bootcut-jeans", "jeans", 1, 1100),
            ("skinny-jeans", "jeans", 1, 1200),
            ("clutches", "women", 1, 0),
        ],
    )
    if "add category.path" not in without:
        conn.execute(
            "update category set path = case when parent = 'jeans' then 'jeans/' else '' "
            "end || id where leaf = 1"
        )
    conn.executemany(
        "insert into product(id, category_id, image, name, description) values (?, ?, ?, ?, ?)",
        products
        or [
            (616000001, "bootcut-jeans", URL, "Café <b>Jean</b>", "flared"),
            (616000002, "skinny-jeans", "https://img.example.com/p/", "Slim", None),
            (7, "gone-category", None, None, None),
        ],
    )
    if "add experiment schema" not in without:
        conn.execute(
            "insert into experiment(name, date) values "
            "('Text classification of: ', '2016-12-24'), ('never finished', '2016-12-25')"
        )
        conn.execute(
            "insert into predicted_category values (1, 616000001, 'skinny-jeans', 0.75), "
            "(1, 616000002, 'skinny-jeans', 0.5)"
        )
    conn.commit()
    conn.close()
    return path


def columns(path, table):
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return [row[1] for row in conn.execute(f"pragma table_info({table})")]


def rows(path, table, names="*"):
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return conn.execute(f"select {names} from {table} order by 1, 2").fetchall()


def dump(path):
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return list(conn.iterdump())


@pytest.fixture
def conn(tmp_path):
    conn = db.open_database(tmp_path / "crawl.db", create=True)
    yield conn
    conn.close()


@contextlib.contextmanager
def folder_of_nobody():
    """A folder in which file permissions hold, for root too."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, -1)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if os.getuid() == 0:
                os.seteuid(0)


# ---- migrations ---------------------------------------------------------------------------------


def test_a_file_of_2016_opens_and_loses_nothing(tmp_path):
    path = make_2016(tmp_path / "crawl.db")
    before = {table: (",".join(columns(path, table)), rows(path, table)) for table in TABLES_2016}
    history = rows(path, "schema_version")
    db.open_database(path).close()
    for table, (names, old) in before.items():
        assert rows(path, table, names) == old
        assert set(names.split(",")) < set(columns(path, table)) or table == "category"
    after = rows(path, "schema_version")
    assert after[:5] == history
    assert [row[2] for row in after] == [name for name, _ in db.MIGRATIONS]


def test_a_file_of_2016_gets_the_new_columns_filled(tmp_path):
    path = make_2016(tmp_path / "crawl.db")
    conn = db.open_database(path)
    products = conn.execute("select * from product order by id").fetchall()
    assert [(row["source"], row["external_id"]) for row in products] == [
        ("shopstyle", "7"),
        ("shopstyle", "616000001"),
        ("shopstyle", "616000002"),
    ]
    assert [row["group_key"] for row in products] == [
        db.group_key(row["name"], row["description"]) for row in products
    ]
    assert [tuple(row) for row in conn.execute("select * from picture")] == [
        (616000001, "8a/8a00f_xlarge.jpg", None, "unchecked", None, 0)
    ]
    assert {tuple(row) for row in conn.execute("select * from product_category")} == {
        (7, "gone-category", 0, 0),
        (616000001, "bootcut-jeans", 0, 0),
        (616000002, "skinny-jeans", 0, 0),
    }
    assert [row["id"] for row in crawling_queries.leaves_to_crawl(conn, 1000)] == ["clutches"]
    assert category_tree.parents(conn, category_tree.WHOLE_TREE)["bootcut-jeans"] == "jeans"
    assert sorted(zip(*figures.block_scores(conn, 1))) == [(0.5, 1, 1), (0.75, 0, 1)]
    assert [row["name"] for row in db.experiments(conn)] == ["Text classification of: "]
    conn.close()


@pytest.mark.parametrize("step", STEPS_2016[2:])
def test_a_step_recorded_in_2016_but_never_done_is_done(tmp_path, step):
    path = make_2016(tmp_path / "crawl.db", without=(step,))
    db.open_database(path).close()
    assert "path" in columns(path, "category")
    assert "image_crawled" in columns(path, "product")
    assert set(columns(path, "experiment")) >= {"id", "name", "date", "settings"}
    assert [row[2] for row in rows(path, "schema_version")].count(step) == 1
    assert len(rows(path, "product")) == 3


def test_a_migration_that_fails_changes_nothing(tmp_path):
    path = make_2016(tmp_path / "crawl.db")
    with contextlib.closing(sqlite3.connect(path)) as conn:  # a late step wants this name
        conn.execute("create table picture(whose text)")
    before = dump(path)
    with pytest.raises(UserError, match="picture"):
        db.open_database(path)
    assert dump(path) == before
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("drop table picture")
    db.open_database(path).close()
    assert len(rows(path, "schema_version")) == len(db.MIGRATIONS)


def test_opening_twice_changes_nothing(tmp_path):
    path = make_2016(tmp_path / "crawl.db")
    db.open_database(path).close()
    before = dump(path)
    db.open_database(path).close()
    db.open_database(path, create=True).close()
    db.open_readonly(path).close()
    assert dump(path) == before


def test_a_new_file_and_a_migrated_one_have_the_same_tables(tmp_path):
    db.open_database(make_2016(tmp_path / "old.db")).close()
    db.open_database(tmp_path / "new.db", create=True).close()
    tables = {row[0] for row in rows(tmp_path / "new.db", "sqlite_master", "tbl_name, name")}
    for table in tables - {"sqlite_sequence"}:
        assert set(columns(tmp_path / "old.db", table)) == set(columns(tmp_path / "new.db", table))


OPEN = "import sys, db; db.{}(sys.argv[1]).close()"


def opener(path, function="open_database"):
    return subprocess.Popen(
        [sys.executable, "-c", OPEN.format(function), path],
        cwd=REPO,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


def test_kill_9_during_the_migration_leaves_the_old_file_or_the_new_one(tmp_path):
    products = [
        (number, "skinny-jeans", f"{URL}{number}", f"Jean {number}", "slim " * 40)
        for number in range(30_000)
    ]
    path = make_2016(tmp_path / "crawl.db", products)
    names = ",".join(columns(path, "product"))
    before, wal = rows(path, "product", names), tmp_path / "crawl.db-wal"
    for size in (1, 5_000_000):  # at the first page that reaches the disk, and well on the way
        process = opener(path)
        while process.poll() is None and not (wal.exists() and wal.stat().st_size > size):
            time.sleep(0.001)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(rows(path, "schema_version")) == 5
        assert columns(path, "product") == names.split(",")
    db.open_readonly(path).close()
    assert rows(path, "product", names) == before
    assert len(rows(path, "schema_version")) == len(db.MIGRATIONS)


def test_several_processes_may_open_an_old_file_at_once(tmp_path):
    path = tmp_path / "crawl.db"
    make_2016(path)
    opening = [opener(path, function) for function in ("open_database", "open_readonly") * 2]
    assert [(process.communicate()[1], process.returncode)[1] for process in opening] == [0] * 4
    assert [row[2] for row in rows(path, "schema_version")] == [name for name, _ in db.MIGRATIONS]


# ---- opening ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    (b"id\ttitle\n" * 500, b"\x89PNG\r\n\x1a\n", bytes(range(256)) * 40),
    ids=("text", "short", "noise"),
)
@pytest.mark.parametrize("opening", (db.open_database, db.open_readonly))
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content, opening):
    path = tmp_path / "crawl.db"
    path.write_bytes(content)
    with pytest.raises(UserError, match="crawl.db"):
        opening(path)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["crawl.db"]


@pytest.mark.parametrize("opening", (db.open_database, db.open_readonly))
def test_a_missing_file_is_not_made_and_the_sentence_says_what_to_run(tmp_path, opening):
    with pytest.raises(UserError, match="crawl.py"):
        opening(tmp_path / "crawl.db")
    with pytest.raises(UserError):
        opening(tmp_path)  # a folder
    assert os.listdir(tmp_path) == []


def test_a_folder_or_a_missing_folder_is_a_users_mistake_when_creating(tmp_path):
    for path in (tmp_path, tmp_path / "no such" / "crawl.db"):
        with pytest.raises(UserError):
            db.open_database(path, create=True)
    assert os.listdir(tmp_path) == []


def test_an_empty_file_becomes_a_crawl_db_only_for_the_crawl(tmp_path):
    path = tmp_path / "crawl.db"
    path.touch()
    for opening in (db.open_readonly, db.open_database):
        with pytest.raises(UserError, match="is no crawl.db"):
            opening(path)
    assert path.read_bytes() == b""
    db.open_database(path, create=True).close()
    assert rows(path, "product") == []


def test_another_program_s_file_is_left_alone(tmp_path):
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as conn:
        conn.execute("create table place(url text)")
    conn.close()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(UserError, match="is no crawl.db"):
            db.open_database(path, create=create)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ("a?b#c%41.db", "ключ крола.db"))
def test_any_file_name_is_taken_as_it_stands(tmp_path, name):
    db.open_database(tmp_path / name, create=True).close()
    assert os.listdir(tmp_path) == [name]


def test_a_file_that_may_not_be_written_is_refused_for_writing_and_read():
    with folder_of_nobody() as folder:
        path = os.path.join(folder, "crawl.db")
        db.open_database(path, create=True).close()
        os.chmod(path, 0o444)
        before = dump(path)
        with pytest.raises((UserError, sqlite3.OperationalError), match="readonly|written"):
            with contextlib.closing(db.open_database(path)) as conn, db.transaction(conn):
                crawling_queries.store_categories(conn, [("a", None, 1, "a", "A")])
        assert dump(path) == before
        with contextlib.closing(db.open_readonly(path)) as conn:
            assert db.categories(conn) == []


def test_a_file_of_2016_that_may_not_be_written_is_refused_in_a_sentence():
    with folder_of_nobody() as folder:
        path = make_2016(os.path.join(folder, "crawl.db"))
        os.chmod(path, 0o444)
        for opening in (db.open_database, db.open_readonly):
            with pytest.raises(UserError, match="crawl.db"):
                opening(path)


@pytest.mark.parametrize("opening", (db.open_database, db.open_readonly))
def test_a_file_that_a_first_load_keeps_for_itself_is_one_sentence(tmp_path, monkeypatch, opening):
    path = tmp_path / "crawl.db"
    with contextlib.closing(db.open_database(path, create=True)) as conn:
        conn.execute("pragma journal_mode = delete")
        conn.execute("begin exclusive")
        monkeypatch.setattr(db, "PATIENCE", 0.1)
        with pytest.raises(UserError, match="being written by another script: wait for it"):
            opening(path)
        conn.execute("commit")
        opening(path).close()


def test_a_file_of_the_version_before_gets_its_new_columns_tables_and_index(tmp_path, monkeypatch):
    path = tmp_path / "crawl.db"
    names = [name for name, _ in db.MIGRATIONS]
    with monkeypatch.context() as patch:
        patch.setattr(db, "MIGRATIONS", db.MIGRATIONS[: names.index("picture_link table")])
        conn = db.open_database(path, create=True)
        conn.execute("create index product_by_category on product(category_id)")
        conn.execute("insert into category(id, leaf) values ('jeans', 1)")
        conn.execute("insert into product(id, source, category_id) values (1, 's', 'jeans')")
        conn.close()
        assert "removed" not in columns(path, "product")
    with contextlib.closing(db.open_readonly(path)) as conn:
        assert crawling_queries.catalogue_counts(conn, "s") == (1, 1, 0, 0, 0)
    indexes = {row[0] for row in rows(path, "sqlite_master", "name, type")}
    assert "product_by_category" not in indexes and "product_by_category_and_source" in indexes
    assert rows(path, "product", "id, removed") == [(1, 0)] and rows(path, "picture_link") == []


def test_open_readonly_cannot_write_and_says_when_it_migrates(tmp_path, capsys):
    path = make_2016(tmp_path / "crawl.db")
    conn = db.open_readonly(path)
    captured = capsys.readouterr()
    assert "older version" in captured.err and captured.err.count("\n") == 1
    assert captured.out == ""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        conn.execute("delete from product")
    conn.close()
    db.open_readonly(path).close()
    assert capsys.readouterr().err == ""


def test_a_2016_script_killed_in_a_write_leaves_a_file_that_opens(tmp_path):
    """Its rollback journal is still there; a read-only connection may not play it back."""
    path = make_2016(tmp_path / "crawl.db")
    subprocess.run(
        [
            sys.executable,
            "-c",
            """if True:
        import os, signal, sqlite3, sys
        conn = sqlite3.connect(sys.argv[1])
        conn.execute("pragma cache_size = 1")
        conn.executemany("insert into product(name) values (?)", [("half" * 500,)] * 500)
        os.kill(os.getpid(), signal.SIGKILL)""",
            path,
        ]
    )
    assert os.path.getsize(f"{path}-journal") > 0
    with contextlib.closing(db.open_readonly(path)) as conn:
        assert conn.execute("select count(*) from product").fetchone()[0] == 3


def test_transaction_is_all_or_nothing(conn):
    with pytest.raises(ZeroDivisionError), db.transaction(conn):
        crawling_queries.store_categories(conn, [("a", None, 1, "a", "A")])
        raise ZeroDivisionError
    assert db.categories(conn) == []


def test_a_second_writer_is_told_and_waits_rather_than_lose_its_work(tmp_path, conn, capsys):
    def write():
        with contextlib.closing(db.open_database(tmp_path / "crawl.db")) as second:
            second.execute("pragma busy_timeout = 50")
            with db.transaction(second):
                crawling_queries.store_categories(second, [("late", None, 1, "late", "Late")])

    writer = threading.Thread(target=write)
    with db.transaction(conn):
        writer.start()
        deadline = time.monotonic() + 20
        said = ""
        while "waiting" not in said and time.monotonic() < deadline:
            said += capsys.readouterr().err
            time.sleep(0.02)
        assert db.categories(conn) == []
    writer.join(timeout=20)
    assert "another script: waiting" in said
    assert [row["id"] for row in db.categories(conn)] == ["late"]


def test_two_databases_in_one_folder_keep_their_own_models(tmp_path):
    def write_model(folder):
        with open(os.path.join(folder, "model.json"), "w", encoding="utf-8") as file:
            file.write(folder)

    for name in ("crawl.db", "second.db"):
        with contextlib.closing(db.open_database(tmp_path / name, create=True)) as conn:
            assert (
                model_folders.save_experiment(
                    conn, tmp_path / name, "\udce9", {"at": "\udce9"}, [], [], write_model
                )
                == 1
            )
            assert conn.execute("select name from experiment").fetchone()[0] == "?"
    assert (tmp_path / "models" / "experiment-1" / "model.json").exists()
    assert (tmp_path / "models-second" / "experiment-1" / "model.json").exists()


def save_model(path, text):
    """An experiment of the database at `path` with a model of these bytes. Returns its number."""

    def write_model(folder):
        for name in ("weights.npz", "model.json"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        return saved_models.digest(folder)

    with contextlib.closing(db.open_database(path, create=True)) as conn:
        return model_folders.save_experiment(conn, path, "n", {}, [], [], write_model)


def model_of(path, number):
    folder = os.path.join(model_folders.models_folder(path), f"experiment-{number}")
    with contextlib.closing(db.open_database(path)) as conn:
        known = db.settings(db.experiment_row(conn, number))["model"]
    return known == saved_models.digest(folder)


@pytest.mark.parametrize("names", list(itertools.permutations(("shop.db", "shop.sqlite", "shop"))))
def test_databases_that_differ_in_the_extension_only_keep_their_own_models(tmp_path, names):
    for turn in range(2):
        for name in names:
            save_model(tmp_path / name, f"{name} {turn}")
    assert all(model_of(tmp_path / name, number) for name in names for number in (1, 2))
    assert len({model_folders.models_folder(tmp_path / name) for name in names}) == 3
    assert model_folders.models_folder(tmp_path / "shop.db") == str(tmp_path / "models-shop")


@pytest.mark.parametrize(
    "first, second",
    (("crawl.db", "crawl.sqlite"), ("crawl.sqlite", "crawl.db"), ("shop.a", "shop.b")),
)
def test_models_that_share_a_folder_from_before_are_found_there_and_not_replaced(
    tmp_path, first, second
):
    """Experiment 1 of the first and 2 of the second lie in one folder, as older versions did it."""
    save_model(tmp_path / first, "of the first")
    shared = model_folders.models_folder(tmp_path / first)
    save_model(tmp_path / "other.db", "of nobody")
    save_model(tmp_path / "other.db", "of the second")
    os.rename(tmp_path / "other.db", tmp_path / second)
    for beside in tmp_path.glob("other.db-*"):
        os.rename(beside, str(beside).replace("other.db", second))
    os.rename(tmp_path / "models-other" / "experiment-2", os.path.join(shared, "experiment-2"))
    assert model_of(tmp_path / first, 1) and model_of(tmp_path / second, 2)
    assert save_model(tmp_path / first, "the first's second") == 2
    assert save_model(tmp_path / second, "the second's third") == 3
    assert model_of(tmp_path / first, 1) and model_of(tmp_path / first, 2)
    assert model_of(tmp_path / second, 2) and model_of(tmp_path / second, 3)


def test_a_link_and_another_programs_file_take_no_models_folder_away(tmp_path):
    os.symlink("shop.db", tmp_path / "shop.sqlite")
    (tmp_path / "shop.csv").write_text("a,b")
    sqlite3.connect(tmp_path / "shop.a").execute("create table t(x)").connection.close()
    save_model(tmp_path / "shop.db", "one")
    save_model(tmp_path / "shop.sqlite", "two")
    assert model_of(tmp_path / "shop.db", 1) and model_of(tmp_path / "shop.db", 2)
    assert [path.name for path in tmp_path.glob("models*")] == ["models-shop"]


# ---- leaves -------------------------------------------------------------------------------------


@pytest.fixture
def tree(conn):
    """Leaves a.x (30 products), b.x (20), b.y (10) and skinny-jeans (none)."""
    crawling_queries.store_categories(
        conn,
        [
            ("women", None, 0, "", "Women"),
            ("a", "women", 0, "a", "A"),
            ("b", "women", 0, "b", "B"),
            ("a.x", "a", 1, "a/a.x", "X"),
            ("b.x", "b", 1, "b/b.x", "X"),
            ("b.y", "b", 1, "b/b.y", "Y"),
            ("skinny-jeans", "women", 1, "skinny-jeans", "Skinny"),
        ],
    )
    for leaf, count in (("a.x", 30), ("b.x", 20), ("b.y", 10)):
        conn.execute("update category set product_count = ? where id = ?", (count, leaf))
    return conn


@pytest.mark.parametrize(
    "wanted, chosen",
    (
        (["b.y"], ["b.y"]),
        (["y"], ["b.y"]),
        (["skinny-jeans", "a.x", "skinny-jeans"], ["a.x", "skinny-jeans"]),
        (["b", "b.x"], ["b", "b.x"]),
    ),
)
def test_classes_called(tree, wanted, chosen):
    assert category_tree.classes_called(tree, wanted, category_tree.WHOLE_TREE) == chosen


@pytest.mark.parametrize(
    "wanted, rule, sentence",
    (
        (["x"], Rule(), "several categories.* a.x, b.x"),
        (["skiny-jeans"], Rule(), "skiny-jeans.*nearest: skinny-jeans"),
        (["b"], Rule(leaves_only=True), "no category 'b'"),
        (["women"], Rule(), "no category 'women'"),
        (["%%%"], Rule(), "no category '%%%'; there are "),
        (["b.x"], Rule(depth=1), "'b.x' is deeper than --depth, and counts as b"),
    ),
)
def test_classes_called_explains_a_bad_choice(tree, wanted, rule, sentence):
    with pytest.raises(UserError, match=sentence):
        category_tree.classes_called(tree, wanted, rule)


def test_a_leaf_whose_id_is_anothers_slug_is_meant_by_its_id(tree):
    crawling_queries.store_categories(tree, [("y", "women", 1, "y", "Y")])
    assert category_tree.classes_called(tree, ["y"], category_tree.WHOLE_TREE) == ["y"]


@pytest.mark.parametrize(
    "rule, classes",
    (
        (Rule(), {"a": "a", "b": "b", "a.x": "a.x", "b.x": "b.x", "b.y": "b.y"}),
        (Rule(leaves_only=True), {"a.x": "a.x", "b.x": "b.x", "b.y": "b.y"}),
        (Rule(depth=2), {"a": "a", "b": "b", "a.x": "a.x", "b.x": "b.x", "b.y": "b.y"}),
        (Rule(1), {"a": "a", "b": "b", "a.x": "a", "b.x": "b", "b.y": "b"}),
        (Rule(1, True), {"a": "a", "b": "b", "a.x": "a", "b.x": "b", "b.y": "b"}),
    ),
)
def test_what_a_category_counts_as(tree, rule, classes):
    assert category_tree.counts_as(tree, rule) == {**classes, "skinny-jeans": "skinny-jeans"}


def test_the_parent_of_an_inner_class_is_itself(tree):
    leaves = {"a.x": "a", "b.x": "b", "b.y": "b", "skinny-jeans": "skinny-jeans"}
    inner = {"a": "a", "b": "b", "women": "women"}
    assert category_tree.parents(tree, Rule()) == {**leaves, **inner}
    assert category_tree.parents(tree, Rule(depth=1)) == {**leaves, **inner}
    crawling_queries.store_categories(tree, [("b.y", "b", 0, "b/b.y", "Y")])
    crawling_queries.store_categories(tree, [("b.y.z", "b.y", 1, "b/b.y/b.y.z", "Z")])
    assert category_tree.parents(tree, Rule())["b.y"] == "b.y"
    assert category_tree.parents(tree, Rule(depth=2))["b.y"] == "b"
    assert category_tree.parents(tree, Rule(leaves_only=True))["b.y"] == "b"


@pytest.mark.parametrize("tree", (None, [], {"depth": "2"}, {"depth": -1}, {"depth": True}))
def test_a_rule_is_read_from_settings_that_anybody_may_have_written(tree):
    rule = category_tree.rule_of({"tree": tree})
    assert rule == Rule(leaves_only=not isinstance(tree, dict))
    assert category_tree.rule_of({"tree": {"depth": 2, "leaves only": True}}) == Rule(2, True)


# ---- products -----------------------------------------------------------------------------------


def product(
    external_id="1", name="Jean", description="Blue", image="", listed=(), found=None, group=None
):
    return {
        "external_id": external_id,
        "name": name,
        "description": description,
        "image": image,
        "listed": list(listed),
        "found": found,
        "group": group,
    }


def test_the_shops_number_is_the_id_where_it_can_be(conn):
    assert crawling_queries.store_product(conn, "a", product("616000001")) == (
        616000001,
        "new",
        False,
    )
    assert crawling_queries.store_product(conn, "a", product("0"))[0] == 0
    texts = ("007", "sku-1", "-5", "１２", "1.0", str(2**63), "9" * 40, "1" * 5000, "")
    numbers = [crawling_queries.store_product(conn, "a", product(text))[0] for text in texts]
    numbers.append(
        crawling_queries.store_product(conn, "b", product("616000001"))[0]
    )  # taken by shop a
    assert len({*numbers, 0, 616000001}) == len(texts) + 3
    stored = conn.execute("select id, external_id from product where source = 'a'").fetchall()
    assert dict(map(tuple, stored)) == {0: "0", 616000001: "616000001", **dict(zip(numbers, texts))}


def test_the_largest_number_leaves_room_for_ids_that_are_no_numbers(conn):
    for number in (2**63 - 1, 2**63 - 2, 2**62):
        crawling_queries.store_product(conn, "a", product(str(number)))
    stored = [
        crawling_queries.store_product(conn, "a", product(text))[0] for text in ("sku-1", "sku-2")
    ]
    assert all(isinstance(number, int) for number in stored) and len(set(stored)) == 2
    assert (
        conn.execute("select count(*) from product where typeof(id) = 'integer'").fetchone()[0] == 5
    )


def test_storing_again_is_unchanged_and_a_change_keeps_the_id(conn):
    first = product(image="a.jpg")
    assert crawling_queries.store_product(conn, "a", first) == (1, "new", False)
    assert crawling_queries.store_product(conn, "a", first) == (1, "unchanged", False)
    key = conn.execute("select group_key from product").fetchone()[0]
    picture_queries.store_pictures(conn, [(1, "ab/ab.jpg", "ab", "ok", None, 0)])
    assert crawling_queries.store_product(conn, "a", product(name="Gown", image="a.jpg")) == (
        1,
        "changed",
        False,
    )
    row = conn.execute("select name, group_key, image_crawled from product").fetchone()
    assert tuple(row) == ("Gown", key, 1)
    other = product(name="Gown", image="b.jpg")
    assert crawling_queries.store_product(conn, "a", other) == (1, "changed", False)
    row = conn.execute("select group_key, image_crawled from product").fetchone()
    assert tuple(row) == (key, 0)
    assert rows_of(conn, "picture") == []


def test_only_an_item_group_that_is_new_or_changed_moves_a_product(conn):
    crawling_queries.store_product(conn, "a", product())
    first = conn.execute("select group_key from product").fetchone()[0]
    for change, outcome, key, before in (
        ({"name": "Gown"}, "changed", first, []),
        ({"group": "g"}, "changed", "g", [first]),
        ({"name": "Robe", "group": "g"}, "changed", "g", [first]),
        ({"name": "Robe", "group": "g"}, "unchanged", "g", [first]),
        ({"name": "Robe"}, "unchanged", "g", [first]),
        ({"name": "Robe", "group": "h"}, "changed", "h", [first, "g"]),
    ):
        assert crawling_queries.store_product(conn, "a", product(**change))[1] == outcome
        assert conn.execute("select group_key from product").fetchone()[0] == key
        assert [
            row[0] for row in conn.execute("select group_key from regrouped order by id")
        ] == before
    assert db.last_regrouping(conn) == 2


def rows_of(conn, table):
    return [tuple(row) for row in conn.execute(f"select * from {table} order by 1, 2")]


words = st.text("abcdefghijklmnopqrstuvwxyzäéçñабвгд0123456789", min_size=1, max_size=8)
sentences = st.lists(words, min_size=1, max_size=6)


@given(
    sentences,
    st.sampled_from(
        (
            " ",
            "  ",
            "\n",
            "\u00a0",
            "<br>",
            " <li>",
            "</li>\t",
            ", ",
            "&nbsp;",
            " &amp; ",
            "<a href='x.html'>",
            "&lt;b&gt;",
        )
    ),
)
def test_case_spacing_markup_and_punctuation_do_not_make_another_group(text, between):
    plain = db.group_key(" ".join(text), None)
    assert db.group_key(between.join(text), "") == plain
    assert (
        db.group_key(
            between.join(text)
            .title()
            .replace("&Nbsp;", " ")
            .replace("&Amp;", " ")
            .replace("&Lt;", "<")
            .replace("&Gt;", ">"),
            "",
        )
        == plain
    )
    assert db.group_key(text[0], between.join(text[1:])) == plain


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(max_codepoint=127)),
            st.sampled_from(("<b>", "a<b", "&lt;i&gt;", "&#233;", "&amp;lt;", "_", "\x1f")),
        )
    ).map("".join)
)
def test_ascii_is_normalised_as_any_other_text_is(text):
    """By a way of its own: an accented letter behind it makes it go the general way."""
    assert normalised(text, "é") == f"{normalised(text, '')} é".strip()


@given(sentences, sentences)
def test_other_words_are_another_group(one, two):
    assert (db.group_key(" ".join(one), "") == db.group_key(" ".join(two), "")) == (one == two)


@given(st.text(), st.text(), st.text(min_size=1))
def test_a_group_that_the_shop_names_wins(name, description, group):
    assert db.group_key(name, description, group) == group
    assert db.group_key(name, description) == db.group_key(name, description, "")


# ---- filed under --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "listed, found, filed",
    (
        (["b.y", "a.x"], ["a.x"], "b.y"),  # the shop's list decides, not the page
        (["a", "b.y", "a.x"], ["a.x"], "b.y"),  # the first of its leaves
        (["women", "mens-jeans"], ["b.x", "a.x"], "a.x"),  # none known: path order of the pages
        ([], ["b.y", "b.x"], "b.x"),
        (["b", "a"], [None], "b"),  # inner categories only
        (["b", "a"], ["b.y"], "b.y"),
        (["mens-jeans"], [None], None),
        ([], [None], None),
        (["b.y", "b.y", "a.x"], ["a.x"], "b.y"),
    ),
)
def test_a_product_is_filed_by_the_shops_list_whatever_the_order_of_pages(
    tree, listed, found, filed
):
    seen = set()
    for turn, pages in enumerate(itertools.permutations(found)):
        for page in pages:
            crawling_queries.store_product(tree, str(turn), product(listed=listed, found=page))
        seen.add(
            tree.execute(
                "select category_id from product where source = ?", (str(turn),)
            ).fetchone()[0]
        )
    assert seen == {filed}


leaf_ids = st.sampled_from(("a.x", "b.x", "b.y", "skinny-jeans"))
shelves = st.lists(
    st.tuples(
        st.lists(
            st.sampled_from(("a", "b", "women", "elsewhere", "a.x", "b.x", "b.y")), max_size=3
        ),
        st.sets(leaf_ids, min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@given(shelves, st.randoms(use_true_random=False))
def test_filing_does_not_depend_on_the_order_of_the_crawl(shelves, chance):
    answers = [
        product(str(number), listed=listed, found=page)
        for number, (listed, pages) in enumerate(shelves)
        for page in sorted(pages)
    ]
    outcomes = []
    for _ in range(2):
        conn = sqlite3.connect(":memory:")
        conn.row_factory, conn.isolation_level = sqlite3.Row, None
        db.migrate(conn)
        crawling_queries.store_categories(
            conn,
            [("women", None, 0, "", "")]
            + [
                (own, None, int("." in own or "-" in own), own.replace(".", "/"), own)
                for own in ("a", "b", "a.x", "b.x", "b.y", "skinny-jeans")
            ],
        )
        for answer in answers:
            crawling_queries.store_product(conn, "s", answer)
        crawling_queries.count_products(conn)
        outcomes.append(
            [
                conn.execute(f"select * from {table} order by 1, 2").fetchall()
                for table in ("product_category", "category")
            ]
            + [conn.execute("select external_id, category_id from product order by 1").fetchall()]
        )
        conn.close()
        chance.shuffle(answers)
    assert outcomes[0] == outcomes[1]


def test_a_list_that_the_shop_changes_moves_the_product_and_its_count(tree):
    crawling_queries.store_product(tree, "s", product(listed=["a.x", "b.x"], found="b.x"))
    assert crawling_queries.store_product(tree, "s", product(listed=["b.x"], found="b.x")) == (
        1,
        "changed",
        False,
    )
    assert rows_of(tree, "product_category") == [(1, "b.x", 0, 1)]
    crawling_queries.count_products(tree, ["a.x", "b.x"])
    counts = dict(tree.execute("select id, product_count from category where leaf = 1").fetchall())
    assert counts == {"a.x": 0, "b.x": 1, "b.y": 10, "skinny-jeans": 0}  # only what was named


def test_counting_takes_any_number_of_categories(tree):
    crawling_queries.count_products(
        tree, [f"category-{number}" for number in range(300_000)] + ["b.y"]
    )
    assert tree.execute("select product_count from category where id = 'b.y'").fetchone()[0] == 0


# ---- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, path",
    (
        (URL, "8a/8a00f_xlarge.jpg"),
        ("http://x/a.jpg?w=1", "a./a.jpg?w=1"),
        ("http://x/a", "a/a"),
        (None, None),
        ("", None),
        ("http://x/", None),
        ("http://x/..", None),
        ("http://x/.", None),
        ("http://x/..jpg", None),
        ("http://x/a\0b.jpg", None),
    ),
)
def test_where_2016_kept_the_picture_of_a_url_and_never_outside_the_folder(url, path):
    assert catalogue_schema_queries.old_picture_path(url) == path


# ---- experiments --------------------------------------------------------------------------------

ROW = (1, "a.x", 0.9, "a.x", 0.9, "a", 0.95, "[]", None)


def write_model(folder):
    with open(os.path.join(folder, "model.json"), "w", encoding="utf-8") as file:
        json.dump({"made": "now"}, file)


def test_save_experiment_writes_rows_and_folder_together(conn, tmp_path):
    number = model_folders.save_experiment(
        conn,
        tmp_path / "crawl.db",
        "n",
        {"seed": 1, "naïve": "ö"},
        [ROW, ROW],
        [(*ROW, 1)],
        write_model,
    )
    row = db.experiment_row(conn, number)
    assert (number, row["name"], json.loads(row["settings"])) == (1, "n", {"seed": 1, "naïve": "ö"})
    assert [
        len(rows_of(conn, table)) for table in ("predicted_category", "validation_prediction")
    ] == [2, 1]
    assert os.listdir(tmp_path / "models") == ["experiment-1"]
    assert os.listdir(tmp_path / "models" / "experiment-1") == ["model.json"]


@pytest.mark.parametrize("error", (OSError("disk full"), KeyboardInterrupt))
def test_save_experiment_leaves_nothing_when_the_model_cannot_be_written(conn, tmp_path, error):
    def fail(folder):
        write_model(folder)
        raise error

    with pytest.raises((OSError, KeyboardInterrupt)):
        model_folders.save_experiment(
            conn, tmp_path / "crawl.db", "n", {}, [ROW], [(*ROW, 0)], fail
        )
    for table in ("experiment", "predicted_category", "validation_prediction"):
        assert rows_of(conn, table) == []
    assert os.listdir(tmp_path / "models") == []
    assert (
        model_folders.save_experiment(conn, tmp_path / "crawl.db", "n", {}, [ROW], [], write_model)
        == 1
    )


def test_a_bad_prediction_row_leaves_nothing(conn, tmp_path):
    with pytest.raises(sqlite3.Error):
        model_folders.save_experiment(
            conn, tmp_path / "crawl.db", "n", {}, [ROW, ROW[:3]], [], write_model
        )
    assert rows_of(conn, "experiment") == rows_of(conn, "predicted_category") == []


def test_a_folder_that_a_killed_run_left_without_a_row_is_replaced(conn, tmp_path):
    orphan = tmp_path / "models" / "experiment-1"
    orphan.mkdir(parents=True)
    (orphan / "weights.npz").write_bytes(b"of nobody")
    assert (
        model_folders.save_experiment(conn, tmp_path / "crawl.db", "n", {}, [ROW], [], write_model)
        == 1
    )
    assert os.listdir(orphan) == ["model.json"]


def test_an_unknown_experiment_is_a_sentence_with_the_known_ones(conn, tmp_path):
    with pytest.raises(UserError, match="no experiment 1 .there are: none yet"):
        db.experiment_row(conn, 1)
    model_folders.save_experiment(conn, tmp_path / "crawl.db", "n", {}, [ROW], [], write_model)
    with pytest.raises(UserError, match="no experiment 2 .there are: 1"):
        db.experiment_row(conn, 2)


@pytest.mark.parametrize(
    "wanted, name",
    (
        ([], "Image classification of: "),
        (["a", "b"], "Image classification of: a,b"),
        (list("abcdefghij"), "Image classification of: a,b,c,d,e,f,g,h,i,j"),
        (list("abcdefghijk"), "Image classification of: a,b,c,d,e... (11 total)"),
    ),
)
def test_experiments_are_named_as_in_2016(wanted, name):
    assert recording.experiment_name("Image", wanted) == name
