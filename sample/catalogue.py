r"""A drawn catalogue for the stand-in shop: invented products, filed as a real shop files them.

In: how many leaves, how many products in each, a seed, and the tree in results/categories.txt.
Out: a Catalogue of categories and products. The same arguments give the same catalogue, and the
first products of a leaf are the same however many follow. Pictures are drawn when asked for.

It is hard on purpose: neighbouring leaves share words, words are missing, products stand in two
leaves or in the wrong one, colors of one style share their text, texts hold HTML or are empty.

    python -c "from sample.catalogue import *; print(*make_catalogue(3, 4).products, sep='\n')"
    python -c "from sample.catalogue import *; import pathlib; \
        pathlib.Path('jeans.jpg').write_bytes(make_catalogue(1, 1).products[0].picture())"
"""

import random
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for scripts in any folder
from sample.drawing import COLORS, draw_picture  # noqa: E402

ROOT = "clothes-shoes-and-jewelry"  # above women, as at the real shop
TREE = Path(__file__).resolve().parents[1] / "results" / "categories.txt"
FIRST = (
    "bootcut-jeans skinny-jeans clutches tote-bags flare-jeans satchels cocktail-dresses"
    " day-dresses evening-dresses pumps sandals boots"
).split()  # 12 leaves, 4 parents

