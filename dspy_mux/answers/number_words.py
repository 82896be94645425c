"""Words of numbers: `twelve`, `million`, `lakh`, `percent`, units, and words that turn a number.

The lists are data; `numeral_grammar.py` reads them.
"""

from __future__ import annotations

from fractions import Fraction


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


def _numbered(words: str, start: int = 0, step: int = 1) -> dict[str, int]:
    return {word: start + step * at for at, word in enumerate(words.split())}


UNITS = _numbered("zero one two three four five six seven eight nine")
TEENS = _numbered(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 10
)
TENS = _numbered("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10) | {"fourty": 40}
ORDINALS = _numbered("first second third fourth fifth sixth seventh eighth ninth tenth eleventh "
                     "twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth "
                     "nineteenth twentieth", 1) | {
    "thirtieth": 30, "fortieth": 40, "fiftieth": 50, "hundredth": 100, "thousandth": 1000,
    "millionth": 10**6, "billionth": 10**9,
}  # fmt: skip
#: The words of a fraction after its count. "Seconds" are a time.
PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    word + plural: value
    for word, value in ORDINALS.items()
    if value > 2
    for plural in ("", "s")
}  # fmt: skip
#: "3 quarters" may be coins, and "2 halves" of a match.
COINS = ("quarter", "quarters")

_POWERS: dict[int, str] = {
    2: "hundred hundreds सौ 百",
    3: "thousand thousands tausend mille mila duizend tusen tys tys. тыс тыс. тысяч тысячи тысяча "
    "हज़ार हजार 千",
    4: "万 萬 만",
    5: "lakh lakhs lac lacs लाख",
    6: "million millions mio mio. mln mln. mn millionen millionär millón millones milione milioni "
    "milhão milhões miljoen miljoner miljon millioner milyon миллион миллиона миллионов млн млн. "
    "мільйон мільйонів",
    7: "crore crores करोड़ करोड",
    8: "亿 億 억",
    9: "billion billions bn bln milliard milliards milliarde milliarden mrd mrd. mld mld. miliardo "
    "miliardi miljard miljarder miljarden milyar миллиард миллиарда миллиардов млрд млрд. "
    "mil_millones",
    12: "trillion trillions tn trn bio. billionen billones biliardi 兆 조 万亿 триллион триллиона "
    "триллионов",
    15: "quadrillion quadrillions",
    18: "quintillion",
}
SCALES = {word: 10**power for power, words in _POWERS.items() for word in words.split()} | {
    "dozen": 12, "dozens": 12
}  # fmt: skip
#: Letters after a number, as written, that are a scale where they touch it.
TOUCHING = {"k": 1000, "K": 1000, "M": 10**6, "bn": 10**9, "B": 10**9, "mn": 10**6, "Mn": 10**6,
            "mio": 10**6, "Mio": 10**6, "Bn": 10**9, "BN": 10**9, "MM": 10**6, "tn": 10**12,
            "Cr": 10**7, "cr": 10**7}  # fmt: skip
#: Letters that are a scale only after an amount of money: "$5 m", but 5 m are metres.
OF_MONEY = {"k": 1000, "K": 1000, "m": 10**6, "M": 10**6, "b": 10**9, "B": 10**9, "bn": 10**9,
            "mn": 10**6, "t": 10**12, "T": 10**12, "tn": 10**12, "mm": 10**6, "MM": 10**6,
            "L": 10**5, "Cr": 10**7, "cr": 10**7}  # fmt: skip

_PERCENT = (
    "percent percents percentage pct pct. pc prozent procent prosent percento porcento porciento "
    "процент процента процентов प्रतिशत パーセント 퍼센트"
)
SHARES = {word: Fraction(1, 100) for word in _PERCENT.split()} | {
    "%": Fraction(1, 100), "٪": Fraction(1, 100), "‰": Fraction(1, 1000),
    "‱": Fraction(1, 10_000), "permille": Fraction(1, 1000), "promille": Fraction(1, 1000),
    "bps": Fraction(1, 10_000), "bp": Fraction(1, 10_000), "pp": Fraction(1, 100),
}  # fmt: skip
#: Two words that are one: per cent, basis points.
SHARES_IN_TWO = {
    ("per", "cent"): Fraction(1, 100), ("pour", "cent"): Fraction(1, 100),
    ("por", "ciento"): Fraction(1, 100), ("por", "cento"): Fraction(1, 100),
    ("per", "cento"): Fraction(1, 100), ("per", "mille"): Fraction(1, 1000),
    ("per", "mil"): Fraction(1, 1000), ("pro", "mille"): Fraction(1, 1000),
    ("basis", "point"): Fraction(1, 10_000), ("basis", "points"): Fraction(1, 10_000),
    ("percentage", "point"): Fraction(1, 100), ("percentage", "points"): Fraction(1, 100),
}  # fmt: skip
SHARES_BEFORE = ("%", "yüzde", "百分之", "百分の")

