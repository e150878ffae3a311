"""docs/cluster.md: its commands are ones that Dask and the shell take, and its first cluster, typed as
it stands there, works.

pytest tests/test_cluster_page.py
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from clusters import free_port, make_keys, wait_until
from conftest import REPO, draw_feed, environment, run_script

pytest.importorskip("distributed", reason="requirements-cluster.txt is not installed")
PAGE = (REPO / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = [
    re.sub(r"^    ", "", block, flags=re.M)
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.M)
]


def in_one_line(block):
    return re.sub(r"\\\n *", "", block)


def dask_commands():
    """The words behind `python -m dask` of each command in the page, also of Kubernetes."""
    for block in BLOCKS:
        for line in in_one_line(block).splitlines():
            if found := re.search(r"python -m dask (.*?)&?$", line):
                yield shlex.split(found[1])
        for words in re.findall(r"command: \[(.*?)\]", block, re.S):
            yield re.findall(r'"[^"]*"|[^\s,]+', words.replace('"', ""))[3:]


@pytest.mark.parametrize("words", list(dask_commands()), ids=lambda words: " ".join(words)[:50])
def test_each_command_is_one_that_dask_takes(words):
    from distributed.cli import dask_scheduler, dask_worker

    command = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[words[0]]
    there = [__file__ if word.endswith(".pem") else word for word in words[1:]]
    command.make_context(words[0], there)  # which fails on what it does not know
    assert "--dashboard-address" in words  # or a page with logs is open to everybody
    if words[0] == "worker":
        assert words[words.index("--nthreads") + 1] == "1" and "--memory-limit" in words


@pytest.mark.parametrize("block", [block for block in BLOCKS if "apiVersion" not in block])
def test_each_block_is_one_that_a_shell_reads(block):
    done = subprocess.run(["sh", "-n"], input=block, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_objects_of_kubernetes_belong_together():
    import yaml  # Dask needs it

    (block,) = [block for block in BLOCKS if "apiVersion" in block]
    service, *deployments = yaml.safe_load_all(block)
    assert [item["kind"] for item in (service, *deployments)] == ["Service", *["Deployment"] * 2]
    for item in deployments:
        labels = item["spec"]["template"]["metadata"]["labels"]
        assert item["spec"]["selector"]["matchLabels"] == labels
        pod = item["spec"]["template"]["spec"]
        assert pod["volumes"][0]["name"] == pod["containers"][0]["volumeMounts"][0]["name"]
    assert service["spec"]["selector"] == {"app": "scheduler"}


@contextlib.contextmanager
def typed(line, log):
    """A command of the page, started by a shell in the folder of the scripts; its output is in log.
    Ctrl-C ends it, as the page says."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    with open(log, "wb") as file:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            cwd=REPO,
            env=environment(PATH=path),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("heading", ["First try it on one computer", "Keys for TLS"])
def test_a_cluster_of_three_processes_as_the_page_has_it(tmp_path, heading):
    port = str(free_port())
    keys = make_keys(tmp_path / "made")
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    section = re.sub(r"\b(8786|8790)\b", port, section)
    section = re.sub(r"\bkeys\b(?=[/\s])", str(keys), section)
    if "--port" not in section:
        section = section.replace("dask scheduler", f"dask scheduler --port {port}")
    lines = in_one_line(section).splitlines()
    scheduler, worker, command = (
        next(line.strip() for line in lines if re.match(f"    python {words}", line))
        for words in ("-m dask scheduler", "-m dask worker", "categorize_images.py .*--cluster t")
    )
    draw_feed(tmp_path / "shop", 12)
    run_script("crawl", "--feed", tmp_path / "shop" / "products.tsv", cwd=tmp_path)
    command += (
        f" --db-path {tmp_path}/crawl.db --bottleneck_dir {tmp_path}/cache --min-products 2"
        " --weights random --layer mixed0 --how_many_training_steps 4"
    )
    with typed(scheduler, tmp_path / "scheduler"), typed(worker, tmp_path / "worker"):
        wait_until(lambda: "Registered to" in (tmp_path / "worker").read_text())
        with typed(command, tmp_path / "command") as process:
            process.wait(300)
        said = (tmp_path / "command").read_text()
    assert process.returncode == 0 and "Accuracy" in said, said