# What a leaf's products are called and look like. A line that starts with ">" gives the pool of
# words, the shape and the nouns of the leaves after it; a noun with "?" is used only if no cue is
# named. Then follow the leaf, three digits for the cut of the shape, and its cues. "<parent"
# borrows another parent's cues and shapes. So do sections: petite-jeans may be bootcut, as jeans.
KINDS = """
> denim legs jeans/jean/denim
bootcut-jeans 593 bootcut, slim boot, baby boot, kick hem; cropped-jeans 263 cropped, capri, ankle;
distressed-jeans 395 distressed, ripped, destroyed, faded; flare-jeans 993 flare, bell bottom, kick
hem; relaxed-jeans 698 relaxed, boyfriend, loose, slouchy; skinny-jeans 191 skinny, legging fit,
ankle; straight-leg-jeans 494 straight leg, cigarette, slim straight; stretch-jeans 293 stretch,
pull-on, jegging
> cloth gown dress/style
cocktail-dresses 534 cocktail, party, sequin, fit-and-flare; evening-dresses 593 evening, gown,
floor-length, sequin; day-dresses 846 day, shirtdress, sundress, fit-and-flare; bridal-gowns 399
bridal, wedding, gown, train
> cloth gown skirt/style
mini-skirts 014 mini, skater, a-line; mid-length-skirts 053 midi, pencil, a-line, knee-length;
long-skirts 095 maxi, long, tiered
> cloth legs pants/trousers
casual-pants 496 casual, chino, drawstring, cargo; cropped-pants 364 cropped, capri, ankle; leggings
090 leggings, ponte, stretch; skinny-pants 192 skinny, slim, ankle, ponte; wide-leg-pants 997 wide
leg, palazzo, flowing; shorts 525 shorts, bermuda, chino; womens-suits 597 suit, pantsuit,
two-piece, tailored
> cloth torso jacket/layer
blazers 756 blazer, tailored, single-breasted; casual-jackets 758 bomber, utility, field, anorak;
vests 049 vest, gilet, sleeveless; leather-jackets 848 leather, moto, biker; denim-jackets 737
denim, trucker
> cloth torso coat/layer
coats 886 coat, topcoat, duster, swing; fur-and-shearling-coats 979 fur, shearling, faux-fur,
shaggy; leather-and-suede-coats 867 leather, suede, biker; puffer-coats 869 puffer, quilted, down,
hooded; raincoats-and-trenchcoats 897 trench, raincoat, belted, water-resistant; wool-coats 887
wool, peacoat, boiled wool, double-breasted
> knit torso sweater/knit
cardigan-sweaters 859 cardigan, open-front, button-up; cashmere-sweaters 842 cashmere, two-ply,
featherweight; crewneck-sweaters 841 crewneck, pullover, round neck; v-neck-sweaters 845 v-neck,
pullover, plunging; turleneck-sweaters 840 turtleneck, funnel neck, roll neck; sweatshirts 853
sweatshirt, hoodie, fleece
> cloth torso top/shirt
button-front-tops 748 blouse, button-front, button-down; camisole-tops 034 camisole, cami, spaghetti
strap; cashmere-tops 743 cashmere, featherweight, fine-gauge; halter-tops 035 halter, tie-neck,
backless; longsleeve-tops 842 long-sleeve, henley, layering; shortsleeve-tops 342 short-sleeve,
cap-sleeve, boxy; sleeveless-tops 143 sleeveless, shell, mock neck; tank-tops 045 tank, racerback,
ribbed; tees-and-tshirts 341 tee, t-shirt, graphic, crew; tunic-tops 653 tunic, kaftan, handkerchief
hem; polo-tops 348 polo, pique, collared
> lace wear lingerie/piece
bras 605 bra, underwire, plunge, balconette; panties 064 brief, boyshort, hipster; thongs 033 thong,
g-string, low-rise; shapewear 797 shaper, smoothing, control, slimming
> lace gown lingerie/sleepwear
camisoles 422 camisole, cami, spaghetti strap; chemises 434 chemise, slip, babydoll; gowns 475
nightgown, gown, nightshirt; robes 969 robe, kimono, wrap
> lace legs hosiery/sleepwear
hosiery 090 tights, pantyhose, sheer, control top; pajamas 697 pajama, sleep set, lounge; socks 030
socks, crew, ankle, knee-high
> shoe shoe shoes?/shoe?
slippers 006 slipper, moccasin, faux-fur; shoes-athletic 121 running shoe, trainer, cushioned; boots
382 boot, bootie, ankle; evening-shoes 805 evening sandal, d'orsay, satin pump, stiletto; flats 003
flat, ballet, loafer; mules-and-clogs 304 mule, clog, slide; platforms 915 platform, stacked,
chunky; pumps 803 pump, pointed toe, stiletto, d'orsay; sandals 108 sandal, gladiator, slide,
strappy; womens-sneakers 130 sneaker, trainer, slip-on, lace-up; wedges 716 wedge, espadrille,
platform, strappy
> bag bag bag?/handbag?
backpacks 476 backpack, rucksack, drawstring; clutches 510 clutch, envelope, foldover, minaudiere;
evening-handbags 423 evening bag, minaudiere, crystal, satin; hobo-bags 758 hobo, slouchy, crescent;
satchels 665 satchel, top-handle, structured; shoulder-bags 547 shoulder bag, crossbody, flap;
tote-bags 877 tote, shopper, east-west, structured; wallets 320 wallet, billfold, zip-around, card
case; makeup-travel-bags 611 cosmetic case, travel bag, pouch, zip-around
> bag band accessory?/piece?
belts 108 belt, skinny, buckle, braided; scarves 731 scarf, wrap, infinity, pashmina; hats 974 hat,
fedora, beanie, floppy; gloves 552 gloves, touchscreen, mitten; hair-accessories 433 headband,
barrette, hair clip, crown
> bag flask accessory?/piece?
womens-tech-accessories 670 phone case, tablet sleeve, earbuds, charger
> metal ring accessory?/piece?
key-chains 216 key chain, key fob, key ring, charm; sunglasses 318 sunglasses, aviator, cat-eye,
polarized
> sport torso top?/gear?
athletic-jackets 857 <jackets track jacket, windbreaker, running; athletic-tops 343 <womens-tops
training, wicking, workout, running
> sport legs pants?/gear?
athletic-pants 393 <womens-pants yoga, running, workout, jogger; athletic-shorts 521 training short,
running, workout
> sport wear gear?/bra?
sports-bras-and-underwear 703 sports bra, racerback, high impact, workout
> cloth wear swimsuit/swimwear
one-piece-swimsuits 797 one-piece, maillot, tank; two-piece-swimsuits 636 bikini, tankini, triangle,
bandeau
> cloth gown coverup/swimwear
swimsuit-coverups 726 cover-up, kaftan, sarong, beach tunic
> metal ring jewelry?/piece?
diamond-bracelets 529 diamond bracelet, diamond bangle, tennis; diamond-earrings 139 diamond
earring, diamond stud, diamond hoop; diamond-necklaces 849 diamond necklace, diamond pendant,
solitaire; diamond-rings 239 diamond ring, engagement, solitaire; bracelets 552 bracelet, bangle,
cuff; charms 126 charm, bead, dangle; earrings 153 earring, stud, hoop, drop; necklaces 844
necklace, pendant, choker; brooches-and-pins 137 brooch, pin, lapel; rings 253 ring, stackable,
band; watches 488 watch, chronograph, quartz, dial
> cloth wear style?/piece?
maternity- 757 maternity, nursing, bump; petite- 332 petite, shorter length; plus-size- 869 plus
size, curvy, full figure; teen-girls- 441 juniors, teen, girls
> care flask beauty?/care?
bath-shower-gel 593 shower gel, bath, foaming, body wash; body-lotions-creams 674 body lotion, body
butter, hydrating; hand-treatments 284 hand cream, hand, cuticle, hydrating; perfume 545 eau de
parfum, fragrance, spray, notes; hair-scalp-treatments 582 scalp, hair mask, deep conditioner;
hair-styling-products 393 hairspray, pomade, styling, mousse; face-cleansers 484 cleanser, face
wash, foaming, micellar; face-moisturizers 643 moisturizer, day cream, hydrating, face;
face-anti-aging 445 anti-aging, serum, wrinkle, firming, hydrating, face; face-masks 833 face mask,
clay, peel-off, purifying; spf-15-above 383 sunscreen, spf 30, broad spectrum, face; nail-polish 249
nail polish, lacquer, top coat, manicure
> care stick tool?/beauty?
blow-dryers-irons 881 blow dryer, flat iron, ceramic, curling; hair-styling-tools-brushes-combs 664
hair brush, comb, bristle, detangling; brushes-applicators-face 396 powder brush, applicator,
sponge, bristle; beauty-tools-skincare-tools 748 facial roller, cleansing brush, tweezer, sponge
> care stick makeup?/beauty?
eyeliner 192 eyeliner, kohl, liquid liner, pencil; mascara 386 mascara, lash, volumizing; lip-gloss
464 lip gloss, shine, lip; lipstick 643 lipstick, matte, satin finish, lip; lip-pencils 182 lip
liner, lip pencil, pencil, lip
> care pans makeup?/beauty?
eye-shadow 826 eye shadow, palette, shimmer, pigment; blush 383 blush, cheek, bronzer, shimmer
"""

