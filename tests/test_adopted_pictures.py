"""Pictures that img2dataset has fetched: checked as any, copied, and what is odd is reported."""

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time

import pytest
from conftest import REPO, environment, write_feed
from loopback import HERE, load, picture, pictures_in, select, state

import db
from crawling import fetched_elsewhere, picture_queries

SHOP = "http://127.0.0.1:9"  # where nobody answers


def write_files(folder, pictures, sha256=None, suffix=".jpg"):
    """What img2dataset writes of {url: bytes} with output_format files, two to a shard."""
    for number, (url, data) in enumerate(pictures.items()):
        shard = folder / f"{number // 2:05d}"
        shard.mkdir(parents=True, exist_ok=True)
        (shard / f"{number:09d}{suffix}").write_bytes(data)
        about = description(url, sha256 or hashlib.sha256(data).hexdigest())
        (shard / f"{number:09d}.json").write_text(about)
        (folder / f"{shard.name}_stats.json").write_text('{"count": 2, "successes": 2}')
        (folder / f"{shard.name}.parquet").write_bytes(b"PAR1")
    (folder / "_tmp").mkdir(exist_ok=True)
    return folder


def description(url, sha256):
    return json.dumps({"url": url, "key": "0", "status": "success", "sha256": sha256}, indent=4)


def write_tar(path, pictures, before=()):
    """What img2dataset writes with output_format webdataset; `before` are (name, bytes)."""
    path.parent.mkdir(exist_ok=True)
    members = list(before)
    for number, (url, data) in enumerate(pictures.items()):
        about = description(url, hashlib.sha256(data).hexdigest()).encode()
        members += [(f"{number:09d}.jpg", data), (f"{number:09d}.json", about)]
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path.parent


def feed_of(cwd, links):
    rows = [(f"{n}", f"Jean {n}", "", "Jeans", link, "") for n, link in enumerate(links)]
    return write_feed(cwd / "feed.tsv", rows)


def links(count, shop=SHOP):
    return [f"{shop}/{number}.jpg" for number in range(count)]


def make_pictures(urls):
    return {url: picture(number) for number, url in enumerate(urls)}


@pytest.mark.parametrize("form", ("files", "tar"))
def test_pictures_are_adopted_without_a_request_and_the_rest_is_fetched(serve, tmp_path, form):
    server = serve(script=lambda path, query: (200, picture(int(path[1:-4]))))
    urls = links(8, f"http://127.0.0.1:{server.server_port}")
    odd = f"{SHOP}/x%20y.jpg?a=1,2&b=ü"
    pictures = {**make_pictures(urls[:5]), odd: picture(99), f"{SHOP}/other.jpg": picture(98)}
    fetched = tmp_path / "fetched"
    if form == "files":
        write_files(fetched, pictures)
    else:
        write_tar(fetched / "00000.tar", pictures)
    feed = feed_of(tmp_path, [*urls, urls[0], odd])  # two products share a link
    done = load(tmp_path, feed, "--adopt-images", "fetched")
    assert "6 pictures adopted from fetched, 0 can't be used, and 1 are of no" in done.stderr
    assert "10 products have theirs" in done.stdout and "3 fetched" in done.stdout
    assert sorted(path for path, _, _ in server.seen) == ["/5.jpg", "/6.jpg", "/7.jpg"]
    assert "not as their hosts gave them" not in done.stderr
    # All is as if they had been fetched.
    kept = set(pictures_in(tmp_path).values())
    assert kept == {picture(number) for number in (*range(8), 99)}
    for path, sha256 in select(tmp_path, "select path, sha256 from picture"):
        assert hashlib.sha256((tmp_path / "images" / path).read_bytes()).hexdigest() == sha256
    assert select(tmp_path, "select sum(image_crawled) from product") == [(10,)]
    before = state(tmp_path)
    again = load(tmp_path, feed, "--adopt-images", "fetched")
    assert "0 pictures adopted from fetched, 0 can't be used, and 7" in again.stderr
    assert state(tmp_path) == before and len(server.seen) == 3


def test_links_without_a_scheme_are_those_of_their_https_url(tmp_path):
    with contextlib.closing(db.open_database(tmp_path / "crawl.db", create=True)) as conn:
        conn.execute(
            """insert into product(id, image, source, external_id)
               values (1, '//127.0.0.1:9/1.jpg', 'feed', '1')"""
        )
        assert picture_queries.wanted_by_link(conn, "feed", "https://127.0.0.1:9/1.jpg")
        assert not picture_queries.wanted_by_link(conn, "other", "https://127.0.0.1:9/1.jpg")


