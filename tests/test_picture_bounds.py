"""Pictures made to take memory or time: no mixture of them takes more than the largest picture."""

import io
import os
import random
import re
import struct
import zlib

import pytest
from conftest import REPO, write_feed
from loopback import catalogue, picture, pictures_in, run, select
from peak import peak_of_code, peak_of_script
from PIL import Image

from common import pictures
from crawling import picture_store
from learning import bottlenecks

SIDE = 5000  # as many pixels as are decoded


def saved(mode, kind, size, **options):
    data = io.BytesIO()
    Image.new(mode, size).save(data, kind, **options)
    return data.getvalue()


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(*entries):
    """A TIFF of 100x100 grey pixels with these entries (tag, type, count, bytes) beside."""
    plain = [(256, 100), (257, 100), (258, 8), (259, 8), (262, 1), (277, 1)]
    parts = [(tag, 4, 1, struct.pack("<L", value)) for tag, value in plain] + list(entries)
    table, blob, behind = b"", b"", 8 + 2 + 12 * len(parts) + 4
    for tag, kind, count, data in sorted(parts):
        place = data if len(data) == 4 else struct.pack("<L", behind + len(blob))
        blob += data if len(data) != 4 else b""
        table += struct.pack("<HHL", tag, kind, count) + place
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(parts)) + table + bytes(4) + blob


def number(tag, value):
    return tag, 4, 1, struct.pack("<L", value)


JPEG, PNG, GIF = (saved("RGB", kind, (100, 100)) for kind in ("JPEG", "PNG", "GIF"))
FIRST_FRAME = GIF.index(b",", 13 + 3 * (2 << (GIF[10] & 7)))
SCANS = saved("L", "JPEG", (100, 100), progressive=True)
OFFSETS = struct.pack("<L", 8) * 1_100_000
BOMBS = {
    "a JPEG of empty segments": JPEG[:2] + b"\xff\xe5\0\2" * 50_000 + JPEG[2:],
    "a JPEG of many pieces of EXIF": JPEG[:2] + b"\xff\xe1\0\x0aExif\0\0ab" * 50_000 + JPEG[2:],
    "a JPEG of many scans": SCANS[:-2] + SCANS[SCANS.rindex(b"\xff\xda") : -2] * 200 + SCANS[-2:],
    "a PNG of empty chunks before": PNG[:33] + chunk(b"prVt") * 50_000 + PNG[33:],
    "a PNG of empty chunks behind": PNG[:-12] + chunk(b"prVt") * 50_000 + PNG[-12:],
    "a GIF of comments": GIF[:FIRST_FRAME] + b"\x21\xfe\x01a\0" * 50_000 + GIF[FIRST_FRAME:],
    "a TIFF of a million strips": tiff((273, 4, 1_100_000, OFFSETS), number(278, 1)),
    "a TIFF of one huge tile": tiff(
        number(322, 20_000), number(323, 20_000), number(324, 8), number(325, 9)
    ),
    "a high PNG": saved("1", "PNG", (8, 70_000)),
    "a wide PNG": saved("1", "PNG", (70_000, 8)),
    "a PNG of too many pixels": saved("1", "PNG", (SIDE + 1, SIDE)),
    "a WebP of too many pixels": saved("RGBA", "WEBP", (SIDE + 1, SIDE), quality=0, method=0),
}


@pytest.mark.redteam
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_a_reason(name, tmp_path):
    with pytest.raises(pictures.TooLarge, match="too (many|long|large)"):
        picture_store.check_picture(BOMBS[name])
    (tmp_path / "a").write_bytes(BOMBS[name])
    with pytest.raises(ValueError, match="too (many|long|large)"):
        bottlenecks.read_picture(tmp_path / "a")


MIXTURE = """
import io, threading
from PIL import Image
from crawling import picture_store
from learning import bottlenecks
def saved(mode, kind, **options):
    data = io.BytesIO()
    Image.new(mode, ({side}, {side})).save(data, kind, **options)
    return data.getvalue()
def read(data, number):
    open(str(number), "wb").write(data)
    assert bottlenecks.read_picture(str(number)).shape == (299, 299, 3)
    assert picture_store.check_picture(data)
bombs = [bytes.fromhex(line) for line in open("bombs")]
threads = [threading.Thread(target=read, args=(data, n)) for n, data in enumerate(bombs)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(bombs))
"""