# Pool: materials; details; occasions; sizes.
POOLS = """
denim: cotton, stretch denim, rigid denim, indigo twill, elastane; five pockets, whiskering, frayed
 hem, rivets, zip fly, back yoke; the weekend, every day, the city; 24 25 26 27 28 29 30 31 32
cloth: cotton, silk, crepe, viscose, linen, jersey, georgette; pleats, side zip, full lining,
 ruffles, pockets, piping; the office, brunch, travel, holidays; XXS XS S M L XL
knit: merino, cashmere, lambswool, cotton, alpaca; ribbed trim, cable stitch, elbow patches, side
 slits; cool evenings, the weekend, layering; XS S M L XL
lace: lace, microfiber, satin, mesh, modal; scalloped edge, bow, lace trim, seamless finish,
 straps; lounging, every day, the boudoir; 32B 34A 34B 34C 36C S M L
shoe: suede, calfskin, patent leather, canvas, nubuck; rubber sole, padded insole, buckle, almond
 toe, heel, ankle strap; the pavement, parties, summer days; 5 6 6.5 7 7.5 8 9 10
bag: leather, pebbled leather, canvas, nylon, calfskin; gold hardware, magnetic snap, chain, zip
 pocket, lining, tassel; the commute, a night out, travel; One-Size
metal: sterling silver, 14k gold, rose gold, brass, steel; lobster clasp, pave stones, hinge,
 polished finish, engraving; gifts, anniversaries, every day; One-Size
sport: polyester, spandex, mesh, recycled nylon; flat seams, reflective trim, hidden pocket, mesh
 panels; the gym, trail, studio; XS S M L XL
care: aloe, shea butter, vitamin e, jojoba oil, argan oil, rose water; dermatologist tested,
 paraben free, fragrance free, travel size; dry skin, sensitive skin, every morning, a polished
 look; 30ml 50ml
"""
SYLLABLES = "al bri cor den el fa gor hal is jun lo mar nes or pel quin ros sel tor ul ven".split()
ENDINGS = "a o e ley ford is more wick ette ina ay en".split()
MARKS = (
    "{}",
    "{}",
    "{}",
    "{}",
    "Señorita {}",
    "Café {}",
    "{} & Daughters",
    "Maison {}",
    "{} Été",
    "{} Studio",
)
ADJECTIVES = (
    "soft easy classic modern refined polished vintage bold delicate everyday sleek chic"
    " effortless signature textured lightweight iconic versatile timeless"
).split()
PLAIN = (
    "{A} {thing} in {m} with {d}.",
    "{A} and {a}, with {d} and {d2}.",
    "Made for {w}, in {m}.",
    "Our {a} {thing}, finished with {d}.",
    "{m}, {d}: ready for {w}.",
)
CUED = (
    "Our {a} take on {c}.",
    "{c} styling meets {m}.",
    "The season's {c} favourite.",
    "Think {c}, with {d}.",
    "Reworked {c} {thing} for {w}.",
)
BOILERPLATE = (
    "Style Number {n}.",
    "Imported.",
    "Machine wash.",
    "Do not tumble dry.",
    'Measures {k}" long.',
    "Color(s): {colors}.",
    "Brand: {brand}.",
    "From the {coined} collection.",
    "{k}% {m}.",
    "Runs true to size; model is 5'10\".",
    "Free shipping on orders over ${k}.",
)
HOSTILE = {
    ("bootcut-jeans", 3): ("", " <script>alert('a description was not escaped')</script>"),
    ("clutches", 5): (" <script>alert('a name was not escaped')</script>", ""),
}