def test_what_cant_be_used_is_counted_and_named_and_fetched(serve, tmp_path):
    server = serve(script=lambda path, query: (200, picture(int(path[1:-4]))))
    urls = links(9, f"http://127.0.0.1:{server.server_port}")
    fetched = write_files(tmp_path / "fetched", make_pictures(urls))

    def path(number, suffix):
        return fetched / f"{number // 2:05d}" / f"{number:09d}{suffix}"

    path(0, ".jpg").write_bytes(b"<html>sorry</html>")
    path(1, ".jpg").write_bytes(picture(1)[:200])
    path(2, ".jpg").write_bytes(picture(6, "PNG", (5100, 5000), compress_level=1))
    path(3, ".jpg").unlink()
    os.mkfifo(path(3, ".jpg"))  # who opens it as a file would wait for ever
    path(4, ".jpg").unlink()
    path(5, ".json").write_text('{"key": "5"}')
    path(6, ".json").write_bytes(b"[" * 200_000)
    path(7, ".json").unlink()
    os.mkfifo(path(7, ".json"))
    done = load(tmp_path, feed_of(tmp_path, urls), "--adopt-images", "fetched")
    assert "1 picture adopted from fetched, 4 can't be used, and 0 are" in done.stderr
    for line in (
        "picture of product 0: can't be adopted: not a picture, but a web page",
        "picture of product 1: can't be adopted: not a picture in a known format, or a broken",
        "picture of product 2: can't be adopted: 5100x5000 pixels are too many",
        "picture of product 3: can't be adopted: no readable file",
        "--adopt-images: there is no picture beside 00002/000000004.json\n",
        "there is no url of a picture in 00002/000000005.json, 00003/000000006.json, "
        "00003/000000007.json\n",
    ):
        assert line in done.stderr, done.stderr
    assert "9 products have theirs" in done.stdout and "8 fetched" in done.stdout


@pytest.mark.parametrize("products", (5, 300))
def test_the_first_picture_of_a_url_counts_and_no_other_one_is_left_over(tmp_path, products):
    links_twice = [*links(products), *links(2)]  # the last two products share the links of others
    for number in range(2):
        for product in range(products):
            shard = tmp_path / "fetched" / f"{product // 100:05d}"
            shard.mkdir(parents=True, exist_ok=True)
            stem = shard / f"{number}{product:08d}"
            stem.with_suffix(".jpg").write_bytes(picture(2 * product + number))
            stem.with_suffix(".json").write_text(description(links(products)[product], None))
    done = load(tmp_path, feed_of(tmp_path, links_twice), "--adopt-images", "fetched")
    said = f"{products} pictures adopted from fetched, 0 can't be used, and {products} are of no"
    assert said in done.stderr, done.stderr
    kept = [hashlib.sha256(data).hexdigest() for data in pictures_in(tmp_path).values()]
    rows = select(tmp_path, "select sha256 from picture order by product_id")
    firsts = [hashlib.sha256(picture(2 * product)).hexdigest() for product in range(products)]
    assert [sha256 for (sha256,) in rows] == [*firsts, *firsts[:2]]
    assert sorted(kept) == sorted(firsts)


def test_pictures_that_were_encoded_again_are_adopted_and_reported(tmp_path):
    fetched = write_files(tmp_path / "fetched", make_pictures(links(3)), sha256="0" * 64)
    done = load(tmp_path, feed_of(tmp_path, links(3)), "--adopt-images", fetched)
    assert "3 adopted pictures are not as their hosts gave them" in done.stderr
    assert "disable_all_reencoding" in done.stderr
    digests = {hashlib.sha256(picture(number)).hexdigest() for number in range(3)}
    assert {sha256 for (sha256,) in select(tmp_path, "select sha256 from picture")} == digests


def test_a_picture_that_had_failed_is_adopted_and_one_that_is_there_is_kept(serve, tmp_path):
    server = serve(
        script=lambda path, query: (404, b"") if path == "/0.jpg" else (200, picture(50))
    )
    urls = links(2, f"http://127.0.0.1:{server.server_port}")
    load(tmp_path, feed_of(tmp_path, urls))
    fetched = write_files(tmp_path / "fetched", make_pictures(urls))
    load(tmp_path, tmp_path / "feed.tsv", "--adopt-images", fetched)
    kept = select(tmp_path, "select status, reason, sha256 from picture order by product_id")
    digests = [hashlib.sha256(picture(number)).hexdigest() for number in (0, 50)]
    assert kept == [("ok", None, digest) for digest in digests] and len(server.seen) == 2


