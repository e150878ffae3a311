"""How fast pictures are fetched, side by side with Scrapy's ImagesPipeline and img2dataset.

In: nothing; a server on loopback that answers each request after some milliseconds, with pictures
all different. Out, on stdout: pictures a second between the first request and the last, as the
server saw them, with the same number of connections and no limit of rate; their ratios. Each rival
gets a virtual environment in benchmarks/.venvs, and one that can't be installed is told.

With --hosts, crawl.py alone fetches from so many hosts, each of which gives --host-rate pictures a
second. The products of a host lie together in one feed, and in turns in another. Out: pictures a
second, which share that is of what the hosts give, and the time of a processor that a picture takes.

    python benchmarks/downloads.py
    python benchmarks/downloads.py --pictures 2000 --delay 20
    python benchmarks/downloads.py --pictures 10000 --hosts 50 --host-rate 20
"""

import argparse
import asyncio
import io
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import rivals  # noqa: E402

from common.terminal import UserError, log, run  # noqa: E402
from crawling import picture_crawl  # noqa: E402

SCRAPY = """
import sys
import scrapy
from scrapy.crawler import CrawlerProcess

class Pictures(scrapy.Spider):
    name = "pictures"

    async def start(self):
        for item in self.start_requests():
            yield item

    def start_requests(self):
        yield scrapy.Request("data:,x", callback=self.items)

    def items(self, response):
        for url in open(sys.argv[1]):
            yield {"image_urls": [url.strip()]}

process = CrawlerProcess({
    "ITEM_PIPELINES": {"scrapy.pipelines.images.ImagesPipeline": 1}, "IMAGES_STORE": sys.argv[2],
    "CONCURRENT_REQUESTS": int(sys.argv[3]), "CONCURRENT_REQUESTS_PER_DOMAIN": int(sys.argv[3]),
    # The last one is what holds it to so many: pictures of items go past the other two.
    "CONCURRENT_ITEMS": int(sys.argv[3]), "LOG_LEVEL": "ERROR", "ROBOTSTXT_OBEY": False})
process.crawl(Pictures)
process.start()
"""
IMG2DATASET = """
import sys
from img2dataset import download
if __name__ == "__main__":
    download(url_list=sys.argv[1], output_folder=sys.argv[2], thread_count=int(sys.argv[3]),
             processes_count=1, output_format="files", resize_mode="no", number_sample_per_shard=10**6)
"""
RIVALS = {
    "Scrapy's ImagesPipeline": ("scrapy", ("scrapy", "Pillow"), SCRAPY),
    "img2dataset": ("img2dataset", ("img2dataset", "setuptools<81"), IMG2DATASET),
}


# ---- the server -----------------------------------------------------------------------------------


def picture_parts():
    """The bytes of a JPEG file of 37 kB before and behind a number of 8 digits in its comment."""
    from PIL import Image

    rng = random.Random(0)
    small = Image.new("RGB", (41, 51))
    small.putdata([tuple(rng.randrange(256) for _ in range(3)) for _ in range(41 * 51)])
    file = io.BytesIO()
    small.resize((328, 410)).save(file, "JPEG", quality=85)
    data = file.getvalue()
    return data[:2] + b"\xff\xfe\x00\x0a", data[2:]


async def serve(delay, hosts, rate):
    """Answer /N.jpg with a picture like no other after `delay` seconds, at 127.0.0.1 and the
    addresses behind it, each of which gives at most `rate` pictures a second (0 for no limit). /seen
    tells how many there were, the seconds from the first to the last, and how many were under way
    at a time."""
    seen, now, most, turn = [], 0, 0, {}
    before, behind = picture_parts()

    async def answer(reader, writer):
        nonlocal now, most
        host = writer.get_extra_info("sockname")[0]
        try:
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                path = line.split()[1].decode()
                if path == "/seen":
                    body = f"{len(seen)} {seen[-1] - seen[0] if seen else 0} {most}".encode()
                    seen.clear()
                    most = 0
                elif path == "/robots.txt":
                    body = b""
                else:
                    now += 1
                    most = max(most, now)
                    if rate:
                        asked = time.monotonic()
                        begins = max(asked, turn.get(host, 0))
                        turn[host] = begins + 1 / rate
                        await asyncio.sleep(begins - asked)
                    seen.append(time.monotonic())
                    await asyncio.sleep(delay)
                    now -= 1
                    body = before + b"%08d" % int(path[1:-4]) + behind
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body) + body
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    others = [
        await asyncio.start_server(answer, f"127.0.0.{host}", port) for host in range(2, hosts + 1)
    ]
    print(port, flush=True)
    await asyncio.gather(*(one.serve_forever() for one in (server, *others)))


# ---- the contestants --------------------------------------------------------------------------------


