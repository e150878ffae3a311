"""Which address or file a link to a picture means, for feeds that are files and feeds that come from
a URL.

pytest tests/test_picture_links.py
"""

import os

import pytest
from conftest import run_script, write_feed
from loopback import load, picture, pictures_in, select

from crawling import feed_download, picture_links
from crawling.feed_types import FeedFile

URL = "https://shop.example:8443/apikey/secret/all.tsv?key=secret#end"


def stored(link, url=None, folder=None):
    """A link as a feed from this URL, or in this folder, stores it."""
    return picture_links.absolute(link, url, folder)


# ---- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "link, kept, address",
    (
        ("https://img.example/a.jpg", "https://img.example/a.jpg", None),
        (" HTTP://img.example/a.jpg", "HTTP://img.example/a.jpg", None),
        ("//img.example/a.jpg", "https://img.example/a.jpg", None),
        ("/images/2.jpg", "https://shop.example:8443/images/2.jpg", None),
        ("img.example/3.jpg", "https://img.example/3.jpg", None),
        ("images/1.jpg", "images/1.jpg", "https://shop.example:8443/apikey/secret/images/1.jpg"),
        ("./1.jpg", "./1.jpg", "https://shop.example:8443/apikey/secret/1.jpg"),
        ("../1.jpg?w=9", "../1.jpg?w=9", "https://shop.example:8443/apikey/1.jpg?w=9"),
        ("1.jpg", "1.jpg", "https://shop.example:8443/apikey/secret/1.jpg"),
        ("i.php?id=7", "i.php?id=7", "https://shop.example:8443/apikey/secret/i.php?id=7"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA", None),
        ("ftp://img.example/a.jpg", "ftp://img.example/a.jpg", None),
        ("C:\\pictures\\a.jpg", "C:\\pictures\\a.jpg", None),
        ("//[half/a.jpg", "//[half/a.jpg", None),
    ),
)
def test_links_of_a_feed_from_a_url_are_resolved_against_it(link, kept, address):
    feed = feed_download.Feed((FeedFile("/tmp/crawl-1/feed", url=URL),))
    assert stored(link, URL) == kept and "secret" not in kept
    assert feed.address(kept) == (address or kept)


def test_a_name_and_a_password_of_the_feeds_url_are_in_no_link():
    url = "https://me:pass@shop.example/feed.xml"
    assert stored("/a.jpg", url) == "https://shop.example/a.jpg"
    assert stored("//img.example/a.jpg", url) == "https://img.example/a.jpg"


HOSTS = (
    "img.example/3.jpg",
    "www.shop.example/a/b.png",
    "IMG.Example/3.jpg",
    "img.example:8080/3.jpg",
    "img-1.cdn.example/x",
    "my_shop.cdn.example/x.jpg",
    "bücher.example/1.jpg",
    "img.xn--p1ai/1.jpg",
)
FILES = (
    "photo.jpg",
    "images/3.jpg",
    "./img.example/3.jpg",
    "../img.example/3.jpg",
    "v1.2/3.jpg",
    "img.example",
    "img.example/",
    ".hidden/3.jpg",
    "a b.example/3.jpg",
    "-a.example/3.jpg",
    "img..example/3.jpg",
    "img.e/3.jpg",
    "a" * 300 + ".example/3.jpg",
    "/images/2.jpg",
    "me@img.example/3.jpg",
)


@pytest.mark.parametrize("link", HOSTS)
def test_a_host_name_without_a_scheme_is_a_link(tmp_path, link):
    assert stored(link, folder=str(tmp_path)) == f"https://{link}"
    assert stored(link, URL) == f"https://{link}"
    # If the folder of the feed has something of that name, the link is a file there.
    (tmp_path / link.split("/")[0]).mkdir()
    assert stored(link, folder=str(tmp_path)) == link


@pytest.mark.parametrize("link", FILES)
def test_the_name_of_a_file_is_no_host(tmp_path, link):
    assert stored(link, folder=str(tmp_path)) == link
    assert not stored(link, URL).startswith("https://img.example")