# Shares of the products, tuned so that bags of words do about as well as on the real shop's.
MISFILED, FAR_OFF = 0.02, 0.3  # in a wrong leaf; of those, in one picked from the whole tree
EXCUSED = 0.6  # of those, the share that names a cue of where it is filed as well
SHARED = 0.15  # listed in a second leaf as well (a fifth of them in a third)
VARIANT = 0.12  # another color of the style before: same text, other picture
VAGUE, MIXED = 0.03, 0.16  # names no cue of its leaf; names a cue of a neighbour as well
MORE, SECTION = 0.7, 0.98  # one more cue; a petite jean says that it is petite
NAMED, KNOWN = 0.6, 0.35  # its name holds a cue; its brand is one of its parent's
BARE, PICTURELESS = 0.03, 0.005  # description empty or only a price; no picture
BRANDS = 12  # a parent


class Category(NamedTuple):
    id: str
    name: str
    parent_id: str | None


class Kind(NamedTuple):
    """What the products of one leaf have in common."""

    leaf: str
    parent: str
    pool: str
    shape: str
    nouns: list
    cut: tuple
    cues: list
    bases: list  # the leaves it borrows from, if it is a section such as petites


class Product(NamedTuple):
    id: int
    name: str
    description: str
    categories: tuple  # leaf ids; the first is where it is filed
    brand: str
    price: float
    colors: tuple  # of the style; the first is the one in the picture
    sizes: tuple
    shape: str
    cut: tuple
    has_picture: bool

    def picture(self):
        """JPEG bytes, drawn anew each time, or None when the shop has no picture of it."""
        return draw_picture(self) if self.has_picture else None


class Catalogue(NamedTuple):
    categories: list
    products: list


