"""The cache of bottlenecks: the index of its keys, and rows that another process has written.

pytest tests/test_bottleneck_cache.py
pytest tests/test_bottleneck_cache.py -k "index and not kill"
"""

import errno
import os
import random
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO, environment
from peak import peak_of_code

from common import files
from common.files import file_sha256
from learning import bottleneck_cache, bottlenecks, key_index, layers, picture_classifier

SIZE = 8
TOY = {"network": "toy"}


@pytest.fixture(autouse=True)
def small_runs(monkeypatch):
    """An index is written for twenty rows, not for a hundred thousand."""
    monkeypatch.setattr(key_index, "FEWEST", 20)
    monkeypatch.setattr(key_index, "PART", 4)


def opened(folder, dtype="float32"):
    return bottleneck_cache.Cache(folder, TOY, SIZE, dtype)


def drawn_keys(count, seed=0):
    """So many SHA-256 digests by chance, in hex."""
    data = np.random.default_rng(seed).bytes(32 * count)
    return [data[i : i + 32].hex() for i in range(0, len(data), 32)]


def row_of(key):
    """The row that belongs to a key in these tests."""
    return np.frombuffer(bytes.fromhex(key), np.uint8)[:SIZE].astype(np.float32)


def rows_of(keys):
    return np.array([row_of(key) for key in keys]).reshape(-1, SIZE)


def filled(folder, keys, batch=7):
    """A cache to which the keys were appended so many at a time."""
    cache = opened(folder)
    for start in range(0, len(keys), batch):
        cache.append(keys[start : start + batch], rows_of(keys[start : start + batch]))
    return cache


def check(cache, keys, absent=()):
    """Each key has its row, and what is absent has none."""
    found = cache.find(keys)
    assert (found >= 0).all() and (cache.matrix()[found] == rows_of(keys)).all()
    assert (cache.find(list(absent)) == -1).all()


def never_wrong(cache, keys):
    """Which keys have a row; none of them has another one's."""
    found = cache.find(keys)
    there = found >= 0
    assert (cache.matrix()[found[there]] == rows_of(keys)[there]).all()
    return there


# ---- the index ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", (0, 1, 20, 21, 22, 300))
@pytest.mark.parametrize("batch", (1, 7, 1000))
def test_each_key_has_its_row_now_and_when_the_cache_is_opened_again(tmp_path, count, batch):
    keys = drawn_keys(count)
    cache = filled(tmp_path, keys, batch)
    for now in (cache, opened(tmp_path)):
        check(now, keys, drawn_keys(50, seed=1))
        assert list(now.keys()) == keys and now.count == count
    assert os.path.exists(cache.index_path) == (count > 20)


def test_keys_that_end_alike_are_told_apart(tmp_path):
    ends = [key[-8:] for key in drawn_keys(3, seed=2)]
    keys = [key[:-8] + ends[n % 3] for n, key in enumerate(drawn_keys(200))]
    absent = [key[:-8] + ends[0] for key in drawn_keys(50, seed=3)]
    filled(tmp_path, keys)
    check(opened(tmp_path), keys, absent)


def test_of_two_rows_under_one_key_the_later_counts_wherever_the_index_ends(tmp_path):
    keys = drawn_keys(60)
    cache = filled(tmp_path, keys)
    for turn in range(3):
        os.truncate(cache.keys_path, 60 * 36 * (turn + 1))
        again = opened(tmp_path)
        again.forgotten = again.find(keys)
        assert (again.find(keys) == -1).all()
        again.append(keys, rows_of(keys))
        for now in (again, opened(tmp_path)):
            assert now.find(keys).tolist() == list(range(60 * (turn + 1), 60 * (turn + 2)))


