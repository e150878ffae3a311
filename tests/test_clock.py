"""A clock that is wrong, is set back, or stands at 1970: what rests on the time of day.

pytest tests/test_clock.py
"""

import contextlib
import email.utils
import functools
import http.server
import itertools
import os
import shutil
import sqlite3
import ssl
import subprocess
import sys
import threading
import time

import pytest
import tqdm.std
from conftest import REPO, draw_feed, environment, run_script, write_feed

import retrain
from common import terminal
from common.terminal import UserError
from crawling import http_client

YEAR = 365 * 86400


# ---- the manners of requests --------------------------------------------------------------------


@pytest.mark.redteam
@pytest.mark.parametrize("wrong", [-40 * YEAR, -YEAR, -3600, 0, 3600, YEAR])
def test_a_date_to_wait_for_is_one_of_the_servers_clock(wrong):
    """This computer's clock is off by so many seconds from the server's."""
    there = time.time() - wrong
    headers = {
        "Retry-After": email.utils.formatdate(there + 30, usegmt=True),
        "Date": email.utils.formatdate(there, usegmt=True),
    }
    assert http_client.pause_asked(headers) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("date", ["", "soon", "Sun, 99 Nov 1994 08:49:37 GMT"])
def test_without_a_date_of_the_servers_it_is_this_computers(date):
    asked = {"Retry-After": email.utils.formatdate(time.time() + 30), "Date": date}
    assert http_client.pause_asked(asked) == pytest.approx(30, abs=5)


CA = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = host
[any]
commonName = supplied
[host]
subjectAltName = DNS:localhost
[req]
distinguished_name = any
"""


def make_certificate(folder, first, last):
    """key.pem and cert.pem of localhost, valid between two dates such as 900101000000Z."""
    (folder / "ca.cnf").write_text(CA)
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    own = ("-config", "ca.cnf", "-batch")
    for command in (
        ("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"),
        ("req", "-new", *own, "-key", "key.pem", "-subj", "/CN=localhost", "-out", "asked.pem"),
        (
            *("ca", *own, "-selfsign", "-keyfile", "key.pem", "-in", "asked.pem", "-notext"),
            *("-startdate", first, "-enddate", last, "-out", "cert.pem"),
        ),
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


@contextlib.contextmanager
def https_server(folder):
    """The port of a server of files with the folder's certificate."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.redteam
@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")
@pytest.mark.parametrize(
    "first, last",
    [("20900101000000Z", "20991231000000Z"), ("900101000000Z", "991231000000Z")],
    ids=["the clock was set back", "the clock is late"],
)
def test_a_certificate_of_another_time_is_no_reason_to_give_a_picture_up_for_good(
    first, last, tmp_path, monkeypatch
):
    make_certificate(tmp_path, first, last)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    with https_server(tmp_path) as port:
        web = http_client.Web(0, threading.Event())
        for _ in range(2):  # the second is not even asked
            with pytest.raises(http_client.Unfinished, match="its clock right|left alone"):
                web.get(f"https://localhost:{port}/index.txt", lambda answer: answer.body)
    assert web.counts["requests"] == 1


# ---- what is written ----------------------------------------------------------------------------


@pytest.mark.redteam
@pytest.mark.parametrize("year", [1970, 1979, 2108])
def test_a_year_that_no_keras_file_can_hold_is_said_before_the_training(
    year, monkeypatch, tmp_path
):
    monkeypatch.setattr(time, "localtime", lambda *_: time.struct_time((year, *[1] * 8)))
    with pytest.raises(UserError, match=f"the year {year}, and a .keras file .*: set the clock"):
        retrain.main(["--image_dir", str(tmp_path), "--weights", "random"])


def test_a_clock_set_back_silences_no_progress(monkeypatch, capsys):
    back = itertools.count(2e9, -3600)
    monkeypatch.setattr(tqdm.std, "time", lambda: next(back))
    with terminal.progress("pictures", 3, "pictures") as bar:
        bar.mininterval = bar.delay = 0
        for _ in range(3):
            time.sleep(0.002)
            bar.update()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4 and not any("-" in line for line in said)


def test_dates_in_any_order_change_nothing_but_themselves(tmp_path):
    """The last run of --recategorize, and the last experiment, are those of the highest number."""
    feed = draw_feed(tmp_path / "shop")
    assert run_script("crawl", "--feed", feed, cwd=tmp_path).returncode == 0
    for number, line in enumerate(("Bags,Purses", "Purses,Sacks")):
        (tmp_path / "moves.csv").write_text(f"from,to\n{line}\n")
        done = run_script("analyze", "--recategorize", "moves.csv", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with contextlib.closing(sqlite3.connect(tmp_path / "crawl.db")) as conn, conn:
            conn.execute(
                "update category_change set date = ? where run = ?",
                (f"{2100 - 100 * number}-01-01", number + 1),
            )
    for path in ("Purses > Clutches", "Bags > Clutches"):
        assert run_script("analyze", "--undo-recategorize", cwd=tmp_path).returncode == 0
        with contextlib.closing(sqlite3.connect(tmp_path / "crawl.db")) as conn:
            ids = [row[0] for row in conn.execute("select distinct category_id from product")]
        assert path.lower().replace(" > ", ".") in ids


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("faketime"), reason="no faketime here")
@pytest.mark.parametrize("now", ["1970-01-02", "2005-01-01", "2110-01-01"])
def test_the_whole_way_at_another_time(now, tmp_path):
    """Each script's files are older or newer than the clock of the next, which does not matter."""
    draw_feed(tmp_path, 40)

    def at(moment, script, *argv):
        return subprocess.run(
            ["faketime", f"{moment} 10:00:00", sys.executable, REPO / f"{script}.py", *argv],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
        )

    trained = ("categorize_words", "--min-products", "5", "--epochs", "2")
    for moment in ("2026-01-01", now):
        for command in (
            ("crawl", "--feed", "products.tsv"),
            trained,
            ("analyze", "--dump-errors-for-experiment", "1", "-o", "errors.html"),
            ("analyze", "--models"),
        ):
            done = at(moment, *command)
            assert done.returncode == 0, (moment, command, done.stderr)
    assert "120 seen before" in at(now, "crawl", "--feed", "products.tsv").stdout
