"""The README can't rot: its schema, its flags and its example are those of the scripts."""
import re
import sqlite3
from pathlib import Path

import pytest
from conftest import run_script

import db

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = ("crawl.py", "retrain.py", "categorize_images.py", "categorize_words.py",
           "categorize_both.py", "analyze.py")


def columns(conn):
    tables = [row[0] for row in conn.execute("select name from sqlite_master where type = 'table' "
                                             "and name not like 'sqlite_%'")]
    return {table: [row[1] for row in conn.execute(f"pragma table_info({table})")]
            for table in tables}


def test_the_schema_is_the_one_of_a_new_crawl_db(tmp_path):
    with sqlite3.connect(":memory:") as documented:
        documented.executescript(re.search("```sql\n(.*?)```", README, re.S).group(1))
    made = columns(db.open_database(tmp_path / "crawl.db", create=True))
    assert {table: sorted(names) for table, names in columns(documented).items()} \
        == {table: sorted(names) for table, names in made.items()}


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("help")
    return {script: run_script(script.removesuffix(".py"), "--help", cwd=folder,
                               process=True).stdout
            for script in (*SCRIPTS, "sample/shop.py")}


def test_every_flag_it_names_exists(helps):
    known = set(re.findall(r"--[a-z][a-z_-]+", " ".join(helps.values())))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+", README)) <= known | {"--python"}


def test_every_script_is_named_and_says_two_commands(helps):
    for script in SCRIPTS:
        assert f"`{script}`" in README
        docstring = (ROOT / script).read_text(encoding="utf-8").split('"""')[1]
        assert len(re.findall(r"^    .*python ", docstring, re.M)) >= 2, script
        assert helps[script].startswith(f"usage: {script}")


def test_the_feed_in_it_loads_with_the_output_it_shows(tmp_path):
    lines = README.split("### 1b.")[1].split("### 2.")[0].splitlines()
    shown = [line[4:] for line in lines if line.startswith("    ")]
    text = shown[0].split("'")[1]
    (tmp_path / "products.tsv").write_text(text.replace("\\t", "\t").replace("\\n", "\n"))
    assert shown[1].startswith("$ python crawl.py ")
    done = run_script("crawl", *shown[1].split()[3:], cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines() == shown[2:4]


def test_nothing_speaks_of_the_machine_it_was_written_on():
    here = re.compile("/(wo" "rk|ro" "ot|tm" "p/bash)/|shar" "ed/(data|notes|weights)")
    for pattern in ("*.py", "*.md", "common/*.py", "crawling/*.py", "learning/*.py",
                    "evaluation/*.py", "evaluation/templates/*", "sample/*.py", "results/*"):
        paths = list(ROOT.glob(pattern))
        assert paths, pattern
        for path in paths:
            assert not here.search(path.read_text(encoding="utf-8")), path
