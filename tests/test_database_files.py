"""Files that can't be opened as crawl.db, or not be written: each kind has a sentence of its own
that says what is wrong and what to do, and the file stays as it was.

pytest tests/test_database_files.py
"""

import contextlib
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import REPO, environment, run_script, write_feed
from test_db import make_2016

import db
from common.trouble import database_sentence

NOBODY = 65534
READ, WRITE = ("analyze",), ("crawl", "--feed", "shop.tsv")
# Runs a script with files of so many bytes at most.
LIMITED = """
import resource, runpy, signal, sys
repo, script, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.path.insert(0, repo)
sys.argv = [f"{script}.py", *sys.argv[4:]]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
runpy.run_path(f"{repo}/{script}.py", run_name="__main__")
"""


@pytest.fixture
def folder():
    """A folder of nobody's, outside pytest's, which no other user may enter: crawl.db with a
    product, and a feed."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        rows = [("1", "Boot", "", "Shoes", "", ""), ("2", "Jeans", "", "Jeans", "", "")]
        write_feed(path / "shop.tsv", rows)
        done = run_script("crawl", "--feed", "shop.tsv", cwd=path)
        assert done.returncode == 0, done.stderr
        run_script("analyze", cwd=path)
        (path / "decisions.csv").write_text("product_id,decision\n1,unclear\n")
        done = run_script("analyze", "--overrides", "decisions.csv", cwd=path)
        assert done.returncode == 0, done.stderr
        (path / "decisions.csv").write_text("product_id,decision\n2,unclear\n")
        gc.collect()  # closes the files that those runs had open
        for part in (path, *path.iterdir()):
            if os.geteuid() == 0:
                os.chown(part, NOBODY, -1)
        yield path
        for part in (path, *(part for part in path.iterdir() if part.is_dir())):
            os.chmod(part, 0o700)


def run_as_nobody(folder, *command):
    """Run a command as a user for whom permissions hold. All that it imports is there already,
    since that user may not read it."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        return run_script(*command, cwd=folder)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def refused(done, *words):
    """Check that a run was refused in one sentence, which holds these words."""
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == "" and ".py: " in lines[-1], done.stderr
    for word in words:
        assert word in lines[-1], lines


# ---- the file is not what it should be ----------------------------------------------------------


def is_a_folder(path):
    path.mkdir()


def is_a_fifo(path):
    os.mkfifo(path)


def is_text(path):
    path.write_bytes(b"id\ttitle\n" * 500)


def is_of_a_browser(path):
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.execute("create table moz_places(url text)")


def is_of_a_newer_version(path):
    db.open_database(str(path), create=True).close()
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("insert into schema_version(name) values ('add product.colour')")


