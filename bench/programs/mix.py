# What Python programs are made of: objects, dictionaries, strings, sorting, generators, exceptions. usage: mix.py TURNS
import sys


class Account:
    total = 0

    def __init__(self, name, amount):
        self.name, self.amount = name, amount

    def move(self, other, amount):
        if amount > self.amount:
            raise ValueError(self.name)
        self.amount -= amount
        other.amount += amount
        Account.total += 1


def numbers(n, seed=1):
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) & 0x7fffffff
        yield seed >> 8


def accounts(turn):
    every = [Account("a%d" % i, 1000 + i) for i in range(50)]
    refused = {}
    source = numbers(12000, turn)
    for a, b, amount in zip(source, source, source):
        try:
            every[a % 50].move(every[b % 50], amount % 300)
        except ValueError as e:
            refused[str(e)] = refused.get(str(e), 0) + 1
    return sum(a.amount * i for i, a in enumerate(every)) + len(refused)


def words(turn):
    text = " ".join("w%x" % (x % 700) for x in numbers(4000, turn))
    count = {}
    for word in text.split():
        count[word.upper()] = count.get(word.upper(), 0) + 1
    best = sorted(count.items(), key=lambda kv: (-kv[1], kv[0]))[:20]
    return sum(n * len(w) for w, n in best)


def queens(n, row=0, columns=0, left=0, right=0):
    if row == n:
        return 1
    found, free = 0, ~(columns | left | right) & ((1 << n) - 1)
    while free:
        bit = free & -free
        free ^= bit
        found += queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
    return found


def floats(turn):
    rows = [[(i * j + turn) % 7 / 2.0 for j in range(24)] for i in range(24)]
    columns = list(zip(*rows))
    return sum(sum(x * y for x, y in zip(r, c)) for r in rows for c in columns)


check = 0
for turn in range(int(sys.argv[1])):
    check = (check * 31 + accounts(turn) + words(turn) + queens(6) + int(floats(turn))) % 1000000007
print(check)