def read_kinds(paths):
    """The table above as {leaf: Kind}, in the order of the paths."""
    parents = {path.split("/")[-1]: path.split("/")[-2] for path in paths}
    table = {}
    for block in KINDS.split(">")[1:]:
        head, body = block.split("\n", 1)
        for entry in body.split(";"):
            leaf, cut, cues = " ".join(entry.split()).split(" ", 2)
            table[leaf] = head.split(), cut, cues
    kinds = {}
    for leaf, parent in parents.items():
        entry, borrowed = leaf, ""  # the parent whose leaves it borrows from
        if leaf not in table:  # a section, such as petite-jeans
            section, borrowed = leaf.rsplit("-", 1)
            entry = f"{section}-"
        (pool, shape, nouns), cut, cues = table[entry]
        if cues.startswith("<"):
            borrowed, cues = cues[1:].split(" ", 1)
        bases = [
            base
            for base, base_parent in parents.items()
            if base_parent in (borrowed, f"womens-{borrowed}")
        ]
        kinds[leaf] = Kind(
            leaf,
            parent,
            pool,
            shape,
            nouns.split("/"),
            tuple(map(int, cut)),
            cues.split(", "),
            bases,
        )
    return kinds


def read_pools():
    """{pool: (materials, details, occasions, sizes)}"""
    pools = {}
    for line in POOLS.replace("\n ", " ").strip().split("\n"):
        name, rest = line.split(": ")
        *words, sizes = rest.split("; ")
        pools[name] = *(tuple(part.split(", ")) for part in words), tuple(sizes.split())
    return pools


def coin(rng):
    """An invented name, such as Cormarley."""
    return "".join(map(rng.choice, (SYLLABLES, SYLLABLES, ENDINGS))).capitalize()


def make_brands(seed, kinds):
    """{parent: its brands}: a brand sells mostly products of one parent."""
    brands = {kind.parent: [] for kind in kinds.values()}
    for parent, names in brands.items():
        rng = random.Random(f"{seed}/brands/{parent}")
        names.extend(rng.choice(MARKS).format(coin(rng)) for _ in range(BRANDS))
    return brands


def write_texts(rng, kind, cues, words, brand, colors):
    """Name and description of one style. Without cues only the words of its pool tell its leaf."""
    pick, chance = rng.choice, rng.random
    materials, details, occasions, _ = words
    noun = pick(kind.nouns)
    thing = noun.strip("?")
    if cues and chance() < NAMED:
        thing = cues[0] if noun.endswith("?") else f"{cues[0]} {thing}"
    name = f"{brand} {pick((pick(ADJECTIVES), pick(materials), coin(rng)))} {thing}".title()
    name = name.replace("'S", "'s").replace("'O", "'o")
    if chance() < BARE:
        return name, pick(("", f"{round(chance() * 900)}.0"))
    templates = [pick(PLAIN) for _ in range(1 + int(chance() * 3))]
    templates += [pick(BOILERPLATE) for _ in range(int(chance() * 4))]
    sentences = []
    for template in templates:
        sentences.append(
            template.format(
                thing=pick(kind.nouns).strip("?"),
                m=pick(materials),
                d=pick(details),
                d2=pick(details),
                w=pick(occasions),
                a=pick(ADJECTIVES),
                A=pick(ADJECTIVES).capitalize(),
                brand=brand,
                n=int(chance() * 90000) + 10000,
                k=int(chance() * 90) + 10,
                coined=coin(rng),
                colors=", ".join(colors),
            )
        )
    for cue in cues:
        sentences.insert(
            0,
            pick(CUED).format(
                c=cue,
                a=pick(ADJECTIVES),
                m=pick(materials),
                d=pick(details),
                w=pick(occasions),
                thing=thing,
            ),
        )
    sentences = [sentence[0].upper() + sentence[1:] for sentence in sentences]
    look = chance()
    if look < 0.15:
        items = "".join(f"<li>{sentence}</li>" for sentence in sentences[1:])
        return name, f"{sentences[0]} <ul>{items}</ul>"
    text = " ".join(sentences)
    if look < 0.25:
        text = text.replace("&", "&amp;").replace(",", "&comma;").replace("'", "&apos;")
        text = text.replace("é", "&eacute;")
    return name, text


