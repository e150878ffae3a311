"""The flags for computing bottlenecks on a cluster.

In: an argparse parser, then what it parsed. Out: options of a connection, or None.
"""

from __future__ import annotations

import argparse

from common.terminal import UserError
from learning import cluster_address


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "pictures on more than this computer (docs/cluster.md; needs requirements-cluster.txt)"
    )
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="have the workers of a Dask cluster compute bottlenecks: tcp://host:8786, "
        "tls://host:8786, a scheduler file, or local:2 for two processes here",
    )
    group.add_argument(
        "--send-pictures",
        action="store_true",
        help="send the pictures to the workers, which have no folder in common with this computer",
    )
    group.add_argument(
        "--cluster-security",
        metavar="DIR",
        help=f"folder with {', '.join(cluster_address.KEYS)} for TLS",
    )
    group.add_argument(
        "--insecure-cluster",
        action="store_true",
        help="speak to a scheduler on another computer without TLS: whoever reaches its port can "
        "run programs on all of them",
    )


def options(args: argparse.Namespace) -> cluster_address.Options | None:
    """Where the cluster is that --cluster names, if it names one. Raises UserError if it can't be
    asked, before any work."""
    if args.cluster is None:
        for name in ("send_pictures", "cluster_security", "insecure_cluster"):
            if getattr(args, name):
                raise UserError(
                    f"--{name.replace('_', '-')} is for --cluster: name one, or leave it"
                )
        if "://" in (getattr(args, "images_path", None) or ""):
            raise UserError(
                "--images-path may be a URL only with --cluster, whose workers read the pictures"
            )
        return None
    if args.send_pictures and "://" in (getattr(args, "images_path", None) or ""):
        raise UserError("--send-pictures is for files: workers read the URL of --images-path")
    asked = cluster_address.Options(
        args.cluster, args.cluster_security, args.insecure_cluster, args.send_pictures
    )
    cluster_address.check(asked)
    if asked.security is not None:
        cluster_address.security_of(asked.security)
    return asked