def test_damaged_rows_are_forgotten_once_and_found_when_they_are_there_again(tmp_path, capsys):
    keys = drawn_keys(100)
    cache = filled(tmp_path, keys)
    with open(cache.data_path, "r+b") as file:
        for row in (3, 70):
            file.seek(row * cache.row_bytes + 5)
            file.write(b"\xaa")
    again = opened(tmp_path)
    again.drop_damaged(iter(keys))
    assert "2 bottlenecks in" in capsys.readouterr().err
    assert np.flatnonzero(again.find(keys) < 0).tolist() == [3, 70]
    again.append(keys, rows_of(keys))
    for now in (again, opened(tmp_path)):
        now.drop_damaged(now.keys())
        check(now, keys)
        assert now.count == 102
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "what", ("no index", "cut", "longer", "empty", "another cache's", "a folder")
)
def test_an_index_that_is_not_of_these_keys_is_made_anew(tmp_path, what):
    keys = drawn_keys(100)
    path = Path(filled(tmp_path / "a", keys).index_path)
    other = drawn_keys(100, seed=1)
    whole, theirs = path.read_bytes(), Path(filled(tmp_path / "b", other).index_path).read_bytes()
    assert len(whole) == len(theirs) and whole != theirs
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what != "no index":
        path.write_bytes(
            {
                "cut": whole[:-9],
                "longer": whole + bytes(8),
                "empty": b"",
                "another cache's": theirs,
            }[what]
        )
    cache = opened(tmp_path / "a")
    check(cache, keys, other)
    cache.append(other, rows_of(other))
    for now in (cache, opened(tmp_path / "a")):
        check(now, keys + other)
    assert path.is_dir() or path.read_bytes()[:56] == key_index.HEADER.pack(
        key_index.FORM,
        200,
        zlib.crc32(path.read_bytes()[56:]),
        Path(cache.keys_path).read_bytes()[-36:],
    )


@pytest.mark.parametrize(
    "count",
    (pytest.param(100, marks=pytest.mark.redteam), pytest.param(1000, marks=pytest.mark.slow)),
)
def test_a_changed_byte_in_an_index_gives_no_wrong_row_and_is_found(tmp_path, count):
    rng, keys = random.Random(22), drawn_keys(100)
    path = Path(filled(tmp_path, keys).index_path)
    whole, lost = path.read_bytes(), 0
    for _ in range(count):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        cache = opened(tmp_path)
        lost += not never_wrong(cache, keys).all()
        cache.drop_damaged(keys)
        check(cache, keys)
    assert lost > count // 20  # so that there was something to mend


@pytest.mark.redteam
@pytest.mark.parametrize("how", ("unsorted", "rows beyond the end", "the same row for all"))
def test_an_index_of_a_stranger_gives_no_wrong_row(tmp_path, how):
    keys = drawn_keys(100)
    cache = filled(tmp_path, keys)
    path = Path(cache.index_path)
    data = path.read_bytes()
    entries = np.frombuffer(data[56:], np.uint64).copy()
    if how == "unsorted":
        entries = entries[::-1].copy()
    elif how == "rows beyond the end":
        entries |= np.uint64(0xFFFFFF00)
    else:
        entries = entries >> np.uint64(32) << np.uint64(32)
    form, rows, _, last = key_index.HEADER.unpack(data[:56])
    path.write_bytes(
        key_index.HEADER.pack(form, rows, zlib.crc32(entries), last) + entries.tobytes()
    )
    again = opened(tmp_path)
    assert not never_wrong(again, keys).all()
    again.append(keys, rows_of(keys))
    check(again, keys)


@pytest.mark.redteam
@pytest.mark.parametrize("kind", ("a link", "a link to nowhere", "a pipe"))
def test_an_index_of_a_stranger_leads_to_no_file_of_yours(tmp_path, kind):
    mine, keys = tmp_path / "mine.txt", drawn_keys(100)
    mine.write_text("keep me")
    path = Path(filled(tmp_path / "cache", keys).index_path)
    path.unlink()
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(mine if kind == "a link" else tmp_path / "new.txt")
    check(opened(tmp_path / "cache"), keys)
    assert mine.read_text() == "keep me" and not (tmp_path / "new.txt").exists()


@pytest.mark.parametrize("left", (0, 1, 30, 99))
def test_keys_in_the_place_of_lost_ones_are_found_and_the_lost_are_not(tmp_path, left):
    keys, other = drawn_keys(100), drawn_keys(150, seed=1)
    cache = filled(tmp_path, keys)
    os.truncate(cache.data_path, left * cache.row_bytes)
    again = opened(tmp_path)
    check(again, keys[:left], keys[left:])
    again.append(other, rows_of(other))
    for now in (again, opened(tmp_path)):
        check(now, keys[:left] + other, keys[left:])


def test_a_process_that_has_an_older_index_mapped_goes_on(tmp_path):
    keys = drawn_keys(400)
    one = filled(tmp_path, keys[:100])
    two = filled(tmp_path, keys[100:300])
    one.refresh()
    check(one, keys[:300], keys[300:])
    one.append(keys[250:], rows_of(keys[250:]))
    two.refresh()
    for now in (one, two, opened(tmp_path)):
        check(now, keys)
        assert now.count == 400