def choose_cues(rng, kind, base, neighbour, mixed):
    """The words that tell a product's leaf: none, a few, or a neighbour's as well."""
    luck = rng.random()
    if luck < VAGUE:
        return []
    cues = [rng.choice(base.cues)]
    while rng.random() < MORE:
        cues.append(rng.choice(base.cues))
    if kind is not base and rng.random() < SECTION:
        cues.insert(int(rng.random() * 2), rng.choice(kind.cues))
    if luck < VAGUE + mixed:
        cues.insert(int(rng.random() * 2), rng.choice(neighbour.cues))
    return cues


def make_style(rng, leaf, kinds, near, pools, brands):
    """A product that has no id yet. Its other colors will share all but the id and the picture."""
    pick, chance = rng.choice, rng.random
    leaf_kind = kind = kinds[leaf]  # of where it is filed, and of what it really is
    if chance() < MISFILED:
        far = chance() < FAR_OFF
        kind = pick([other for other in kinds.values() if far or other.parent == leaf_kind.parent])
    base = kinds[pick(kind.bases)] if kind.bases else kind
    listed = (leaf,)
    if near and chance() < SHARED:
        listed = (leaf, pick(near), pick(near)) if chance() < 0.2 else (leaf, pick(near))
    if kind is not leaf_kind:
        neighbour = leaf_kind
    elif listed[1:]:
        neighbour = kinds[listed[1]]
    else:
        neighbour = kinds[pick(near or [leaf])]
    words = pools[base.pool]
    brand = pick(brands[leaf_kind.parent]) if chance() < KNOWN else coin(rng)
    colors = tuple(dict.fromkeys(pick(list(COLORS)) for _ in range(3)))
    cues = choose_cues(rng, kind, base, neighbour, MIXED if kind is leaf_kind else EXCUSED)
    name, description = write_texts(rng, base, cues, words, brand, colors)
    cut = base.cut if base is kind else tuple((2 * x + y) // 3 for x, y in zip(base.cut, kind.cut))
    return Product(
        0,
        name,
        description,
        tuple(dict.fromkeys(listed)),
        brand,
        round(15 + 300 * chance() ** 3) - 0.05,
        colors,
        words[3],
        base.shape,
        cut,
        chance() >= PICTURELESS,
    )


def stock(leaf, per_leaf, seed, kinds, near, pools, brands):
    """The products filed in a leaf. Each has its own random numbers, so that more products do not
    change the first ones."""
    first_id, style = 500_000_000 + 1_000_000 * list(kinds).index(leaf), None
    for number in range(per_leaf):
        rng = random.Random(f"{seed}/{leaf}/{number}")
        if style and len(style.colors) > 1 and rng.random() < VARIANT:
            style = style._replace(colors=style.colors[1:] + style.colors[:1])
        else:
            style = make_style(rng, leaf, kinds, near, pools, brands)
        after_name, after_text = HOSTILE.get((leaf, number), ("", ""))
        yield style._replace(
            id=first_id + number,
            name=style.name + after_name,
            description=style.description + after_text,
        )


def make_catalogue(leaves=12, per_leaf=60, seed=1):
    """A Catalogue of so many leaves with so many products filed in each."""
    paths = TREE.read_text(encoding="utf-8").split()
    if not 1 <= leaves <= len(paths) or not 1 <= per_leaf <= 1_000_000:
        raise ValueError(f"leaves must be 1 to {len(paths)}, products a leaf 1 to 1,000,000")
    kinds, pools = read_kinds(paths), read_pools()
    brands = make_brands(seed, kinds)
    chosen = (FIRST + [leaf for leaf in kinds if leaf not in FIRST])[:leaves]
    categories = {ROOT: Category(ROOT, "Clothes, Shoes & Jewelry", None)}
    for path in paths:
        slugs = ["women"] + path.split("/")
        if slugs[-1] in chosen:
            for parent, slug in zip([ROOT] + slugs, slugs):
                categories[slug] = Category(slug, slug.replace("-", " ").title(), parent)
    products = []
    for leaf in chosen:
        parent, bases = kinds[leaf].parent, kinds[leaf].bases
        near = [
            other
            for other in chosen
            if other != leaf
            and (kinds[other].parent == parent or leaf in kinds[other].bases or other in bases)
        ]
        products.extend(stock(leaf, per_leaf, seed, kinds, near, pools, brands))
    return Catalogue(list(categories.values()), products)
