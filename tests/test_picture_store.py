"""Pictures over real HTTP on loopback: kept by content, or refused with a reason, and never fetched
from where they should not come."""

import contextlib
import io
import random
import threading
import time

import pytest
from conftest import run_script, write_feed
from loopback import KEY, catalogue, load, picture, pictures_in, run, select, state
from PIL import Image, features
from test_db import make_2016

from crawling import http_client, picture_crawl, picture_store
from sample import shop as sample_shop

AVIF = pytest.param(
    "AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="a Pillow without AVIF")
)

# ---- pictures -----------------------------------------------------------------------------------


def noise(cut=None):
    data = io.BytesIO()
    Image.effect_noise((80, 80), 90).convert("RGB").save(data, "JPEG", quality=95)
    return data.getvalue()[:cut]


PICTURES = {  # what the shop sends -> the suffix it is kept under, or a word of the reason
    "jpeg": (200, picture(1), ".jpg"),
    "png named .jpg": (200, picture(2, "PNG"), ".png"),
    "gif": (200, picture(3, "GIF"), ".gif"),
    "webp": (200, picture(4, "WEBP"), ".webp"),
    "mpo": (
        200,
        picture(5, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
        ".jpg",
    ),
    **({"avif": (200, picture(8, "AVIF"), ".avif")} if features.check("avif") else {}),
    "missing": (404, b"gone", "404"),
    "html": (200, b"<html>sorry</html>", "not a picture"),
    "truncated": (200, noise(900), "broken"),
    "empty": (200, b"", "empty"),
    "bomb": (200, picture(6, "PNG", (9000, 9000), compress_level=1), "pixels"),
    "script": (200, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "pcx": (200, picture(7, "PCX"), "not a picture"),
    "noise": (200, bytes(range(7, 207)) * 5, "not a picture"),
    "broken avif": (200, b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 99, "not a picture"),
}


def test_pictures_of_every_kind_are_kept_or_refused_with_a_reason(serve, tmp_path):
    content = catalogue(per_leaf=len(PICTURES), leaves={"boot": "jeans"})
    names = {
        sample_shop.image_id(product): name for product, name in zip(content.products, PICTURES)
    }

    def script(path, query):
        if path.startswith("/pim/"):
            return PICTURES[names[path.split("/")[-1].split("_")[0]]][:2]

    server = serve(content, script)
    done = run(tmp_path, server)
    rows = dict(
        zip(
            PICTURES,
            select(
                tmp_path,
                """select status, path, reason, image_crawled
        from picture join product on id = product_id order by id""",
            ),
        )
    )
    good = {name for name, (_, _, word) in PICTURES.items() if word.startswith(".")}
    assert {name for name, row in rows.items() if row[0] == "ok"} == good
    files = pictures_in(tmp_path)
    for name, (status, path, reason, crawled) in rows.items():
        _, data, word = PICTURES[name]
        if name in good:
            assert path.endswith(word) and files.pop(path) == data and crawled == 1
        else:
            assert (status, path, crawled) == ("failed", None, 0) and word in reason, name
    assert files == {}
    assert f"this run: {len(good)} fetched, {len(PICTURES) - len(good)} unusable" in done.stdout
    asked = len(server.seen)
    run(tmp_path, server)  # what will never be a picture is not asked for again
    assert len(server.seen) == asked + 1


def test_a_picture_that_could_not_be_fetched_is_fetched_by_the_next_run(serve, tmp_path):
    content = catalogue(per_leaf=2, leaves={"boot": "jeans"})
    server = serve(content)
    own = sample_shop.image_id(content.products[0])
    server.script = lambda path, query: (503, b"") if own in path else None
    done = run(tmp_path, server, status=1)
    assert (
        "1 none yet; this run: 1 fetched, 0 unusable" in done.stdout
        and "1 picture is not done" in done.stderr
    )
    server.script = lambda path, query: None
    assert "0 none yet; this run: 1 fetched, 0 unusable" in run(tmp_path, server).stdout


def test_pictures_of_2016_are_adopted_without_a_request(serve, tmp_path):
    server = serve(catalogue(leaves={"boot": "jeans"}))
    base = f"http://{server.site}/pim/aa/bb/"
    names = ["good_xlarge.jpg", "half_xlarge.jpg", "gone_xlarge.jpg", "..out.jpg"]
    make_2016(
        tmp_path / "crawl.db",
        [
            (number, "bootcut-jeans", base + name, "Jean", "Blue")
            for number, name in enumerate(names, 1)
        ],
    )
    for name, data in zip(names, (picture(1), b"half", None, picture(2))):
        if data:
            path = tmp_path / "images" / name[:2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    server.script = lambda path, query: (200, picture(3)) if "/aa/bb/" in path else None
    run(tmp_path, server)
    asked = {seen[0].split("/")[-1] for seen in server.seen if "/aa/bb/" in seen[0]}
    assert asked == set(names[1:])
    rows = select(tmp_path, "select path, status from picture where product_id < 9 order by 1 desc")
    assert ("go/good_xlarge.jpg", "ok") in rows and [row[1] for row in rows] == ["ok"] * 4
    assert pictures_in(tmp_path)["go/good_xlarge.jpg"] == picture(1)
    assert not [row[0] for row in rows if row[0].startswith("..")]


@pytest.mark.parametrize("kind", ("JPEG", "PNG", "GIF", "WEBP", "BMP", AVIF))
def test_damaged_pictures_only_ever_raise_value_error(kind):
    chance, data = random.Random(1), picture(9, kind)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with contextlib.suppress(ValueError):
            assert picture_store.check_picture(bytes(broken)) in picture_store.SUFFIXES.values()
    with pytest.raises(ValueError):
        picture_store.check_picture(data[: len(data) // 3])


@pytest.mark.parametrize("kind", ("JPEG", "PNG", "GIF", AVIF))
def test_a_picture_that_lost_its_last_bytes_is_a_broken_one(kind):
    data = picture(9, kind)
    assert picture_store.check_picture(data) == picture_store.SUFFIXES[kind]
    assert (
        picture_store.check_picture(data + b"\r\n") == picture_store.SUFFIXES[kind]
    )  # some servers add it
    for lost in (1, 2, 3):
        with pytest.raises(ValueError, match="broken"):
            picture_store.check_picture(data[:-lost])


@pytest.mark.parametrize("size", ((1, 1), (1, 90), (7, 7)))
def test_a_picture_too_small_to_show_anything_is_none(size):
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels are too few"):
        picture_store.check_picture(picture(1, size=size))


def test_without_leave_no_picture_comes_from_a_private_address(serve, tmp_path):
    server = serve()
    done = run_script(
        "crawl", "--api-url", server.api_url, cwd=tmp_path, env={"SHOPSTYLE_API_KEY": KEY}
    )
    assert done.returncode == 1 and "0 none yet; this run: 0 fetched, 9 unusable" in done.stdout
    assert "none of the 9 pictures of this load can be used" in done.stderr
    assert "9 its host is at a private address (--allow-private)" in done.stdout
    assert not [path for path, *_ in server.seen if path.startswith("/pim/")]
    assert "9 fetched" in run(tmp_path, server).stdout  # with leave they are tried again


def test_private_hosts_wait_for_no_turn_and_count_as_no_request(serve, tmp_path):
    server = serve(catalogue(per_leaf=40))
    began = time.monotonic()
    done = run_script(
        "crawl",
        "--api-url",
        server.api_url,
        "--image-rate",
        "1",
        cwd=tmp_path,
        env={"SHOPSTYLE_API_KEY": KEY},
    )
    assert time.monotonic() - began < 60  # at one a second it would be two minutes
    assert f"requests: {len(server.seen)}, " in done.stdout
    assert done.stderr.count("private address") == 1  # one line for all 120
    assert "120 its host is at a private address" in done.stdout
    plan = run_script(
        "crawl",
        "--api-url",
        server.api_url,
        "--dry-run",
        "--retry-failed",
        cwd=tmp_path,
        env={"SHOPSTYLE_API_KEY": KEY},
    )
    assert "and 120 pictures" in plan.stdout


def test_a_place_where_no_picture_can_be_kept_is_told_with_what_to_do(serve, tmp_path):
    server = serve()
    (tmp_path / "a file").write_text("x")
    done = run(tmp_path, server, "--images-path", "a file", status=2)
    assert "--images-path a file is no folder" in done.stderr and server.seen == []
    run(tmp_path, server)
    (path,) = select(tmp_path, "select path from picture limit 1")[0]
    (tmp_path / "images" / path).unlink()
    (tmp_path / "images" / path).mkdir()
    assert run_script("crawl", "--verify", cwd=tmp_path).returncode == 1
    done = run(tmp_path, server, status=2)
    assert "move it away, and run the same command again" in done.stderr
    (tmp_path / "images" / path).rmdir()
    assert "1 fetched" in run(tmp_path, server).stdout


@pytest.mark.parametrize("hops, status", ((3, "ok"), (4, "failed")))
def test_three_redirects_are_followed_and_no_fourth(serve, tmp_path, hops, status):
    server = serve(catalogue(per_leaf=1, leaves={"boot": "jeans"}))

    def script(path, query):
        left = int(query.get("left", hops))
        if not path.startswith("/pim/") or not left:
            return None

        def away(handler):
            handler.send_response(302)
            handler.send_header("Location", f"{path}?left={left - 1}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return away

    server.script = script
    run(tmp_path, server, status=int(status == "failed"))
    assert select(tmp_path, "select status from picture") == [(status,)]


@pytest.mark.parametrize(
    "target",
    (
        "http://169.254.169.254/meta",
        "file:///etc/passwd",
        "http://user:x@127.0.0.1/",
        "gopher://127.0.0.1/",
        "http://",
    ),
)
def test_a_redirect_to_where_nothing_should_come_from_is_a_failed_picture(serve, tmp_path, target):
    def away(handler):
        handler.send_response(301)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server = serve(
        catalogue(per_leaf=1, leaves={"boot": "jeans"}),
        lambda path, query: away if path.startswith("/pim/") else None,
    )
    if "169.254" in target:  # only --allow-private, which `run` says, would let it through
        requests = http_client.Web(0, threading.Event(), tries=1, public_only=True)
        with pytest.raises(ValueError, match="private"):
            picture_store.read_link(target, picture_store.Store(str(tmp_path), "x"), requests, None)
        return
    run(tmp_path, server, status=1)
    assert select(tmp_path, "select status from picture") == [("failed",)]


def test_a_cut_picture_whose_length_nobody_told_is_asked_for_again(serve, tmp_path):
    whole, answers = noise(), [noise(900)]

    def unmeasured(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(answers.pop() if answers else whole)
        handler.close_connection = True

    server = serve(
        catalogue(per_leaf=1, leaves={"boot": "jeans"}),
        lambda path, query: unmeasured if path.startswith("/pim/") else None,
    )
    run(tmp_path, server)
    assert list(pictures_in(tmp_path).values()) == [whole]


def test_one_link_of_many_products_is_fetched_once(serve, tmp_path):
    server = serve(
        script=lambda path, query: (
            (200, picture(1)) if "good" in path else (404, b"") if "bad" in path else None
        )
    )
    shop = f"http://127.0.0.1:{server.server_port}"
    rows = [
        (f"{number}", f"Jean {number}", "", "Jeans", f"{shop}/{name}.jpg", "")
        for number, name in enumerate(("good", "bad", "good", "bad", "good"))
    ]
    done = load(tmp_path, write_feed(tmp_path / "feed.tsv", rows))
    assert (
        "3 products have theirs, 2 an unusable one, 0 none yet; this run: 1 fetched, 1 unusable"
        in done.stdout
        and len(server.seen) == 2
    )
    assert [
        status for (status,) in select(tmp_path, "select status from picture order by product_id")
    ] == ["ok", "failed", "ok", "failed", "ok"]
    assert select(tmp_path, "select sum(image_crawled) from product") == [(3,)]
    rows.append(("9", "Late", "", "Jeans", f"{shop}/good.jpg", ""))
    load(tmp_path, write_feed(tmp_path / "feed.tsv", rows))
    assert len(server.seen) == 2 and select(
        tmp_path, "select count(*) from picture where status = 'ok'"
    ) == [(4,)]


def test_a_picture_of_very_many_different_products_is_a_placeholder(serve, tmp_path):
    server = serve(
        script=lambda path, query: (
            (200, picture(int("own" in path) * 7 + len(path))) if path.endswith(".jpg") else None
        )
    )
    shop = f"http://127.0.0.1:{server.server_port}"
    few, many = picture_crawl.PLACEHOLDER - 1, picture_crawl.PLACEHOLDER
    rows = [
        *((f"a{n}", f"Jean {n}", "", "Jeans", f"{shop}/none-{n:04}.jpg", "") for n in range(many)),
        *((f"b{n}", f"Bag {n}", "", "Bags", f"{shop}/own-{n:04}.jpg", "") for n in range(few)),
        *((f"c{n}", "Hat", "", "Hats", f"{shop}/a-variant-{n:04}.jpg", "") for n in range(many)),
    ]
    done = load(tmp_path, write_feed(tmp_path / "feed.tsv", rows))
    assert f"{many} products have a picture that {many} different ones or more have" in done.stderr
    assert select(
        tmp_path,
        "select substr(external_id, 1, 1), status, reason, count(*) from "
        "picture join product on id = product_id group by 1, 2, 3",
    ) == [
        ("a", "failed", f"a placeholder: {many} different products have it", many),
        ("b", "ok", None, few),
        ("c", "ok", None, many),
    ]  # variants share a text, and so a group
    before = state(tmp_path)
    load(tmp_path, tmp_path / "feed.tsv")
    assert state(tmp_path) == before


def test_verify_finds_what_a_disk_did_and_the_next_crawl_mends_it(serve, tmp_path):
    server = serve()
    run(tmp_path, server)
    before = state(tmp_path)
    assert "9 good, 0 damaged or gone" in run_script("crawl", "--verify", cwd=tmp_path).stdout
    done = run_script("crawl", "--verify", "--images-path", "elsewhere", cwd=tmp_path)
    assert done.returncode == 2 and "--images-path" in done.stderr and state(tmp_path) == before
    paths = [
        tmp_path / "images" / path
        for (path,) in select(tmp_path, "select path from picture order by product_id")
    ]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-40])
    paths[2].write_bytes(paths[3].read_bytes())  # a picture, but another
    done = run_script("crawl", "--verify", cwd=tmp_path)
    assert (done.returncode, "6 good, 3 damaged or gone" in done.stdout) == (1, True)
    assert "not what was fetched" in done.stderr and "no longer there" in done.stderr
    assert "3 fetched" in run(tmp_path, server).stdout and state(tmp_path) == before


def test_retry_failed_asks_again_for_what_was_no_good(serve, tmp_path):
    server = serve(script=lambda path, query: (404, b"") if path.startswith("/pim/") else None)
    assert "9 error 404" in run(tmp_path, server, status=1).stdout
    server.script = lambda path, query: None
    assert "0 fetched, 0 unusable" in run(tmp_path, server, status=1).stdout
    done = run(tmp_path, server, "--retry-failed")
    assert "9 fetched, 0 unusable" in done.stdout and "unusable: " not in done.stdout


def test_a_host_of_pictures_that_is_down_is_left_alone_and_another_is_not(serve, tmp_path):
    bad, good = (
        serve(script=lambda path, query: (500, b"")),
        serve(script=lambda path, query: (200, picture(int(path[1:-4])))),
    )
    rows = [
        (f"{n}", f"Jean {n}", "", "Jeans", f"http://127.0.0.1:{server.server_port}/{n}.jpg", "")
        for n in range(200)
        for server in ((bad, good)[n % 2],)
    ]
    done = load(tmp_path, write_feed(tmp_path / "feed.tsv", rows), "--tries", "1", status=1)
    assert "100 none yet; this run: 100 fetched, 0 unusable" in done.stdout
    # Beside the 20 failures, those count that were under way when the last of them came in.
    assert 20 <= len(bad.seen) <= 20 + picture_crawl.WAY_AHEAD
    assert "the host is left alone" in done.stderr
    bad.script = good.script
    assert "100 fetched" in load(tmp_path, tmp_path / "feed.tsv").stdout