def test_a_picture_that_is_rewritten_where_it_was_fetched_stays_as_it_was(tmp_path):
    fetched = write_files(tmp_path / "fetched", make_pictures(links(1)))
    load(tmp_path, feed_of(tmp_path, links(1)), "--adopt-images", fetched)
    (fetched / "00000" / "000000000.jpg").write_bytes(b"something else")
    assert list(pictures_in(tmp_path).values()) == [picture(0)]


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture(7))
    fetched = write_files(tmp_path / "fetched", make_pictures(links(1)))
    (fetched / "00000" / "000000000.jpg").unlink()
    (fetched / "00000" / "000000000.jpg").symlink_to(secret)
    feed = feed_of(tmp_path, links(1))
    done = load(tmp_path, feed, "--adopt-images", fetched, "--tries", "1", status=1)
    assert "can't be adopted: no readable file: it is a link" in done.stderr
    assert not pictures_in(tmp_path)


@pytest.mark.parametrize(
    "make, word",
    (
        (lambda folder: None, "takes a folder"),
        (lambda folder: folder.write_text("x"), "takes a folder"),
        (lambda folder: folder.mkdir(), "holds no picture beside a JSON file"),
        (lambda folder: write_tar(folder / "0.tar", {}), "holds no picture beside"),
        (lambda folder: (folder / "a" / "b").mkdir(parents=True), "holds no picture beside"),
    ),
)
def test_a_folder_that_is_none_of_img2dataset_is_one_sentence_before_the_work(tmp_path, make, word):
    make(tmp_path / "fetched")
    done = load(tmp_path, feed_of(tmp_path, links(1)), "--adopt-images", "fetched", status=2)
    assert word in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "crawl.db").exists()