def test_caches_of_both_dtypes_have_an_index_each(tmp_path):
    keys = drawn_keys(200)
    full, half = (opened(tmp_path, dtype) for dtype in ("float32", "float16"))
    full.append(keys[:100], rows_of(keys[:100]))
    half.append(keys[100:], rows_of(keys[100:]))
    check(opened(tmp_path), keys[:100], keys[100:])
    check(opened(tmp_path, "float16"), keys[100:], keys[:100])
    assert {path.name[16:] for path in tmp_path.iterdir()} == {
        ".f32",
        ".keys",
        ".index",
        ".f16",
        ".f16.keys",
        ".f16.index",
        ".lock",
        ".json",
    }


# Opens a cache of a million keys, or of none; prints how many bytes that read, and the rows.
MILLION = """
import re
from learning import bottleneck_cache
def read():
    return int(re.search(r"rchar: (\\d+)", open("/proc/self/io").read())[1])
before = read()
cache = bottleneck_cache.Cache("cache", {"network": "toy"}, 8)
print(read() - before, cache.count)
"""


@pytest.mark.slow
def test_a_cache_of_a_million_keys_opens_at_once_and_takes_few_bytes_a_key(tmp_path):
    nothing = peak_of_code(MILLION, cwd=tmp_path)
    cache = opened(tmp_path / "cache")
    records = np.random.default_rng(0).integers(0, 256, (10**6, key_index.RECORD), np.uint8)
    records.tofile(cache.keys_path)
    np.zeros((10**6, SIZE), np.float32).tofile(cache.data_path)
    first, again = (peak_of_code(MILLION, cwd=tmp_path) for _ in range(2))
    for done in (first, again):
        assert done.stdout.split()[1:] == ["1000000"], done.stderr
        # 16 bytes a key, and a piece of the records; a dict of the keys took 218.
        assert done.megabytes - nothing.megabytes < 16 + 24
    assert int(first.stdout.split()[0]) > 36e6 and int(again.stdout.split()[0]) < 1e5


def test_processes_that_have_seeded_chance_alike_may_write_the_same_file_at_once(tmp_path):
    path = tmp_path / "index"
    random.seed(0)
    with files.replacing(str(path)) as one:
        random.seed(0)
        with files.replacing(str(path)) as other:
            Path(other).write_text("other")
        Path(one).write_text("one")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


# ---- rows of another file -----------------------------------------------------------------------


def shard(path, keys, dtype="float32", offset=100):
    """A file with the rows of keys after so many other bytes. Returns what Cache.adopt takes."""
    rows = rows_of(keys).astype(dtype)
    path.write_bytes(b"x" * offset + rows.tobytes() + b"and more")
    return keys, str(path), offset, [zlib.crc32(row) for row in rows]


def cant(number):
    def copy_file_range(*args):
        raise OSError(number, os.strerror(number))

    return copy_file_range


@pytest.mark.parametrize("dtype", ("float32", "float16"))
@pytest.mark.parametrize("refused", (None, errno.EXDEV, errno.EINVAL, errno.ENOSYS))
def test_rows_of_another_file_are_adopted_but_for_those_that_are_there(
    tmp_path, monkeypatch, dtype, refused
):
    if refused:  # by the kernel, as it does between two disks
        monkeypatch.setattr(os, "copy_file_range", cant(refused))
    keys = drawn_keys(60)
    cache = opened(tmp_path, dtype)
    cache.append(keys[10:20], rows_of(keys[10:20]))
    order = [*range(30), 5, *range(15, 50)]  # some twice
    cache.adopt(*shard(tmp_path / "shard", [keys[i] for i in order], dtype))
    for now in (cache, opened(tmp_path, dtype)):
        check(now, keys[:50], keys[50:])
        assert list(now.keys()) == keys[10:20] + keys[:10] + keys[20:50]
        now.drop_damaged(now.keys())  # with their own checksums
        check(now, keys[:50], keys[50:])
    before = Path(cache.data_path).read_bytes()
    cache.adopt(*shard(tmp_path / "shard", keys[:50], dtype))
    assert Path(cache.data_path).read_bytes() == before


def test_more_is_adopted_than_the_system_copies_at_once(tmp_path, monkeypatch):
    keys, whole = drawn_keys(60), os.copy_file_range
    monkeypatch.setattr(
        os, "copy_file_range", lambda one, two, count, *at: whole(one, two, min(count, 77), *at)
    )
    cache = opened(tmp_path)
    cache.adopt(*shard(tmp_path / "shard", keys))
    check(opened(tmp_path), keys)