def ours(urls, folder, rate=0):
    feed = folder / "feed.tsv"
    feed.write_text(
        "id\ttitle\tproduct_type\timage_link\n"
        + "".join(f"{number}\tJean {number}\tJeans\t{url}\n" for number, url in enumerate(urls))
    )
    subprocess.run(
        [
            sys.executable,
            ROOT / "crawl.py",
            "--feed",
            feed,
            "--image-rate",
            str(rate),
            "--allow-private",
            "--db-path",
            folder / "crawl.db",
            "--images-path",
            folder / "images",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def theirs(python, code, urls, folder, connections):
    (folder / "urls.txt").write_text("".join(f"{url}\n" for url in urls))
    (folder / "rival.py").write_text(code)
    subprocess.run(
        [python, folder / "rival.py", folder / "urls.txt", folder / "out", str(connections)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )


def measure(work, urls, site):
    """(pictures a second, how many were asked for, how many at a time), as the server saw it."""
    with tempfile.TemporaryDirectory() as folder:
        work(urls, Path(folder))
    seen, seconds, most = urllib.request.urlopen(f"{site}/seen").read().split()
    return (int(seen) - 1) / float(seconds), int(seen), int(most)


def processor_seconds():
    """The time of processors that all processes took that have ended, started by this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_hosts(port, args):
    """Print how fast crawl.py fetches from many hosts, with their products together and in turns."""
    given = args.hosts * args.host_rate
    numbers = range(args.pictures)
    orders = {
        "a host's products lie together": [n * args.hosts // args.pictures for n in numbers],
        "hosts in turns": [n % args.hosts for n in numbers],
    }
    results = {name: [] for name in orders}
    for turn in range(args.rounds):
        for name, hosts in orders.items():
            urls = [f"http://127.0.0.{host + 1}:{port}/{n}.jpg" for n, host in zip(numbers, hosts)]
            before = processor_seconds()
            rate, _, most = measure(
                lambda urls, folder: ours(urls, folder, args.host_rate),
                urls,
                f"http://127.0.0.1:{port}",
            )
            each = 1000 * (processor_seconds() - before) / args.pictures
            results[name].append((rate, each))
            log(
                f"round {turn + 1}: {name}: {rate:.0f} pictures/s, {each:.2f} ms of a processor "
                f"each, {most} at a time; load {os.getloadavg()[0]:.1f}"
            )
    print(
        f"{args.pictures} pictures of {args.hosts} hosts, {args.delay} ms an answer, at most "
        f"{given:g} pictures/s\n\n| | pictures/s, median (least to most) | of what the hosts give | "
        "ms of a processor for each |\n|---|---|---|---|"
    )
    for name, result in results.items():
        rates, each = zip(*result)
        print(
            f"| {name} | {statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f}) | "
            f"{100 * statistics.median(rates) / given:.0f} % | {statistics.median(each):.2f} |"
        )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pictures", type=int, default=1000, metavar="N", help="(default: 1000)")
    parser.add_argument("--delay", type=int, default=50, metavar="MS", help="(default: 50)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--hosts", type=int, default=1, metavar="N", help="(default: 1)")
    parser.add_argument("--host-rate", type=float, default=0, metavar="N", help="(default: any)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.serve:
        asyncio.run(serve(args.delay / 1000, args.hosts, args.host_rate))
    options = ["--delay", args.delay, "--hosts", args.hosts, "--host-rate", args.host_rate]
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", *map(str, options)], stdout=subprocess.PIPE, text=True
    )
    try:
        port = server.stdout.readline().strip()
        if args.hosts > 1:
            measure_hosts(port, args)
        else:
            measure_rivals(f"http://127.0.0.1:{port}", args)
    finally:
        server.kill()
    return 0


def measure_rivals(site, args):
    """Print how fast crawl.py and its rivals fetch from one host."""
    connections = picture_crawl.CONNECTIONS
    contestants = {"crawl.py": ours}
    for name, (environment, packages, code) in RIVALS.items():
        try:
            python = rivals.environment_python(environment, packages)
        except (UserError, subprocess.CalledProcessError) as problem:
            log(f"{name} can't be installed: {problem}")
            continue
        contestants[name] = lambda urls, folder, python=python, code=code: theirs(
            python, code, urls, folder, connections
        )
    rates = {name: [] for name in contestants}
    urls = [f"{site}/{number}.jpg" for number in range(args.pictures)]
    for turn in range(args.rounds):
        for name, work in contestants.items():
            rate, seen, most = measure(work, urls, site)
            rates[name].append(rate)
            log(
                f"round {turn + 1}: {name}: {rate:.1f} pictures/s ({seen} requests, {most} at "
                "a time)"
            )
    print(
        f"{args.pictures} pictures, {connections} connections, {args.delay} ms an answer: at most "
        f"{1000 * connections / args.delay:.0f} pictures/s\n\n| | pictures/s, median (least to "
        "most) | ours : this one, rounds' median (least to most) |\n|---|---|---|"
    )
    for name, some in rates.items():
        ratios = [own / other for own, other in zip(rates["crawl.py"], some)]
        print(
            f"| {name} | {statistics.median(some):.1f} ({min(some):.1f} to {max(some):.1f}) | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