def is_cut(path):
    db.open_database(str(path), create=True).close()
    os.truncate(path, os.path.getsize(path) // 2)


def has_a_damaged_schema(path):
    """A byte of a table's name that is no UTF-8: SQLite quotes it in its message."""
    db.open_database(str(path), create=True).close()
    content = path.read_bytes()
    for before in (b"CREATE TABLE filed_before(", b"create table filed_before("):
        content = content.replace(before, before[:14] + b"\xff(\xfe" + before[17:])
    path.write_bytes(content)


KINDS = (
    (is_a_folder, "is a folder or a device"),
    (is_a_fifo, "is a folder or a device"),
    (is_text, "is no SQLite file"),
    (is_of_a_browser, "another program's"),
    (is_of_a_newer_version, "made by a newer version"),
    (is_cut, "is damaged"),
    (has_a_damaged_schema, "is damaged"),
)


@pytest.mark.redteam
@pytest.mark.parametrize("kind, words", KINDS, ids=[kind.__name__ for kind, _ in KINDS])
@pytest.mark.parametrize("command", (READ, WRITE, ("crawl", "--verify")), ids=" ".join)
def test_a_file_of_another_kind_is_refused_and_stays(tmp_path, kind, words, command):
    rows = [("1", "Boot", "", "Shoes", "", ""), ("2", "Jeans", "", "Jeans", "", "")]
    write_feed(tmp_path / "shop.tsv", rows)
    path = tmp_path / "crawl.db"
    kind(path)
    before = path.read_bytes() if path.is_file() else None
    refused(run_script(*command, cwd=tmp_path), "crawl.db", words)
    assert before is None or path.read_bytes() == before
    left = {name for name in os.listdir(tmp_path) if not name.endswith(("-wal", "-shm"))}
    assert left == {"crawl.db", "shop.tsv"}


@pytest.mark.parametrize("command", (READ, WRITE), ids=" ".join)
def test_a_folder_that_is_not_there_is_named(tmp_path, command):
    write_feed(tmp_path / "shop.tsv", [("1", "Boot", "", "Shoes", "", "")])
    done = run_script(*command, "--db-path", "none/crawl.db", cwd=tmp_path)
    refused(done, "there is no", "none")


# ---- the file may not be written ----------------------------------------------------------------


def file_is_readonly(folder):
    os.chmod(folder / "crawl.db", 0o444)
    return "may not be written by you", "permissions"


def file_is_secret(folder):
    os.chmod(folder / "crawl.db", 0o000)
    return "may not", "permissions"


def folder_is_readonly(folder):
    os.chmod(folder, 0o555)
    return "you may not write in its folder", "change the permissions"


@pytest.mark.redteam
@pytest.mark.parametrize("kind", (file_is_readonly, file_is_secret, folder_is_readonly))
def test_what_may_not_be_written_is_its_own_sentence(folder, kind):
    words = kind(folder)
    refused(run_as_nobody(folder, "analyze", "--overrides", "decisions.csv"), "crawl.db", *words)
    reading = run_as_nobody(folder, *READ)
    if kind is file_is_secret:
        refused(reading, "crawl.db", "you may not read it")
    else:
        assert reading.returncode == 0, reading.stderr


@pytest.mark.parametrize("name", ("crawl.db", "new.db"))
def test_the_database_is_named_before_the_pictures_in_a_folder_that_may_not_be_written(
    folder, name
):
    os.makedirs(folder / "images", exist_ok=True)
    os.chmod(folder / "images", 0o555)
    os.chmod(folder, 0o555)
    refused(run_as_nobody(folder, *WRITE, "--db-path", name), f"{name} can't", "in its folder")


def test_a_folder_that_may_not_be_written_and_a_log_in_it(folder):
    """Who reads a log writes an index of it beside it."""
    with contextlib.closing(sqlite3.connect(folder / "crawl.db")) as conn:
        conn.execute("update product set name = 'x'")
        conn.commit()
        shutil.copy(folder / "crawl.db-wal", folder / "log")
    shutil.copy(folder / "log", folder / "crawl.db-wal")
    os.chmod(folder, 0o555)
    refused(run_as_nobody(folder, *READ), "you may not write in its folder")


@pytest.mark.parametrize("opening", (db.open_database, db.open_readonly))
def test_a_file_that_another_script_keeps_is_its_own_sentence(tmp_path, monkeypatch, opening):
    monkeypatch.setattr(db, "PATIENCE", 0.1)
    path = str(tmp_path / "crawl.db")
    with contextlib.closing(db.open_database(path, create=True)) as conn:
        conn.execute("pragma journal_mode = delete")
        conn.execute("begin exclusive")
        with pytest.raises(db.UserError, match="is being written by another script: wait for it"):
            opening(path)


@pytest.mark.redteam
def test_a_full_disk_is_its_own_sentence_and_nothing_is_lost(folder):
    rows = [(f"{i}", "Boot " * 50, "soft " * 100, "Shoes", "", "") for i in range(2000)]
    write_feed(folder / "shop.tsv", rows)
    before = dump(folder / "crawl.db")
    most = os.path.getsize(folder / "crawl.db") + 50_000
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, REPO, WRITE[0], str(most), *WRITE[1:]],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "whether its disk is full" in done.stderr or "no room" in done.stderr
    assert dump(folder / "crawl.db") == before
    assert run_script(*WRITE, cwd=folder).returncode == 0


def dump(path):
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return list(conn.iterdump())