@pytest.mark.parametrize("what", ("a byte", "a cut row", "a missing row", "a checksum"))
def test_a_damaged_shard_is_refused_and_nothing_of_it_is_kept(tmp_path, what):
    keys = drawn_keys(30)
    cache = filled(tmp_path, keys[:10])
    keys_given, path, offset, sums = shard(tmp_path / "shard", keys[5:])
    data = Path(path).read_bytes()
    if what == "a byte":
        data = data[:-20] + b"!" + data[-19:]
    elif what == "a checksum":
        sums[3] ^= 1
    else:
        data = data[: -8 - (5 if what == "a cut row" else cache.row_bytes)]
    Path(path).write_bytes(data)
    with pytest.raises(ValueError, match="a row is damaged"):
        cache.adopt(keys_given, path, offset, sums)
    for now in (cache, opened(tmp_path)):
        check(now, keys[:10], keys[10:])
    assert os.path.getsize(cache.data_path) == 10 * cache.row_bytes


def test_a_link_in_the_place_of_a_shard_is_not_followed(tmp_path):
    keys = drawn_keys(5)
    given = shard(tmp_path / "shard", keys)
    (tmp_path / "link").symlink_to(tmp_path / "shard")
    with pytest.raises(OSError, match="link"):
        opened(tmp_path / "cache").adopt(keys, str(tmp_path / "link"), *given[2:])


# ---- kills --------------------------------------------------------------------------------------

# For each line with a number it starts a process that is killed just before so many changes on the
# disk (never for 0): it opens a cache, appends and adopts two shards. Prints how the process
# ended.
CHANGER = """
import os, signal, sys
sys.path.insert(0, "{tests}")
from test_bottleneck_cache import drawn_keys, key_index, opened, rows_of, shard
from pathlib import Path
key_index.FEWEST, key_index.PART = 20, 4
left = 0
def before(call):
    def counted(*args, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)
    return counted
for line in sys.stdin:
    child = os.fork()
    if not child:
        keys = drawn_keys(120)
        given = shard(Path("shard"), keys[20:60]), shard(Path("later"), keys[50:100])
        left = int(line)
        for name in ("open", "fsync", "replace", "remove", "copy_file_range"):
            setattr(os, name, before(getattr(os, name)))
        cache = opened(Path("cache"))
        for start in range(0, 20, 5):
            cache.append(keys[start : start + 5], rows_of(keys[start : start + 5]))
        for each in given:
            cache.adopt(*each)
        cache.append(keys[100:], rows_of(keys[100:]))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("every", (pytest.param(12, marks=pytest.mark.redteam), 1))
def test_killed_before_a_change_on_the_disk_and_run_again_it_ends_as_if_undisturbed(
    tmp_path, every
):
    keys, killed, at = drawn_keys(120), 0, 1
    code = CHANGER.replace("{tests}", str(REPO / "tests"))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(REPO)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:

        def end_of_run(at):
            print(at, file=parent.stdin, flush=True)
            return int(parent.stdout.readline())

        def left():
            return {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()}

        assert end_of_run(0) == 0
        undisturbed = left()
        while True:
            shutil.rmtree(tmp_path / "cache")
            ended = end_of_run(at)
            if ended == 0:
                break
            assert ended == -9
            killed, at = killed + 1, at + every
            cache = opened(tmp_path / "cache")
            there = never_wrong(cache, keys)
            assert there.sum() == cache.count and list(cache.keys()) == keys[: cache.count]
            assert end_of_run(0) == 0
            check(opened(tmp_path / "cache"), keys)
            now = left()
            for name in undisturbed:  # an index may end at another row
                assert name.endswith(".index") or now[name] == undisturbed[name]
            assert now.keys() == undisturbed.keys()  # and nothing is left beside
        parent.stdin.close()
    assert killed >= 50 // every


# ---- what is to be computed ---------------------------------------------------------------------


def test_of_pictures_under_one_key_the_first_is_computed_unless_the_cache_has_it(tmp_path):
    keys = drawn_keys(bottleneck_cache.LOOKED_UP + 50)
    cache = filled(tmp_path, keys[5:10])
    pictures = [(key, str(n)) for n, key in enumerate([*keys, *keys[:30], *keys[-30:]])]
    wanted, count = bottlenecks.missing(cache, iter(pictures))
    assert count == len(pictures)
    assert list(bottlenecks.chosen(pictures, wanted)) == [*pictures[:5], *pictures[10 : len(keys)]]
    assert list(bottlenecks.chosen(reversed(pictures[:9]), wanted)) == pictures[4::-1]
    none, _ = bottlenecks.missing(cache, [])
    assert list(bottlenecks.chosen(pictures, none)) == []


def test_the_row_of_a_product_is_that_of_what_crawl_db_says_or_of_its_file(tmp_path):
    keys = {}
    for name in ("known", "old", "damaged", "another's"):
        (tmp_path / name).write_bytes(name.encode())
        keys[name] = file_sha256(tmp_path / name)
    cache = filled(tmp_path / "cache", list(keys.values()))
    options = picture_classifier.PictureOptions(
        str(tmp_path), None, "mixed0", "float32", str(tmp_path / "cache"), "float32", 0
    )
    network = picture_classifier.OpenNetwork(None, TOY, cache, options, None)
    pictures = [
        (10, "known", keys["known"]),
        (20, "old", None),
        (30, "damaged", "no digest"),
        (35, "another's", keys["another's"]),
        (40, "gone", None),
    ]
    rows = picture_classifier.cached_rows(network, [30, 10, 99, 40, 20], lambda: iter(pictures))
    assert rows.tolist() == [2, 0, -1, -1, 1]
    assert picture_classifier.cached_rows(network, [], lambda: iter(())).tolist() == []
    assert picture_classifier.cached_rows(network, [7, 3], lambda: iter(())).tolist() == [-1, -1]


# ---- what is read of rows that do not fit in memory ---------------------------------------------


@pytest.mark.parametrize("count", (0, 1, 9, 300))
def test_rows_that_are_read_at_once_are_those_of_the_file(tmp_path, count):
    rng = np.random.default_rng(count)
    whole = rng.random((300, 1000), np.float32)
    whole.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=whole.shape)
    rows = np.sort(rng.integers(0, 300, count))  # some of them twice
    for matrix in (whole, mapped, mapped.view(np.ndarray)):
        assert (layers.read_rows(matrix, rows) == whole[rows]).all()
    wanted = rng.permutation(rows)
    inputs = layers.Inputs(bottlenecks=mapped, rows=np.append(wanted, -1))
    seen = layers.bottlenecks_of(inputs, np.arange(count + 1), np.zeros(1000, np.float32))
    assert (seen[:-1] == whole[wanted]).all() and not seen[-1].any()


# Reads twenty rows of 8 kB that lie apart; prints how many bytes were read from the disk.
APART = """
import re
import numpy as np
from learning import layers
def read():
    return int(re.search(r"read_bytes: (\\d+)", open("/proc/self/io").read())[1])