def test_a_link_of_a_million_characters_is_judged_at_once(tmp_path):
    for link in ("a" * 10**6, "a." * 500_000 + "/", "-" * 10**6 + "/x", "a/" * 500_000):
        assert stored(link, folder=str(tmp_path)) == link


def test_pictures_of_a_feed_from_a_url_are_fetched_from_beside_it(serve, tmp_path):
    server = serve(script=lambda path, query: answers.get(path, (404, b"")))
    host = f"127.0.0.1:{server.server_port}"
    links = ("a/1.png", "/2.png", f"//{host}/3.png", "../4.png", "a/1.png", "no.png", "no.png")
    rows = [
        (f"{number}", f"Cap {number}", "", "Hats", link, "") for number, link in enumerate(links, 1)
    ]
    answers = {
        "/secret77/feed.tsv": (200, write_feed(tmp_path / "feed.tsv", rows).read_bytes()),
        "/secret77/a/1.png": (200, picture(1, "PNG")),
        **{f"/{number}.png": (200, picture(number, "PNG")) for number in (2, 3, 4)},
    }
    url = f"http://{host}/secret77/feed.tsv?key=secret77"
    done = load(tmp_path, url)
    # One link is fetched once, whoever has it, and one that gives nothing not by later loads.
    assert "5 products have theirs, 2 an unusable one, 0 none yet" in done.stdout
    assert "this run: 4 fetched, 1 unusable" in done.stdout
    assert select(tmp_path, "select image from product order by id") == [
        ("a/1.png",),
        (f"http://{host}/2.png",),
        (f"http://{host}/3.png",),
        ("../4.png",),
        ("a/1.png",),
        ("no.png",),
        ("no.png",),
    ]
    assert b"secret77" not in (tmp_path / "crawl.db").read_bytes()
    asked = len(server.seen)
    assert "this run: 0 fetched, 0 unusable" in load(tmp_path, url).stdout
    assert len(server.seen) == asked + 1
    # Of products that the feed no longer has nobody knows what their links were relative to.
    rows = [("8", "Cap 8", "", "Hats", "a/1.png", ""), ("9", "Cap 9", "", "Hats", "no.png", "")]
    answers["/other/feed.tsv"] = (200, write_feed(tmp_path / "feed.tsv", rows).read_bytes())
    answers["/other/a/1.png"] = (200, picture(8, "PNG"))
    load(tmp_path, f"http://{host}/other/feed.tsv")
    kept = select(tmp_path, "select product_id, status, sha256 from picture order by 1")
    assert [row[1] for row in kept] == ["ok"] * 5 + ["failed"] * 2 + ["ok", "failed"]
    assert kept[-2][2] != kept[0][2]


# ---- files --------------------------------------------------------------------------------------


def make_shop(tmp_path):
    """A folder with pictures, links that lead out of it, and a secret beside it."""
    folder = tmp_path / "shop"
    (folder / "pictures").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(picture(9, "PNG"))
    (tmp_path / "shop-2").mkdir()
    os.symlink(tmp_path / "secret.png", folder / "out.png")
    os.symlink(tmp_path, folder / "up")
    os.symlink(folder / "pictures", folder / "photos")
    return folder


def outside(tmp_path):
    """Links out of that folder."""
    return (
        "../secret.png",
        "pictures/../../secret.png",
        str(tmp_path / "secret.png"),
        "/etc/passwd",
        "out.png",
        "up/secret.png",
        "..",
        "../shop-2/a.png",
        "a\0b.png",
        "//host/a.png",
    )


def test_picture_paths_may_not_leave_their_folder(tmp_path):
    folder = make_shop(tmp_path)
    for link in outside(tmp_path):
        assert picture_links.picture_file(str(folder), link) is None, link
    real = os.path.realpath(folder)
    for link, file in (
        ("pictures/a.png", "pictures/a.png"),
        ("./a b.png", "a b.png"),
        ("photos/a.png", "pictures/a.png"),
        ("x/../a.png", "a.png"),
    ):
        assert picture_links.picture_file(str(folder), link) == os.path.join(real, file)