def test_a_full_file_system_says_so(tmp_path):
    """SQLite's own word for it, which it also has for a bound of its own."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    pages = conn.execute("pragma page_count").fetchone()[0]
    conn.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError) as error, db.transaction(conn):
        conn.executemany("insert into product(name) values (?)", [("x" * 5000,)] * 20)
    sentence = database_sentence(error.value)
    assert "there is no room for it; make room" in sentence
    assert conn.execute("select count(*) from product").fetchone()[0] == 0
    conn.close()


def test_the_sentences_differ():
    said = (
        "database is locked",
        "database or disk is full",
        "attempt to write a readonly database",
    )
    said += ("disk I/O error", "file is not a database", "database disk image is malformed")
    sentences = [database_sentence(sqlite3.OperationalError(text), "x.db") for text in said]
    assert len(set(sentences)) == len(said)
    # A damaged schema may hold any of those words.
    text = "malformed database schema (locked)"
    assert "is damaged" in database_sentence(sqlite3.DatabaseError(text), "x.db")


# ---- logs ---------------------------------------------------------------------------------------


def killed_in_a_load(folder):
    """crawl.db and its log, as a process that was killed leaves them."""
    code = """if True:
        import os, signal, sqlite3
        conn = sqlite3.connect("crawl.db")
        conn.execute("insert into product(name) values ('a'), ('b')")
        conn.commit()
        os.kill(os.getpid(), signal.SIGKILL)"""
    subprocess.run([sys.executable, "-c", code], cwd=folder)
    assert os.path.getsize(folder / "crawl.db-wal") > 0


@pytest.mark.redteam
def test_a_log_that_a_killed_process_left_is_read_and_one_that_is_removed_loses_only_itself(folder):
    before = dump(folder / "crawl.db")
    killed_in_a_load(folder)
    copy = folder / "copy.db"
    shutil.copy(folder / "crawl.db", copy)
    shutil.copy(folder / "crawl.db-shm", f"{copy}-shm")
    with contextlib.closing(db.open_database(str(folder / "crawl.db"))) as conn:
        assert conn.execute("select count(*) from product").fetchone()[0] == 4
    with contextlib.closing(db.open_database(str(copy))) as conn:
        assert conn.execute("select count(*) from product").fetchone()[0] == 2
    assert dump(copy) == before


@pytest.mark.redteam
def test_a_log_of_another_file_does_not_spoil_a_copy_that_was_put_back(folder):
    """A copy is put back, and the old file's log still lies there. SQLite takes it for its own."""
    path = folder / "crawl.db"
    other = folder / "other.db"
    db.open_database(str(other), create=True).close()
    with contextlib.closing(sqlite3.connect(other)) as conn, conn:
        conn.executemany("insert into product(name) values (?)", [("x" * 3000,)] * 2000)
    conn = sqlite3.connect(path)
    conn.executemany("insert into product(name) values (?)", [("y" * 3000,)] * 200)
    conn.execute("delete from category")
    conn.commit()
    log = (folder / "crawl.db-wal").read_bytes()
    conn.close()
    shutil.copy(other, path)
    before = path.read_bytes()
    (folder / "crawl.db-wal").write_bytes(log)
    for command in (READ, WRITE):
        refused(run_script(*command, cwd=folder), "is damaged", "without the -wal")
        assert path.read_bytes() == before
    for end in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(f"{path}{end}")
    db.open_database(str(path)).close()


# ---- a damaged file is not made worse -----------------------------------------------------------


@pytest.mark.redteam
def test_a_damaged_file_of_2016_is_not_migrated(tmp_path):
    path = tmp_path / "crawl.db"
    products = [(i, "bootcut-jeans", None, f"Boot {i} " * 60, "x") for i in range(1, 300)]
    make_2016(str(path), products=products)
    content = bytearray(path.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as conn:
        size = conn.execute("pragma page_size").fetchone()[0]
        root = conn.execute("select rootpage from sqlite_master where name = 'product'").fetchone()
    content[(root[0] - 1) * size + 8 : (root[0] - 1) * size + 12] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    for command in (READ, ("analyze", "--overrides", "x.csv"), ("crawl", "--verify")):
        refused(run_script(*command, cwd=tmp_path), "is damaged")
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["crawl.db"]
