"""README and docs/ can't rot: their flags, commands, schema, links and examples are held to what
the scripts, the database and the other pages have.
"""

import argparse
import ast
import contextlib
import importlib
import re
import shlex
import sqlite3
import subprocess
from pathlib import Path

import pytest
from conftest import run_script

import db
from crawling import feed_arguments, feed_dialects
from evaluation import certificates, floors

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = (
    "crawl",
    "retrain",
    "categorize_images",
    "categorize_words",
    "categorize_both",
    "analyze",
)
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *DOCS,
    ROOT / "results" / "README.md",
]
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}


class Asked(Exception):
    """Carries a parser out of a script's main, so that none is built a second time."""


def parser_of(script):
    """The argparse parser of a script, as its main builds it."""

    def parse_args(self, *_):
        raise Asked(self)

    module = importlib.import_module(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(Asked) as asked:
            module.main([])
    return asked.value.args[0]


@pytest.fixture(scope="module")
def parsers():
    return {script: parser_of(script) for script in SCRIPTS}


def shown_flags(parser):
    """The flags that --help shows, each by one spelling."""
    return sorted(
        action.option_strings[-1]
        if action.option_strings[-1] == "--output"
        else action.option_strings[0]
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest != "help"
    )


def documented_flags(script):
    """The flags in the tables under a heading "Flags of ..." that names the script."""
    flags = []
    for path in DOCS:
        for section in re.split(r"^## ", TEXTS[path], flags=re.M)[1:]:
            heading, body = section.split("\n", 1)
            if heading.startswith("Flags of ") and f"`{script}.py`" in heading:
                for cell in re.findall(r"^\| (`-[^|]*?) \|", body, re.M):
                    flags.append(re.findall(r"--[a-z][\w-]*", cell)[0])
    return sorted(flags)


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_flag_stands_in_exactly_one_table(parsers, script):
    assert documented_flags(script) == shown_flags(parsers[script])


IMG2DATASET = """--url_list --input_format --url_col --output_folder --output_format --distributor
                 --disable_all_reencoding --resize_mode"""  # the flags of it that docs/crawl.md names


def test_every_flag_that_is_named_exists(parsers):
    known = {
        flag
        for parser in parsers.values()
        for action in parser._actions
        for flag in action.option_strings
    }
    for script in ("sample/shop.py", "sample/tables.py"):
        known |= set(re.findall(r'"(--[a-z-]+)"', (ROOT / script).read_text(encoding="utf-8")))
    known |= set(IMG2DATASET.split())
    for path in (ROOT / "README.md", *DOCS):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+", TEXTS[path]))
        if path.name == "cluster.md":
            named -= flags_of_dask() | {*"--array --cpus-per-task --mem --time --exclusive".split()}
            named -= {"--from-file"}  # of kubectl; those above are Slurm's
        assert named <= known, path


def flags_of_dask():
    """The flags that Dask's own commands have."""
    dask_scheduler = pytest.importorskip("distributed.cli.dask_scheduler")
    from distributed.cli import dask_worker

    commands = (dask_scheduler.main, dask_worker.main)
    return {
        spelling
        for command in commands
        for flag in command.params
        for spelling in (*flag.opts, *flag.secondary_opts)
    }


def commands(text):
    """[(script, arguments)] of the commands in a page's blocks of code."""
    lines = re.sub(r"\\\n *", "", text)
    for line in re.findall(r"^    (?:\$ )?(?:[A-Z_]+=\S+ )?python (\S.*)$", lines, re.M):
        words = shlex.split(line, comments=True)
        if words[0].removesuffix(".py") in SCRIPTS:
            yield words[0].removesuffix(".py"), words[1:]


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if list(commands(TEXTS[path]))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_each_command_is_one_that_its_script_takes(parsers, path):
    for script, words in commands(TEXTS[path]):
        end = next((n for n, word in enumerate(words) if word in (">", "&")), len(words))
        with contextlib.suppress(ValueError):
            words = words[: words.index("--")]  # what follows goes on to another script
        try:
            parsers[script].parse_args(words[:end])
        except SystemExit:
            pytest.fail(f"{script}.py does not take {words[:end]}")


def test_the_flags_that_the_tables_of_catalogues_name_are_taken(parsers):
    """Flags stand in code, some of them without the --feed that they go with."""
    page = TEXTS[ROOT / "docs" / "crawl.md"]
    tables = re.findall(r"^\|.*", page.split("\n## Flags of")[0], re.M)
    shown = [flags for row in tables for flags in re.findall(r"`(--[^`]+)`", row)]
    assert len(shown) > 30
    for flags in shown:
        words = shlex.split(flags)
        if len(words) > 1:
            args = parsers["crawl"].parse_args(
                [*words, *([] if "--feed" in words else ["--feed", "x"])]
            )
            feed_arguments.named_columns(parsers["crawl"], args.column)


def columns(conn):
    tables = [
        row[0]
        for row in conn.execute(
            "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
        )
    ]
    return {
        table: [row[1] for row in conn.execute(f"pragma table_info({table})")] for table in tables
    }


def test_the_schema_is_the_one_of_a_new_crawl_db(tmp_path):
    page = TEXTS[ROOT / "docs" / "database.md"]
    with sqlite3.connect(":memory:") as documented:
        documented.executescript(re.search("```sql\n(.*?)```", page, re.S).group(1))
    made = columns(db.open_database(tmp_path / "crawl.db", create=True))
    assert {table: sorted(names) for table, names in columns(documented).items()} == {
        table: sorted(names) for table, names in made.items()
    }


def test_the_first_commands_of_the_page_on_catalogues_print_what_is_shown(tmp_path):
    page = TEXTS[ROOT / "docs" / "crawl.md"]
    section = page.split("\n## A catalogue file\n")[1].split("\n### ")[0]
    blocks = re.findall(r"^    \$ (.*)\n((?:    [^$].*\n)*)", section, re.M)
    assert [command.split()[0] for command, _ in blocks] == ["printf", "python", "python"]
    subprocess.run(["sh", "-c", blocks[0][0]], cwd=tmp_path, check=True)
    for command, shown in blocks[1:]:
        done = run_script("crawl", *shlex.split(command)[2:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed = (done.stdout + done.stderr).splitlines()
        assert shown and [line[4:] for line in shown.splitlines() if line[4:] not in printed] == []


def test_each_system_whose_files_are_known_stands_in_the_table():
    page = TEXTS[ROOT / "docs" / "crawl.md"]
    table = page.split("\n### Systems that are known\n")[1].split("\n## ")[0]
    names = [re.findall(r"\w+", dialect.name)[0] for dialect in feed_dialects.DIALECTS]
    assert len(names) > 15 and [name for name in names if name not in table] == []


def test_the_least_numbers_of_products_are_those_of_the_certificates():
    page = TEXTS[ROOT / "docs" / "guarantees.md"]
    rows = re.findall(r"^\| (\d+) % \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", page, re.M)
    assert len(rows) == 4
    level, _ = certificates.single_levels(0.05 * floors.TOGETHER, True)
    for target, *shown in rows:
        for wrong, products in zip((0, 1, 3), shown):
            least = int(products.replace(",", ""))
            assert certificates.most_wrong(least, int(target) / 100, level) == wrong
            assert certificates.most_wrong(least - 1, int(target) / 100, level) < wrong


def anchors(text):
    """The anchors that a page's headings get from GitHub."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[path]):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lines_of_prose_have_at_most_100_characters(path):
    prose = re.sub(r"^```.*?^```", "", TEXTS[path], flags=re.M | re.S).splitlines()
    assert [line for line in prose if len(line) > 100 and not line.startswith(("|", "    "))] == []


def test_readme_takes_five_minutes():
    lines = TEXTS[ROOT / "README.md"].splitlines()
    assert len(lines) <= 150 and all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_a_page_begins_with_its_question_and_readme_links_it(path):
    assert re.match(r"# .+\n\n\*\*[^*]+\?\*\*", TEXTS[path])
    assert f"(docs/{path.name})" in TEXTS[ROOT / "README.md"]


def messages():
    """The words of each text in the code and the Makefile; a figure or a name that comes in is
    "\\0"."""
    yield (ROOT / "Makefile").read_text(encoding="utf-8").split()
    for pattern in ("*.py", "common/*.py", "crawling/*.py", "learning/*.py", "evaluation/*.py"):
        for path in ROOT.glob(pattern):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        part.value if isinstance(part, ast.Constant) else "\0"
                        for part in node.values
                    ).split()
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value.split()


def says(text, words):
    """Whether a text has these words one after another; "\\0" in it stands for any word, but more
    than half of the words must be the text's own."""
    for start in range(len(text) - len(words) + 1):
        equal = [
            word.strip(':;,"') == said.strip(':;,"') for word, said in zip(words, text[start:])
        ]
        if sum(equal) * 2 > len(words) and all(
            same or "\0" in said for same, said in zip(equal, text[start:])
        ):
            return True
    return False


def test_the_messages_in_troubleshooting_are_those_of_the_scripts():
    page = TEXTS[ROOT / "docs" / "troubleshooting.md"]
    shown = set(re.findall(r"^\| `([^`]+)` \|", page, re.M))
    texts = list(messages())
    missing = [
        part
        for row in shown - {"ModuleNotFoundError: ...", "Illegal instruction"}
        for part in row.split("...")
        if part.strip() and not any(says(text, part.split()) for text in texts)
    ]
    assert len(shown) > 20 and missing == []
