"""README keeps its word: its six commands run as they stand, and it names every script."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

from conftest import environment

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = (
    "crawl.py",
    "retrain.py",
    "categorize_images.py",
    "categorize_words.py",
    "categorize_both.py",
    "analyze.py",
)
# Files of the repository that hold text, by the folder that they are in.
TEXT_FILES = (
    "*.py",
    "*.md",
    "*.txt",
    "*.toml",
    "Makefile",
    ".ci/*",
    "docs/*.md",
    "common/*.py",
    "crawling/*.py",
    "learning/*.py",
    "evaluation/*.py",
    "evaluation/templates/*",
    "sample/*.py",
    "sample/*.tsv",
    "benchmarks/*.py",
    "results/*",
)


def figures_hidden(line):
    """A printed line without its figures, which differ from one processor to another."""
    return " ".join(re.sub(r"\d[\d.,]*", "N", line).split())


def test_the_six_commands_run_as_they_stand_and_print_what_is_shown(tmp_path):
    steps = README.split("## Use it on your catalogue")[1].split("\n## ")[0]
    blocks = re.findall(r"^    \$ (python .*)\n((?:    [^$].*\n)*)", steps, re.M)
    assert len(blocks) == 6
    for script in SCRIPTS:
        (tmp_path / script).symlink_to(ROOT / script)
    (tmp_path / "sample").symlink_to(ROOT / "sample")
    for command, shown in blocks:
        words, _, output = command.partition(" > ")
        done = subprocess.run(
            [sys.executable, *shlex.split(words)[1:]],
            cwd=tmp_path,
            text=True,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "--remove-missing" not in done.stderr  # it would take the labelled products away
        if output:
            (tmp_path / output).write_text(done.stdout, encoding="utf-8")
        printed = set(map(figures_hidden, (done.stdout + done.stderr).splitlines()))
        for line in shown.splitlines():
            assert figures_hidden(line) in printed
    with open(tmp_path / "filed.csv", encoding="utf-8", newline="") as file:
        levels = [row["level"] for row in csv.DictReader(file)]
    assert len(levels) == 160 and levels.count("leaf") > 80 and levels.count("person") > 10
    assert "Bootcut Jeans</b>" in (tmp_path / "review.html").read_text(encoding="utf-8")


def test_every_script_is_named_and_says_two_commands():
    for script in SCRIPTS:
        assert f"`{script}`" in README
        docstring = (ROOT / script).read_text(encoding="utf-8").split('"""')[1]
        assert len(re.findall(r"^    .*python ", docstring, re.M)) >= 2, script


def test_nothing_speaks_of_the_machine_it_was_written_on():
    here = re.compile("/(work|root|tmp/bash)/|shared/(data|notes|weights)")
    for pattern in TEXT_FILES:
        paths = [path for path in ROOT.glob(pattern) if path.is_file()]
        assert paths, pattern
        for path in paths:
            assert not here.search(path.read_text(encoding="utf-8")), path
