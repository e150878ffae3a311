"""Which arithmetic the network computes in, if that is left to the machine.

In: what --precision asks for, the layer, and the folder of bottlenecks. Out: float32, bfloat16 or
int8, whose bottlenecks classify alike (results/README.md). The scripts that read pictures ask it:

    python categorize_images.py --precision auto
    python retrain.py --image_dir flower_photos --precision auto
"""

from __future__ import annotations

import gc
from typing import Any

from common.terminal import counted, log
from learning import bottleneck_cache, bottlenecks, inception
from learning.tensorflow_loader import load_tensorflow

AUTO = "auto"
# What describes a cache of pictures as they are; retrain.py's distorted ones say more.
OF_PLAIN_PICTURES = frozenset("network weights layer preprocessing precision size record".split())


def settled(asked: str, layer: str, folder: str, network: Any) -> str:
    """The precision that is asked for; for `auto` that of most bottlenecks of the layer in the
    folder, so that few are computed twice, and if there are none the one in which the network of
    inception.build_network is fastest here. It says which."""
    if asked != AUTO:
        return asked
    kept = kept_rows(folder, layer)
    if kept:
        precision = max(kept, key=lambda name: kept[name])
        log(
            f"--precision auto: {precision}, as {counted(kept[precision], 'bottleneck')} of {layer} "
            f"in {folder}"
        )
        return precision
    rates = measured_rates(network)
    precision = max(rates, key=lambda name: rates[name])
    told = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    log(f"--precision auto: {precision} (pictures a second here: {told})")
    return precision


def kept_rows(folder: str, layer: str) -> dict[str, int]:
    """{precision: how many bottlenecks of the layer, by whatever weights, a folder has of
    pictures as they are}, without those of which there are none."""
    rows: dict[str, int] = {}
    for said, count in bottleneck_cache.described(folder):
        precision = said.get("precision")
        distorted = said.keys() - OF_PLAIN_PICTURES
        if distorted or said.get("layer") != inception.block_name(layer):
            continue
        if precision in inception.PRECISIONS:
            rows[precision] = rows.get(precision, 0) + count
    return {precision: count for precision, count in rows.items() if count}


def measured_rates(network: Any) -> dict[str, float]:
    """{precision: pictures a second} of a network, decoding left out. A processor without bfloat16
    is not asked for it, since that would take minutes."""
    tf = load_tensorflow()
    gpu, rates = tf.config.list_physical_devices("GPU"), {}
    for precision in inception.PRECISIONS:
        if precision == "bfloat16" and not (gpu or inception.knows_bfloat16()):
            continue
        rates[precision] = bottlenecks.measure_rate(inception.make_forward(network, precision))
        gc.collect()
    return rates