@pytest.mark.slow
@pytest.mark.redteam
def test_four_threads_of_the_largest_pictures_take_no_more_memory_than_one(tmp_path):
    size = (SIDE, SIDE)
    webp = saved("RGBA", "WEBP", size, lossless=True, quality=0, method=0)
    png, grey = saved("RGBA", "PNG", size), saved("I;16", "PNG", size)
    with open(tmp_path / "bombs", "w") as file:
        for data in (webp, webp, png, grey):
            file.write(data.hex() + "\n")
    peak = peak_of_code(MIXTURE.replace("{side}", str(SIDE)), cwd=tmp_path)
    assert peak.stdout == "4\n" and peak.megabytes < 700


@pytest.mark.slow
@pytest.mark.redteam
def test_a_crawl_of_large_files_and_large_pictures_takes_little_more_than_the_largest(tmp_path):
    noise = Image.frombytes("RGB", (2500, 2500), random.Random(0).randbytes(3 * 2500**2))
    kinds = {"webp": {"lossless": True, "quality": 0, "method": 0}, "png": {"compress_level": 0}}
    rows = []
    for number in range(16):
        kind = list(kinds)[number % 2]
        path = tmp_path / f"{number}.{kind}"
        if number < 2:
            noise.save(path, **kinds[kind])
        else:
            os.link(tmp_path / f"{number % 2}.{kind}", path)
        rows.append((str(number), "Cap", "", "Hats", path.name, ""))
    write_feed(tmp_path / "feed.tsv", rows)
    peak = peak_of_script("crawl", "--feed", "feed.tsv", cwd=tmp_path)
    assert (peak.status, "16 fetched" in peak.stdout) == (0, True), peak
    assert peak.megabytes < 400


def test_permits_are_given_back_whatever_happens():
    for data in (BOMBS["a PNG of too many pixels"], JPEG[:400], JPEG, PNG[:-20], GIF):
        try:
            picture_store.check_picture(data)
        except ValueError:
            pass
    taken = 0
    while pictures.ROOM.acquire(blocking=False):
        taken += 1
    pictures.ROOM.release(taken)
    assert taken == pictures.PERMITS


@pytest.mark.redteam
def test_only_one_place_opens_pictures():
    opening = re.compile(r"\bImage\.open\(|tf\.(io|image)\.decode|load_img|imread")
    folders = ("common", "crawling", "learning", "evaluation")
    files = [*REPO.glob("*.py"), *(f for name in folders for f in (REPO / name).rglob("*.py"))]
    found = [file.name for file in files if opening.search(file.read_text(encoding="utf-8"))]
    assert found == ["pictures.py"] and "formats=FORMATS" in (
        REPO / "common" / "pictures.py"
    ).read_text(encoding="utf-8")


CUT = {
    "empty": b"",
    "cut in its pixels": JPEG[:-40],
    "cut in its header": JPEG[:30],
    "a PNG that is cut": PNG[:-20],
    "three bytes": JPEG[:3],
}


@pytest.mark.slow
@pytest.mark.redteam
@pytest.mark.parametrize("name", CUT)
def test_what_arrives_cut_is_asked_for_again_in_the_same_run(serve, tmp_path, name):
    answers = [CUT[name]]
    server = serve(
        catalogue(per_leaf=1, leaves={"boot": "jeans"}),
        lambda path, query: (
            (200, answers.pop() if answers else picture(1)) if path.startswith("/pim/") else None
        ),
    )
    run(tmp_path, server)
    assert list(pictures_in(tmp_path).values()) == [picture(1)]


@pytest.mark.parametrize("body, asked", ((b"", 2), (JPEG[:-40], 2), (b"<html>sorry</html>", 1)))
def test_what_stays_cut_is_unusable_and_a_page_is_asked_for_once(serve, tmp_path, body, asked):
    server = serve(
        catalogue(per_leaf=1, leaves={"boot": "jeans"}),
        lambda path, query: (200, body) if path.startswith("/pim/") else None,
    )
    run(tmp_path, server, status=1)
    assert select(tmp_path, "select status from picture") == [("failed",)]
    assert sum(seen[0].startswith("/pim/") for seen in server.seen) == asked
