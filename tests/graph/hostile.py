"""A thousand texts that no block language should trip over: absurd, broken, huge, or meant to do harm."""

import random
from collections.abc import Iterator

NAMES = [
    "input",
    "output",
    "Conv2d(out_channels=C,kernel_size=3)",
    "BN",
    "ReLU",
    "Add",
    "LN",
    "Linear(out_channels=C)",
]
HARM = [
    "__import__('os').system('true')",
    "().__class__.__base__.__subclasses__()",
    "{0.__class__.__init__.__globals__}",
    "%(C)s%n%n%n",
    "{C!r:>1000000000}",
    "lambda: C",
    "[C for C in range(10**9)]",
    "C if C else dim",
    "open('/dev/zero').read()",
    "exec('C=1')",
    "C.__class__",
    "C[0]",
    "C;import os",
    "`id`",
    "$(id)",
    "'; DROP TABLE events; --",
    "\\x00\\u0000",
    "0x41",
    "1e308",
    "1_000",
    "1j",
    "nan",
    "inf",
    "-inf",
    "C@dim",
    "C<<62",
    "C>>1",
    "~C",
    "not C",
    "C==C",
    "*C",
    "**C",
    "C,C,C",
    "C!",
    "…",
    "٣",
    "Ｃ",
    "С",  # a Cyrillic letter that looks like C
]
SIZES = [
    "9**9**9**9",
    "9" * 5_000,
    "-" * 5_000 + "1",
    "+".join(["C"] * 5_000),
    "(" * 5_000 + "C" + ")" * 5_000,
    "(" * 100_000,
    "C/0",
    "C//(C-C)",
    "C%0",
    "1/3",
    "-1",
    "0",
    "2147483648",
    "C*999999*999999*999999*999999",
    "H*W*C*B*H*W*C*B",
    "C//999999",
    "1.5",
    ".5",
    "5.",
    "1e400",
    "0.000000000000000000000000001",
]


def one_operation(operation: str, name: str = "Hostile") -> str:
    """A block whose only operation is `operation`."""
    return f"##{name}##\n0:input\n1:output\n2:{operation}\n0->2\n2->1\n"


def _of_expressions() -> Iterator[str]:
    for text in HARM + SIZES:
        yield one_operation(f"Conv2d(out_channels={text},kernel_size=3)")
        yield one_operation(f"Conv2d(out_channels=C,kernel_size={text})")
        yield one_operation(
            f"Conv2d(out_channels=C,kernel_size=3,groups={text},dilation={text},stride={text})"
        )
        yield one_operation(f"reshape(B,{text},H,W)")
        yield one_operation(f"permute({text})")
        yield one_operation(f"repeat(1,1,1,{text})")
        yield one_operation(f"softmax(dim={text})")
        yield one_operation(f"DropPath(prob={text})")
        yield one_operation(f"AdaptiveAvgPool2d(output_size={text})")
        yield one_operation(text)
        yield one_operation("ReLU", name=text)
        yield text


def _of_size() -> Iterator[str]:
    chain = "\n".join(f"{n}:ReLU" for n in range(2, 10**6))
    yield f"##Million##\n0:input\n1:output\n{chain}\n0->2"
    yield "##Edges##\n0:input\n1:output\n" + "0->1\n" * 10**6
    yield "##Long##\n" + "->".join(map(str, range(200_000)))
    yield "##Fan##\n0:input\n1:output\n" + ",".join(map(str, range(200_000))) + "->1"
    yield "#" * 10**6
    yield "\n" * 10**6
    yield " " * 10**6
    yield "```" * 10**5
    yield "##a##\n" * 10**5
    yield "0" * 10**6 + ":input"
    yield "9" * 10**5 + "->" + "9" * 10**5
    yield one_operation("Conv2d(" + "," * 10**5 + ")")
    yield one_operation("Conv2d(" + "out_channels=C," * 10**4 + ")")
    yield one_operation("reshape(" + "(" * 10**5)
    yield one_operation("reshape(" + "1," * 10**5 + "B,C,H,W)")
    yield one_operation("ReLU", name="a" * 10**6)
    yield "##Wide##\n0:input\n1:output\n" + "\n".join(f"{n}:ReLU\n0->{n}\n{n}->1" for n in range(2, 20_000))
    for count in (200, 250, 256, 257, 300, 1_000, 5_000):
        yield deep(count)
        yield wide(count)
        yield doubling(count)
        yield twins(count)
    yield long_edges(250)
    yield reciprocals(250)
    yield regular(120)
    yield dense(100, 4)
    yield dense(250, 3)
    yield "##Huge##\n0:input\n1:output\n2:repeat(1,1,999999,999999)\n3:repeat(1,1,999999,999999)\n0->2->3->1"


def deep(count: int) -> str:
    """One chain of convolutions."""
    nodes = "\n".join(f"{n}:Conv2d(out_channels=C,kernel_size=3)" for n in range(2, count))
    return f"##Deep##\n0:input\n1:output\n{nodes}\n0->" + "->".join(map(str, range(2, count))) + "->1"


def wide(count: int) -> str:
    """Branches that all look alike: every one could be any other."""
    nodes = "\n".join(f"{n}:ReLU\n0->{n}\n{n}->{count}" for n in range(2, count))
    return f"##Wide##\n0:input\n1:output\n{nodes}\n{count}:Add\n{count}->1"


def doubling(count: int) -> str:
    """Every operation takes the two before it: a number of paths that grows like Fibonacci's."""
    nodes = "\n".join(f"{n}:Add\n{n - 1}->{n}\n{n - 2}->{n}" for n in range(4, count))
    return f"##Paths##\n0:input\n1:output\n2:ReLU\n3:GELU\n0->2\n0->3\n{nodes}\n{count - 1}->1"