def test_feed_images_names_the_folder_of_relative_links(tmp_path):
    folder = make_shop(tmp_path)
    (folder / "pictures" / "1.png").write_bytes(picture(1, "PNG"))
    (folder / "2.PNG").write_bytes(picture(2, "PNG"))
    links = ["pictures/1.png", "2.png", "2", *outside(tmp_path)]
    rows = [
        (f"{number}", f"Cap {number}", "", "Hats", link, "")
        for number, link in enumerate(links, 1)
        if "\0" not in link and not link.startswith("//")
    ]
    feed = write_feed(tmp_path / "elsewhere" / "feed.tsv", rows)
    (feed.parent / "2.png").write_bytes(picture(3, "PNG"))  # beside the feed, where nobody looks
    os.symlink(folder, tmp_path / "a link to it")
    for number, name in enumerate((str(folder), "shop", "shop/", "a link to it")):
        args = ("--db-path", f"{number}.db", "--images-path", f"images-{number}")
        done = load(tmp_path, feed, "--feed-images", name, *args)
        assert f"1 product has its own, {len(rows) - 1} an unusable one" in done.stdout
        kept = [path for path in (tmp_path / f"images-{number}").rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in kept] == [picture(1, "PNG")]
    plan = run_script("crawl", "--feed", feed, "--feed-images", "shop", "--dry-run", cwd=tmp_path)
    (line,) = [line for line in plan.stdout.splitlines() if "not there" in line]
    assert "linked files are not there, in shop: 2.png (line 3)" in line
    assert "pictures/1.png" not in line


def test_with_feed_images_a_feed_from_a_url_finds_its_files_there(serve, tmp_path):
    rows = [
        ("1", "Cap", "", "Hats", "pictures/1.png", ""),
        ("2", "Fez", "", "Hats", "/2.png", ""),  # of the host, as without the flag
    ]
    text = write_feed(tmp_path / "feed.tsv", rows).read_bytes()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(picture(1, "PNG"))
    answers = {"/feed.tsv": (200, text), "/2.png": (200, picture(2, "PNG"))}
    server = serve(script=lambda path, query: answers.get(path, (404, b"")))
    load(tmp_path, f"http://127.0.0.1:{server.server_port}/feed.tsv", "--feed-images", tmp_path)
    assert set(pictures_in(tmp_path).values()) == {picture(1, "PNG"), picture(2, "PNG")}


def test_feed_images_must_be_a_folder_and_is_for_feeds(tmp_path):
    feed = write_feed(tmp_path / "feed.tsv", [("1", "Cap", "", "Hats", "a.png", "")])
    for args, sentence in (
        (
            ("--feed", feed, "--feed-images", "none"),
            "--feed-images takes a folder, and none is none",
        ),
        (("--feed", feed, "--feed-images", feed), "takes a folder"),
        (("--feed-images", "."), "--feed-images is for --feed"),
    ):
        for more in ((), ("--dry-run",)):
            done = run_script("crawl", *args, *more, cwd=tmp_path)
            assert done.returncode == 2 and sentence in done.stderr
            assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "crawl.db").exists()


def test_a_host_without_a_scheme_is_asked_for_the_picture(tmp_path):
    """As a feed has it whose links lost their https://, with a host that nobody has."""
    rows = [("1", "Cap", "", "Hats", "img.invalid/1.jpg", "")]
    feed = write_feed(tmp_path / "feed.tsv", rows)
    plan = run_script("crawl", "--feed", feed, "--dry-run", cwd=tmp_path)
    assert "1 with a link to a picture," in plan.stdout and "not there" not in plan.stdout
    load(tmp_path, feed, "--tries", "1", status=1)
    assert select(tmp_path, "select image from product") == [("https://img.invalid/1.jpg",)]
    (tmp_path / "img.invalid").mkdir()
    (tmp_path / "img.invalid" / "1.jpg").write_bytes(picture(1))
    done = load(tmp_path, feed)
    assert "1 changed" in done.stdout and "1 fetched" in done.stdout
    assert select(tmp_path, "select image from product") == [("img.invalid/1.jpg",)]