matrix = np.memmap("rows", np.float32, "r", shape=(16_000, 2048))
before = read()
assert len(layers.read_rows(matrix, np.arange(20) * 800)) == 20
print(read() - before)
"""


@pytest.mark.slow
def test_of_a_matrix_that_is_not_in_memory_hardly_more_is_read_than_is_asked_for(tmp_path):
    with open(tmp_path / "rows", "wb") as file:
        file.write(np.random.default_rng(0).bytes(16_000 * 8192))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    done = peak_of_code(APART, cwd=tmp_path)
    if done.stdout == "0\n":
        pytest.skip("the folder of the tests is in memory")
    assert 20 * 8192 <= int(done.stdout) < 10 * 20 * 8192, done.stderr


# ---- which dtype --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "full, half, asked, opened",
    [
        (0, 0, None, "float16"),
        (3, 0, None, "float32"),
        (3, 2, None, "float32"),
        (2, 2, None, "float16"),
        (0, 3, None, "float16"),
        (0, 3, "float32", "float32"),
        (3, 0, "float16", "float16"),
    ],
)
def test_a_cache_is_float16_unless_there_is_more_in_float32_already(
    tmp_path, full, half, asked, opened
):
    keys = [f"{number:064x}" for number in range(3)]
    for count, dtype in ((full, "float32"), (half, "float16")):
        if count:
            rows = np.arange(2.0 * count).reshape(count, 2)
            bottleneck_cache.Cache(tmp_path, {"network": "toy"}, 2, dtype).append(
                keys[:count], rows
            )
    cache = bottleneck_cache.open_cache(tmp_path, {"network": "toy"}, 2, asked)
    assert cache.dtype == opened
    assert (cache.find(keys) >= 0).sum() == {"float32": full, "float16": half}[opened]
