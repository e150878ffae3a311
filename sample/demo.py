"""Run the whole suite against the sample shop, in the folder demo/, showing each command.

In: nothing; no key, no network. Out: demo/crawl.db, demo/images/, three experiments, their report
on stdout and the page of errors, demo/errors.html. A second run reuses what is there.

    python sample/demo.py
    python sample/demo.py --weights imagenet
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = (
    "crawl.py",
    "retrain.py",
    "categorize_images.py",
    "categorize_words.py",
    "categorize_both.py",
    "analyze.py",
)
SHOP = ("--leaves", "12", "--per-leaf", "60", "--seed", "3")


def make_folder(folder):
    """Link scripts and shop into the folder, so that the README's commands run there."""
    os.makedirs(folder, exist_ok=True)
    for script in (*SCRIPTS, "sample"):
        with contextlib.suppress(FileExistsError):
            os.symlink(
                os.path.relpath(os.path.join(ROOT, script), os.path.realpath(folder)),
                os.path.join(folder, script),
            )


@contextlib.contextmanager
def shop(folder):
    """The sample shop's API URL while it runs.

    The shop takes the port of the last run if it is free, because pictures that are still to be
    fetched are known by their URLs; otherwise another. It ends when its stdin closes, and so with
    this process, whatever ends it.
    """
    remembered = os.path.join(folder, "shop-port")
    port = "0"
    with contextlib.suppress(OSError), open(remembered) as file:
        port = file.read().strip() or "0"
    for attempt in (port, "0"):
        server = subprocess.Popen(
            [
                sys.executable,
                os.path.join(ROOT, "sample", "shop.py"),
                *SHOP,
                "--port",
                attempt,
                "--until-stdin-closes",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            stderr=subprocess.DEVNULL if attempt != "0" else None,
        )
        url = server.stdout.readline().strip()
        if url:
            break
        server.wait()
    try:
        if not url:
            raise SystemExit("demo.py: the sample shop did not start")
        with open(remembered, "w") as file:
            file.write(url.split(":")[2].split("/")[0])
        yield url
    finally:
        server.stdin.close()
        server.wait()


def run_command(folder, environment, *command, output=None):
    """Print a command as one would type it in demo/, then run it there. Raises SystemExit with
    its status when it fails."""
    print(f"\n$ python {' '.join(command)}" + (f" > {output}" if output else ""), flush=True)
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context(open(os.path.join(folder, output), "wb")) if output else None
        status = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            stdout=stdout,
            env={**os.environ, **environment},
            check=False,
        ).returncode
    if status:
        raise SystemExit(status if status > 0 else 128 - status)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--weights",
        default="random",
        metavar="W",
        help="of the network that looks at pictures: random needs no network, but "
        "figures by picture then mean little; imagenet downloads 88 MB once "
        "(default: random)",
    )
    parser.add_argument(
        "--folder",
        default=os.path.join(ROOT, "demo"),
        metavar="DIR",
        help="where to run it (default: demo/)",
    )
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started, folder = time.monotonic(), os.path.abspath(args.folder)
    make_folder(folder)
    print(
        "This is what a person types, in the folder demo/. The shop is a stand-in that runs on "
        "this machine."
    )
    with shop(folder) as url:
        environment = {"SHOPSTYLE_API_KEY": "demo", "SHOPSTYLE_API_URL": url}
        print("\n$ export", *(f"{name}={value}" for name, value in environment.items()))
        pictures = ("--min-products", "40", "--weights", args.weights)
        # The shop is on this machine, which needs no manners and is a private address.
        run_command(folder, environment, "crawl.py", "--allow-private", "--image-rate", "0")
        run_command(folder, environment, "categorize_words.py", "--min-products", "40")
        run_command(folder, environment, "categorize_images.py", *pictures)
        run_command(folder, environment, "categorize_both.py", *pictures)
        run_command(folder, environment, "analyze.py")
        run_command(
            folder,
            environment,
            "analyze.py",
            "--dump-errors-for-experiment",
            "1",
            output="errors.html",
        )
    if args.weights == "random":
        print(
            "\nThe network that looked at the pictures had RANDOM weights, so its figures and "
            "those of both\nmean little; make demo WEIGHTS=imagenet downloads real ones."
        )
    print(
        f"\nDone in {time.monotonic() - started:.0f} s. The surest errors by text, to open in a "
        f"browser:\n  {os.path.join(folder, 'errors.html')}\n"
        "Try the rest in demo/, after . ../.venv/bin/activate:\n"
        "  python categorize_words.py --categories bootcut-jeans,skinny-jeans"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