def test_an_api_has_no_folder_of_pictures_to_adopt(tmp_path):
    done = subprocess.run(
        [sys.executable, REPO / "crawl.py", "--adopt-images", tmp_path],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "--adopt-images is for --feed" in done.stderr


# ---- damage -------------------------------------------------------------------------------------


def all_of(folder):
    """(urls, what was reported) of a folder, however damaged it is."""
    reports = []
    urls = [
        fetched.url
        for fetched in fetched_elsewhere.pictures(
            str(folder), lambda reason, name: reports.append((reason, name)), threading.Event()
        )
    ]
    return urls, reports


@pytest.mark.parametrize("tenths", range(1, 8))
def test_a_tar_that_is_not_finished_gives_what_it_has(tmp_path, tenths):
    folder = write_tar(tmp_path / "fetched" / "00000.tar", make_pictures(links(4)))
    write_tar(folder / "00001.tar", {f"{SHOP}/later.jpg": picture(9)})
    with open(folder / "00000.tar", "r+b") as file:
        file.truncate(len(file.read().rstrip(b"\0")) * tenths // 10)
    urls, reports = all_of(folder)
    assert urls == [*links(len(urls) - 1), f"{SHOP}/later.jpg"] and len(urls) < 5
    assert "00000.tar" in [name.partition("/")[0] for _, name in reports]


@pytest.mark.redteam
@pytest.mark.parametrize("name", ("long name", "below zero", "many members", "no pair", "sparse"))
def test_a_hostile_tar_ends_with_a_report_and_little_memory(tmp_path, name):
    good = make_pictures(links(2))
    path = tmp_path / "fetched" / "00000.tar"
    if name == "long name":  # a header that says 5 GB, in a file that has them as a hole
        folder = write_tar(path, good)
        header = tarfile.TarInfo("././@LongLink")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5_000_000_000
        with open(path, "r+b") as file:
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            file.truncate(5_100_000_000)
        assert all_of(folder) == (
            [],
            [("there is a part that can't be read (a header is too long) in", "00000.tar")],
        )
        path.unlink()
    elif name == "below zero":  # its size leads back to its own header
        folder = write_tar(path, good)
        header = bytearray(tarfile.TarInfo("a.txt").tobuf(tarfile.GNU_FORMAT))
        header[124:136] = (-512).to_bytes(12, "big", signed=True)
        header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
        path.write_bytes(bytes(header) + path.read_bytes())
        signal.alarm(60)  # or it would never end
        try:
            urls, reports = all_of(folder)
        finally:
            signal.alarm(0)
        assert (urls, [shard for _, shard in reports]) == ([], ["00000.tar"])
    elif name == "many members":
        folder = write_tar(path, good, [(f"{n}.txt", b"") for n in range(3000)])
        assert all_of(folder) == (links(2), [])
    elif name == "no pair":
        before = [("a.jpg", picture(1)), ("b.json", b"{}"), ("c.json", b'{"url": "\\ud800"}')]
        urls, reports = all_of(write_tar(path, good, before))
        assert urls == links(2)
        names = ["00000.tar/a.jpg", "00000.tar/b.json", "00000.tar/c.json"]
        assert [name for _, name in reports] == names
    else:
        folder = write_tar(path, good)
        data = bytearray(path.read_bytes())
        data[156:157] = tarfile.GNUTYPE_SPARSE
        checksum = tarfile.calc_chksums(bytes(data[:512]))[0]
        data[148:156] = b"%06o\0 " % checksum
        path.write_bytes(data)
        urls, _ = all_of(folder)
        assert set(urls) <= set(links(2))


def test_what_is_without_its_other_half_is_reported_also_in_a_tar(tmp_path):
    data, about = picture(1), description(links(1)[0], None).encode()
    names = ["a.jpg", "b.jpg", "a.json", "b.json"]  # two pictures interleaved
    members = [(name, data if name.endswith("jpg") else about) for name in names]
    folder = write_tar(tmp_path / "fetched" / "00000.tar", make_pictures(links(1)), members)
    (folder / "00001").mkdir()
    for name, written in reversed(members[1:3]):
        (folder / "00001" / name).write_bytes(written)
    no_json, no_picture = "there is no JSON file beside", "there is no picture beside"
    assert all_of(folder) == (
        links(1),
        [
            (no_json, "00000.tar/a.jpg"),
            (no_json, "00000.tar/b.jpg"),
            (no_picture, "00000.tar/a.json"),
            (no_picture, "00000.tar/b.json"),
            (no_picture, "00001/a.json"),
            (no_json, "00001/b.jpg"),
        ],
    )


@pytest.mark.parametrize("form", ("files", "tar"))
def test_a_stop_is_heard_also_among_members_without_pictures(tmp_path, form):
    alone = [(f"+{number}.json", b"{}") for number in range(20)]
    folder = write_tar(tmp_path / "fetched" / "00000.tar", make_pictures(links(1)), alone)
    if form == "files":
        with tarfile.open(folder / "00000.tar") as tar:
            tar.extractall(folder / "00000")
        (folder / "00000.tar").unlink()
    stop, reports = threading.Event(), []

    def tell(reason, name):
        reports.append(name)
        stop.set()

    assert not list(fetched_elsewhere.pictures(str(folder), tell, stop)) and len(reports) == 1


def flipped(tmp_path, count):
    """Read a tar and JSON files, with a byte of each changed, so many times."""
    chance = random.Random(22)
    folder = write_tar(tmp_path / "fetched" / "00000.tar", make_pictures(links(3)))
    write_files(folder, make_pictures(links(1)))
    paths = [folder / "00000.tar", folder / "00000" / "000000000.json"]
    whole = [path.read_bytes() for path in paths]
    for _ in range(count):
        for path, data in zip(paths, whole):
            changed = bytearray(data)
            place = chance.randrange(min(len(changed), 3000))
            changed[place] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
        urls, _ = all_of(folder)
        assert len(urls) <= 4


@pytest.mark.redteam
def test_flipped_bits_never_raise(tmp_path):
    flipped(tmp_path, 60)


@pytest.mark.slow
def test_a_thousand_flipped_bits_never_raise(tmp_path):
    flipped(tmp_path, 1000)


# ---- kills --------------------------------------------------------------------------------------


def kill_again_and_again(tmp_path, kills):
    """Adopt, killed at so many instants, then to the end: all is as if undisturbed."""
    count, chance = 300, random.Random(22)
    feed = feed_of(tmp_path / "whole", links(count))
    fetched = write_files(tmp_path / "fetched", make_pictures(links(count)))
    options = ("--adopt-images", str(fetched), "--tries", "1")
    load(tmp_path / "whole", feed, *options)
    folder, killed = tmp_path / "killed", 0
    folder.mkdir()
    for _ in range(kills):
        run = subprocess.Popen(
            [sys.executable, REPO / "crawl.py", *HERE, "--feed", feed, *options],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        least = chance.randrange(count)
        while run.poll() is None and len(list(folder.glob("images/*/*"))) < least:
            time.sleep(0.005)
        run.kill()
        killed += run.wait() == -signal.SIGKILL
    done = load(folder, feed, *options)
    assert f"{count} products have theirs" in done.stdout
    assert state(folder) == state(tmp_path / "whole")
    return killed


@pytest.mark.slow
@pytest.mark.redteam
def test_killed_while_it_adopts_and_run_again_it_ends_as_if_undisturbed(tmp_path):
    assert kill_again_and_again(tmp_path, 5) > 0


@pytest.mark.slow
def test_fifty_kills_while_it_adopts_leave_no_trace(tmp_path):
    assert kill_again_and_again(tmp_path, 50) > 0