#: Units that may touch their number, or stand after it as single letters.
UNIT = words(
    "kgs gms cms kms mls kmh sqft usd km2 m g s h l L V A W J N C F t d b kg mg cm mm km nm dm "
    "ml mL cl dl lb lbs oz ft in yd mi hr hrs min mins sec secs ms ns us kW kWh MW MWh GW GWh "
    "TWh kV mA mV kHz MHz GHz Hz KB MB GB TB PB kB kb Mb Gb K Pa kPa MPa hPa bar N kN kJ MJ "
    "kcal cal Cal eV keV MeV GeV TeV mol mmol M mM dB rpm mph kmh kph fps dpi px pt em rem deg "
    "rad gal qt pts ea pcs pc yr yrs mo wk wks c ct cts p hp ppm ppb BTU lx lm cd sq cu ha ac "
    "kt Mt MT Gt HT TTC st gr μm μs μg μL Ω kΩ MΩ µm µs µg US EA usd USD eur EUR gbp GBP "
    "inr INR jpy JPY cny CNY rmb RMB chf CHF cad CAD aud AUD kr Kr Kč zł Ft Rs Lei lei руб руб. "
    "грн р Tk BTC ETH Wh Ah mAh Nm Bq Sv Gy"
)
#: Units whose larger and smaller ones are written one after the other: 5 ft 11 in, 2 h 30 min.
STEPPED = words(
    "h hr hrs hour hours min mins minute minutes m s sec secs second seconds day days d week "
    "weeks month months year years yr yrs ft foot feet in inch inches ' lb lbs pound pounds oz "
    "ounce ounces st stone stones dollar dollars euro euros deg degree degrees ° km kg cm "
    "gallon gallons quart quarts pint pints cup cups yard yards mile miles dozen dozens"
)
#: Amounts whose hundredths have a name: 3 dollars 50 cents.
WHOLE_MONEY = words("$ dollar dollars euro euros € pound pounds £ us$")
HUNDREDTHS = words("c cent cents ¢ p pence ct")
#: Single letters that are words.
WORD_LETTERS = frozenset("aI")
#: Functions and constants: no plain words, however long.
MATHEMATICAL = words(
    "pi sqrt sin cos tan cot sec csc log ln exp mod theta alpha beta gamma delta lambda sigma "
    "omega arcsin arccos arctan sinh cosh tanh root infinity infty choose"
)

MONTHS = words(
    "January February March April May June July August September October November December Jan "
    "Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec Januar Februar März Mai Juni Juli Oktober "
    "Dezember janvier février mars avril mai juin juillet août septembre octobre novembre "
    "décembre enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre"
)
CLOCK = words("am pm a.m p.m a.m. p.m. o'clock oclock uhr")
#: A position that answers: "in 6th place".
MODIFIERS = words("d'ici dans pour for per in at within every each after during from with on over")
PLACES = words("place position")
DATE_SIGNS = frozenset("月日号时点分秒時月일시분월")
YEAR_SIGNS = frozenset("年년")
#: Minutes and hours that last, rather than a time of day.
DURATIONS = ("分钟", "分鐘", "分間", "时间", "時間", "秒钟", "시간", "日間")
STREETS = words("Street St Road Rd Avenue Ave Lane Ln Drive Dr Boulevard Blvd Way")
VAGUE = words("several few many some couple of")

#: "more than 5" is a bound, no number.
BOUNDS = words(
    "above below under over exceeds exceed exceeding exceeded beyond until till underneath "
    "minimum maximum"
)
BOUNDS_OF_MANY = words(
    "at_least at_most up_to more_than less_than fewer_than greater_than larger_than "
    "smaller_than higher_than lower_than bigger_than older_than younger_than longer_than "
    "shorter_than other_than_about no_more_than minimum_of maximum_of not_exceeding as_many_as "
    "as_much_as than_or_equal"
)
BOUNDS_AFTER = words(
    "or_more or_less or_fewer or_higher or_lower or_greater or_above or_below or_over or_under "
    "or_better or_worse or_up or_larger or_smaller at_least at_most and_above and_up and_over "
    "and_below below_zero and_more and_counting or_older or_younger or_longer or_later"
)
NEGATIONS = words("not never neither nor isn't aren't wasn't without except excluding")
INSTEAD = words("rather_than instead_of other_than apart_from except_for as_opposed_to")
WRONG = words("wrong incorrect not too never")
DOUBTS = words("possibly maybe perhaps probably or")
#: The number of a step or figure is its name.
LABELS = words(
    "step steps equation eq eqn figure fig table section sec chapter page pages footnote note "
    "ref reference example problem question exercise line lemma theorem proposition case row "
    "column version appendix paragraph item method approach rule iteration round attempt"
)
COPULAS = words(
    "is are was were be been equals equal of to get gets gives give makes make obtain yields "
    "yield about approximately roughly exactly around nearly almost just only answer result "
    "total value so thus therefore hence total: ist est es é de sind it's that's has have had "
    "lautet beträgt равно so becomes remains reaches reads says to: at from"
)
#: Words that end the unit of a number: "18 dollars for 3 days" are not two amounts.
CLAUSE = words(
    "is are was were be been has have had so then thus hence therefore which that who whose "
    "where when while if because since as for in on at per each every of from with by left "
    "leaving leaves giving gives makes making get gets got equals equal means mean costs cost "
    "total would will can could should but after before out into than it she he they we i you "
    "this these those there sold sells sell bought buys buy made takes took needs need eats ate "
    "uses used earns earned earn earns pay pays paid spends spent adds added remain remains "
    "still only just more less fewer times plus minus divided multiplied over"
)
HEDGES = words(
    "about around approximately approx approx. roughly exactly only just simply therefore thus "
    "so nearly almost circa ca ca. some precisely a total of is the answer it's it be will "
    "would overall altogether etwa ungefähr rund environ unos unas circa mindestens_no say ≈ ~"
)
