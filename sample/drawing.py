"""Pictures of the drawn catalogue: each product is a simple shape on a light ground.

In: a product's id, shape, cut (three digits) and first colour. Out: JPEG bytes, always the same
for a product. Leaves of one parent share a shape, so that pictures alone can't tell them apart
well.

    python -c "from sample.catalogue import *; import pathlib; \
        pathlib.Path('jeans.jpg').write_bytes(make_catalogue(1, 1).products[0].picture())"
"""

import io
import random

from PIL import Image, ImageDraw

JITTER = 0.25  # how far a product's cut strays from its leaf's
COLORS = {
    "Black": (32, 32, 36),
    "Ivory": (232, 224, 204),
    "Navy": (34, 48, 92),
    "Rust": (168, 78, 44),
    "Indigo": (62, 74, 128),
    "Grey": (136, 138, 142),
    "Red": (190, 36, 48),
    "Blush": (232, 178, 176),
    "Olive": (104, 108, 62),
    "Teal": (32, 122, 128),
    "Tan": (196, 154, 108),
    "Plum": (104, 48, 96),
    "Mustard": (214, 168, 52),
    "Sky": (136, 180, 218),
    "Crème": (240, 226, 190),
    "Rosé": (222, 140, 140),
}

# The shapes. Each takes the cut as three numbers from 0 to 1 and gives the parts to draw on a
# board 100 wide and 133 high: (form, points, tone); tone 0 is patterned, 1 its shade, 2 the ground.


def sides(*right, tone=0):
    """A polygon from its right half: (distance from the middle line, height)."""
    return "polygon", [(50 + x, y) for x, y in right] + [(50 - x, y) for x, y in right[::-1]], tone


def ellipse(x, y, rx, ry, tone=0):
    return "ellipse", [(x - rx, y - ry), (x + rx, y + ry)], tone


def legs(hem, length, fit):
    end, knee = 42 + 82 * length, 2 + 5 * fit
    return [
        sides(
            (14, 12),
            (18 + 5 * fit, 36),
            (13 + knee, 36 + (end - 36) * 0.6),
            (15 + 11 * hem, end),
            (9 - 7 * hem, end),
            (10 - knee, 36 + (end - 36) * 0.6),
            (1, 44),
        ),
        sides((14, 12), (14, 17), tone=1),
        ("line", [(50, 17), (50, 40)], 1),
        ("line", [(60, 20), (68, 27)], 1),
        ("line", [(40, 20), (32, 27)], 1),
    ]


def torso(sleeve, length, front):
    end, arm = 58 + 62 * length, 30 + 58 * sleeve
    parts = [
        sides((22, 25), (26 + 10 * sleeve, arm), (20 + 8 * sleeve, arm + 2), (18, 40)),
        sides((8, 18), (22, 25), (18, 48), (20 + 4 * length, end)),
    ]
    if front < 0.6:
        return parts + [sides((8 + 3 * front, 16), (0, 20 + 38 * front), tone=2)]
    parts += [
        sides((7, 17), (0, 38 + 18 * (1 - front)), tone=2),
        ("line", [(50, 40), (50, end)], 1),
    ]
    return parts + [ellipse(53, y, 1.2, 1.2, 1) for y in range(48, int(end) - 4, 11)]


def gown(top, length, flare):
    waist, hem = (20, 24) if top < 0.15 else (52, 44)
    end = waist + 22 + 56 * length
    parts = [
        sides((11, waist), (14 + 26 * flare, end)),
        sides((11, waist), (11, waist + 3), tone=1),
    ]
    if top >= 0.15:
        parts += [
            sides((14, 28), (15, 34), (11, waist)),
            ("line", [(38, 29), (40, 14)], 1),
            ("line", [(62, 29), (60, 14)], 1),
        ]
    if top > 0.55:
        parts.append(sides((13, 20), (22 + 8 * top, 24 + 36 * top), (17, 26 + 36 * top), (12, 34)))
    return parts


def wear(cups, seat, straps):
    parts = []
    if cups > 0.15:
        y = 40 - 8 * seat
        parts = [
            ellipse(50 - 13, y, 12, 6 + 8 * cups),
            ellipse(50 + 13, y, 12, 6 + 8 * cups),
            sides((26, y), (26, y + 6)),
        ]
        parts += [("line", [(x, y - 8), (x, y - 10 - 16 * straps)], 1) for x in (33, 67)]
    if seat > 0.65:
        parts.append(sides((22, 40), (17, 62), (24, 84)))
    if seat > 0.2:
        parts.append(sides((25, 80), (24, 82 + 14 * seat), (6, 104), (0, 106)))
    return parts


def shoe(heel, shaft, cover):
    back = 98 - 32 * heel
    parts = [
        (
            "polygon",
            [
                (14, 98),
                (16, 92 - 4 * cover),
                (50, back - 8 - 8 * cover),
                (66, back - 20),
                (86, back - 18),
                (86, back),
                (58, back + 4),
                (36, 98),
            ],
            0,
        ),
        (
            "polygon",
            [
                (14, 98),
                (36, 98),
                (60, back + 2),
                (86, back),
                (86, back + 3),
                (60, back + 6),
                (36, 101),
                (14, 101),
            ],
            1,
        ),
        ("polygon", [(86, back), (84 - 4 * heel, 101), (78 - 12 * cover, 101), (70, back)], 1),
    ]
    if shaft > 0.15:
        top = back - 20 - 50 * shaft
        parts.append(("polygon", [(60, back - 14), (62, top), (87, top), (86, back - 10)], 0))
    if cover > 0.45:
        parts += [("line", [(x, back - 2), (x + 8, back - 17)], 2) for x in (40, 50, 60)]
    return parts


