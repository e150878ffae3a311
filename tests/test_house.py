"""The house: what may import what, where SQL may stand and who prints, read from the code itself."""

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
SCRIPTS = (
    "crawl",
    "retrain",
    "categorize_images",
    "categorize_words",
    "categorize_both",
    "analyze",
)
MAY_IMPORT = {
    "common": {"common"},
    "db": {"common"},
    "crawling": {"common", "db", "crawling"},
    "learning": {"common", "db", "learning"},
    "evaluation": {"common", "db", "learning", "evaluation"},
    "script": {"common", "db", "crawling", "learning", "evaluation"},
}
MODULES = sorted(path.relative_to(REPO) for path in REPO.glob("*.py")) + sorted(
    path.relative_to(REPO)
    for room in ("common", "crawling", "learning", "evaluation")
    for path in (REPO / room).rglob("*.py")
)
SQL = re.compile(
    r"\s*(select\s.+\sfrom|insert\s+(or\s+\w+\s+)?into|update\s+\w+\s+set|"
    r"delete\s+from|create\s+(temp\s+)?(table|index|trigger)|pragma)\s",
    re.I | re.S,
)


def imported(path):
    """The first part of each module of ours that a file imports, wherever it does."""
    ours = {*MAY_IMPORT, *SCRIPTS} - {"script"}
    for node in ast.walk(ast.parse((REPO / path).read_text(encoding="utf-8"))):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        yield from ({name.split(".")[0] for name in names} & ours)


def test_there_are_six_scripts_and_db_at_the_top():
    assert {path.stem for path in MODULES if len(path.parts) == 1} == {*SCRIPTS, "db"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_arrows_go_one_way(path):
    room = path.parts[0] if len(path.parts) > 1 else "db" if path.stem == "db" else "script"
    assert set(imported(path)) <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=str)
def test_a_package_runs_nothing_when_it_is_imported(path):
    assert (REPO / path).read_text(encoding="utf-8") == ""


def executed(path):
    """The lines of a file where SQL is given to a connection."""
    return [
        node.lineno
        for node in ast.walk(ast.parse((REPO / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("execute", "executemany", "executescript")
    ]


def sql_of(path):
    """The texts of a file that begin as SQL does."""
    nodes = ast.walk(ast.parse((REPO / path).read_text(encoding="utf-8")))
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ]


def holds_sql(path):
    """db.py and the queries of each package."""
    return path == Path("db.py") or path.stem == "queries" or path.stem.endswith("_queries")


@pytest.mark.parametrize("path", [path for path in MODULES if not holds_sql(path)], ids=str)
def test_sql_stands_in_db_and_in_queries(path):
    assert sql_of(path) == [] and executed(path) == []


def printing(path):
    """The lines of a file that write to stdout or stderr by themselves."""
    tree = ast.parse((REPO / path).read_text(encoding="utf-8"))
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, (ast.Name, ast.Attribute))
        and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write", "os.write")
    ]


# sheet_reader writes JSON into a pipe, which is read by the process that started it, and
# tensorflow_loader what libraries said while they were loaded and failed.
PRINTING = ("terminal", "sheet_reader", "tensorflow_loader")


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem not in PRINTING], ids=str)
def test_only_the_terminal_prints(path):
    """By say and log no name of a shop can steer it or forge a line."""
    assert printing(path) == []


def test_the_check_of_printing_finds_some():
    assert len(printing("common/terminal.py")) > 4


@pytest.mark.parametrize("path", [path for path in MODULES if holds_sql(path)], ids=str)
def test_the_check_of_sql_finds_some(path):
    assert len(sql_of(path)) + len(executed(path)) > 1