def twins(count: int) -> str:
    """Layers of two equal operations that feed both of the next layer: many symmetries."""
    lines = ["##Twins##", "0:input", "1:output", "2:Sigmoid", "3:Sigmoid", "0->2", "0->3"]
    for n in range(4, count, 2):
        for node in (n, n + 1):
            lines += [f"{node}:Add", f"{n - 2}->{node}", f"{n - 1}->{node}"]
    last = count if count % 2 == 0 else count + 1
    return "\n".join([*lines, f"{last}:Add", f"{last - 2}->{last}", f"{last - 1}->{last}", f"{last}->1"])


def long_edges(count: int) -> str:
    """Sums of the one before, of one far before, and of the input: edges across hundreds of layers."""
    lines = ["##Long##", "0:input", "1:output", "2:ReLU", "0->2", "3:Add", "0->3", "2->3"]
    for n in range(4, count):
        far = max(2, n // 2)
        lines += [f"{n}:Add", f"{n - 1}->{n}", f"{0 if far == n - 1 else far}->{n}", f"0->{n}"]
    return "\n".join([*dict.fromkeys(lines), f"{count - 1}->1"])


def reciprocals(count: int) -> str:
    """Sums of seven fractions whose denominators have nothing in common: long to multiply out."""
    rng = random.Random(1)
    lines = ["##Fractions##", "0:input", "1:output"]
    for n in range(2, count):
        parts = (f"1/({rng.choice('CHW')}+{rng.randrange(1, 99)}*dim)" for _ in range(7))
        lines.append(f"{n}:Conv2d(out_channels={'+'.join(parts)}+C,kernel_size=1)")
    return "\n".join([*lines, "0->" + "->".join(map(str, range(2, count))) + "->1"])


def regular(count: int) -> str:
    """Sources and sums where every one has three neighbours, drawn at random: no label tells any apart."""
    rng = random.Random(1)
    orders = [rng.sample(range(count), count) for _ in range(3)]
    lines = ["##Regular##", "0:input", "1:output", "2:Add", "2->1"]
    for n in range(count):
        lines += [f"{3 + n}:ReLU", f"{3 + count + n}:Add", f"0->{3 + n}", f"{3 + count + n}->2"]
    edges = (f"{3 + n}->{3 + count + order[n]}" for n in range(count) for order in orders)
    return "\n".join([*lines, *dict.fromkeys(edges)])


def dense(count: int, inputs: int) -> str:
    """Sums of a few of all that is before."""
    rng = random.Random(count)
    sources = {n: rng.sample([0, *range(2, n)], min(inputs, n - 1)) for n in range(2, count)}
    ends = set(range(2, count)) - {source for found in sources.values() for source in found}
    lines = ["##Dense##", "0:input", "1:output", f"{count}:Add", f"{count}->1"]
    lines += [f"{n}:{'Add' if len(found) > 1 else 'ReLU'}" for n, found in sources.items()]
    lines += [f"{source}->{n}" for n, found in sources.items() for source in found]
    return "\n".join([*lines, *(f"{n}->{count}" for n in sorted(ends))])


def _of_form() -> Iterator[str]:
    """Odd pieces in odd places."""
    yield from (
        "",
        "\0",
        "\ufeff",
        "##",
        "####",
        "##\0##",
        "0",
        ":",
        "->",
        "0->",
        "->0",
        "0:0",
        "##x##\n0:",
        "🙂" * 1_000,
    )
    yield one_operation("ReLU").replace("\n", "\r")
    yield one_operation("ReLU").replace("\n", "\u2028")
    yield one_operation("ReLU").replace(":", "：")
    yield one_operation("ReLU").replace("2", "２")
    yield one_operation("ReLU").replace("2", "-2")
    yield one_operation("ReLU").replace("2", "2.0")
    yield one_operation("ReLU").replace("2", "999999999999999999999")
    yield one_operation("R\u0065\u0301LU")
    yield one_operation("\u202eULeR")
    yield "\ud800"
    yield one_operation("Conv2d(out_channels=C,kernel_size=3", name="Open")
    yield one_operation("Conv2d)out_channels=C,kernel_size=3(")
    yield one_operation("Conv2d(out_channels=C,kernel_size=3))))))")
    yield one_operation("Conv2d(kernel_size=(3,(3,3)),out_channels=C)")
    yield one_operation("Conv2d(out_channels==C,kernel_size=3)")
    yield one_operation("Conv2d(__class__=C,kernel_size=3)")
    yield one_operation("Conv2d(out_channels=C,kernel_size=3,out_channels=dim)")


def _of_noise(rng: random.Random) -> Iterator[str]:
    """Good blocks with pieces taken out, put in, doubled and swapped, without end."""
    letters = "0123456789:->#()=,*/+CdimHWB \n\t\0.-_%{}[]\\'\"`~^|&;!?@$é漢🙂"
    while True:
        lines = ["##Noise##", *(f"{n}:{rng.choice(NAMES)}" for n in range(rng.randrange(2, 12)))]
        lines += [f"{rng.randrange(12)}->{rng.randrange(12)}" for _ in range(rng.randrange(14))]
        text = list("\n".join(lines))
        for _ in range(rng.randrange(12)):
            at = rng.randrange(len(text))
            text[at : at + rng.randrange(3)] = rng.choice(letters) * rng.choice((1, 1, 1, 40))
        yield "".join(text)


def hostile_texts(count: int = 1_000) -> list[str]:
    """The corpus, the same every time."""
    texts = [*_of_form(), *_of_size(), *_of_expressions()]
    noise = _of_noise(random.Random(201))
    return texts[:count] + [next(noise) for _ in range(count - len(texts))]