def bag(width, height, handle):
    w, h = 18 + 24 * width, 18 + 46 * height
    top = 104 - h
    parts = [
        sides((w - 3, top), (w, 104)),
        sides((w - 3, top), (w - 4, top + h * 0.35), (0, top + h * 0.45), tone=1),
        ellipse(50, top + h * 0.45, 2, 2, 2),
    ]
    if handle > 0.05:
        lift = 4 + 56 * handle
        parts.append(("arc", [(50 - w * 0.6, top - lift), (50 + w * 0.6, top + lift)], 1))
    return parts


def flask(width, height, cap):
    w, h, c = 8 + 26 * width, 22 + 60 * height, 26 * cap
    top = 112 - h
    return [
        sides((w * 0.5, top - c), (w * 0.5, top), tone=1),
        sides((w * 0.8, top), (w, top + 5), (w, 112)),
        sides((w * 0.7, top + h * 0.35), (w * 0.7, top + h * 0.75), tone=2),
    ]


def stick(thick, length, head):
    w, end = 2 + 10 * thick, 66 + 48 * length
    return [
        sides((w, 66), (w * 0.8, end), tone=1),
        sides((w + 4 * head, 66 - 44 * length), (w + 12 * head, 66 - 20 * head), (w, 66)),
    ]


def pans(count, height, tall):
    n, h = 1 + int(3 * count), 10 + 24 * height
    r = 34 / n
    parts = [sides((40, 66 - h - 6), (40, 66 + h + 6))]
    return parts + [
        ellipse(50 + r * (2 * i - n + 1), 66, r - 2, h * (0.6 + 0.4 * tall), i % 2 + 1)
        for i in range(n)
    ]


def band(height, width, tail):
    h, w = 3 + 22 * height, 14 + 30 * width
    parts = [sides((w, 62 - h), (w, 62 + h)), ellipse(50 - w * 0.6, 62, 5, h + 2, 1)]
    if tail > 0.15:
        parts.append(sides((w * 0.6, 62), (w * 0.5, 62 + 55 * tail)))
    return parts


def ring(size, stone, count):
    r, n = 8 + 30 * size, int(6 * count)
    parts = [ellipse(50, 64, r, r), ellipse(50, 64, r * 0.8, r * 0.8, 2)]
    parts += [
        ellipse(50 + (i - n / 2 + 0.5) * 9, 64 + r, 3 + 5 * stone, 4 + 9 * stone, i % 2)
        for i in range(n)
    ]
    return parts


SHAPES = {
    "legs": legs,
    "torso": torso,
    "gown": gown,
    "wear": wear,
    "shoe": shoe,
    "bag": bag,
    "flask": flask,
    "stick": stick,
    "pans": pans,
    "band": band,
    "ring": ring,
}


def cloth(rng, color, size):
    """A picture full of the product's color: plain, striped, checked or dotted."""
    other = tuple(min(255, int(v * 0.7 + 70)) for v in color)
    image = Image.new("RGB", size, color)
    draw, step, look = ImageDraw.Draw(image), 14 + int(rng.random() * 30), rng.random()
    for y in range(0, size[1], step):
        if 0.55 < look < 0.75 or look > 0.92:
            draw.line([(0, y), (size[0], y)], other, 5)
        if 0.75 < look < 0.82 or look > 0.92:
            draw.line([(y, 0), (y, size[1])], other, 5)
        if 0.82 < look < 0.92:
            for x in range(0, size[0], step):
                draw.ellipse([x, y, x + 7, y + 7], other)
    return image


def draw_picture(product, width=246, height=328):
    """JPEG bytes of the product on a light ground; drawn at twice the size to smooth the edges."""
    rng = random.Random(f"picture of {product.id}")
    color, size = COLORS[product.colors[0]], (2 * width, 2 * height)
    ground = tuple(225 + int(rng.random() * 30) for _ in "rgb")
    shade, shadow = tuple(int(v * 0.55) for v in color), tuple(int(v * 0.8) for v in ground)
    cut = [min(1, max(0, c / 9 + JITTER * (rng.random() - 0.5))) for c in product.cut]
    zoom = size[0] / 100 * (0.8 + 0.2 * rng.random())
    left = size[0] / 2 - 50 * zoom + 40 * (rng.random() - 0.5)
    top = size[1] / 2 - 66 * zoom + 40 * (rng.random() - 0.5)
    image, mask = Image.new("RGB", size, ground), Image.new("L", size)
    parts = SHAPES[product.shape](*cut)
    draw, stencil = ImageDraw.Draw(image), ImageDraw.Draw(mask)

    def put(canvas, form, points, fill):
        points = [(left + x * zoom, top + y * zoom) for x, y in points]
        if form == "arc":
            canvas.arc(points, 180, 360, fill, 9)
        elif form == "line":
            canvas.line(points, fill, 4)
        elif form == "polygon":
            canvas.polygon(points, fill)
        else:
            canvas.ellipse(points, fill)

    for form, points, tone in parts:
        if tone == 0:
            put(stencil, form, points, 255)
    image.paste(shadow, (8, 8), mask)  # without it ivory could not be told from the ground
    image.paste(cloth(rng, color, size), mask=mask)
    for form, points, tone in parts:
        if tone:
            put(draw, form, points, shade if tone == 1 else ground)
    data = io.BytesIO()
    image.reduce(2).save(data, "JPEG", quality=85)
    return data.getvalue()
