#!/usr/bin/env python3
"""Train a small neural network on handwritten digits, standard library only.

A perceptron with one hidden layer, written out in plain lists so that it runs
wherever Python 3.9 does. The data stay in the order of the file and are cut
into three parts: one to learn from, one to watch while learning, and one that
is looked at once, at the very end. They are not shuffled before the cut
because neighbouring rows tend to come from the same writer, and a network that
has seen a writer's hand is not being tested on it.

Writes model.json and metrics.jsonl to $FETCHML_OUTPUT_DIR.
"""

import argparse
import csv
import json
import math
import os
import random
import sys
import time
from operator import mul
from pathlib import Path

PIXELS = 64
CLASSES = 10
BRIGHTEST = 16
DATA = Path(__file__).resolve().parent / "digits" / "digits.csv"


def read_digits(path):
    """Return (pixels, digit) pairs; pixels are scaled to 0..1."""
    examples = []
    with open(path, newline="", encoding="ascii") as file:
        rows = csv.reader(file)
        next(rows)
        for number, row in enumerate(rows, start=2):
            values = [int(cell) for cell in row]
            if len(values) != PIXELS + 1 or not 0 <= values[-1] < CLASSES:
                sys.exit(f"{path}:{number}: expected {PIXELS} pixels and a digit")
            examples.append(([v / BRIGHTEST for v in values[:-1]], values[-1]))
    return examples


class Network:
    """64 inputs, one hidden layer with tanh, softmax over ten digits.

    Each row of weights ends with its bias; inputs get a constant 1 appended.
    """

    def __init__(self, hidden, rng):
        def layer(outputs, inputs):
            spread = 1 / math.sqrt(inputs)
            return [[rng.gauss(0, spread) for _ in range(inputs)] + [0.0] for _ in range(outputs)]

        self.hidden = layer(hidden, PIXELS)
        self.output = layer(CLASSES, hidden)

    def forward(self, pixels):
        inputs = pixels + [1.0]
        hidden = [math.tanh(sum(map(mul, row, inputs))) for row in self.hidden] + [1.0]
        scores = [sum(map(mul, row, hidden)) for row in self.output]
        top = max(scores)
        weights = [math.exp(s - top) for s in scores]
        total = sum(weights)
        return inputs, hidden, [w / total for w in weights]

    def learn(self, pixels, digit, rate):
        """One step of gradient descent; returns the loss before it."""
        inputs, hidden, chances = self.forward(pixels)
        errors = chances[:]
        errors[digit] -= 1.0
        back = [
            (1.0 - h * h) * sum(map(mul, column, errors))
            for h, column in zip(hidden[:-1], zip(*self.output))
        ]
        for row, error in zip(self.output, errors):
            step = rate * error
            row[:] = [w - step * h for w, h in zip(row, hidden)]
        for row, error in zip(self.hidden, back):
            step = rate * error
            row[:] = [w - step * x for w, x in zip(row, inputs)]
        return -math.log(max(chances[digit], 1e-12))

    def predict(self, pixels):
        chances = self.forward(pixels)[2]
        return chances.index(max(chances))


def accuracy(network, examples):
    return sum(network.predict(x) == digit for x, digit in examples) / len(examples)


def confusion(network, examples):
    table = [[0] * CLASSES for _ in range(CLASSES)]
    for pixels, digit in examples:
        table[digit][network.predict(pixels)] += 1
    return table


def print_confusion(table):
    print("\nconfusion on the held-out part (row: the digit, column: what the network said)")
    print("     " + "".join(f"{d:4d}" for d in range(CLASSES)) + "   recall")
    for digit, row in enumerate(table):
        cells = "".join(f"{n:4d}" if n else "   ." for n in row)
        print(f"  {digit}  {cells}   {row[digit] / sum(row):6.1%}")
    mistakes = sorted(
        ((table[a][b], a, b) for a in range(CLASSES) for b in range(CLASSES) if a != b and table[a][b]),
        reverse=True,
    )
    for count, digit, said in mistakes[:3]:
        print(f"  {digit} read as {said}: {count} times")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=32, help="units in the hidden layer")
    parser.add_argument("--rate", type=float, default=0.05, help="learning rate of the first epoch")
    parser.add_argument("--seed", type=int, default=1998)
    options = parser.parse_args()
    if options.epochs < 1 or options.hidden < 1:
        parser.error("--epochs and --hidden must be 1 or more")
    return options


def main():
    options = arguments()
    out = Path(os.environ.get("FETCHML_OUTPUT_DIR", "."))
    rng = random.Random(options.seed)

    examples = read_digits(DATA)
    first, second = len(examples) * 60 // 100, len(examples) * 75 // 100
    train, watch, held_out = examples[:first], examples[first:second], examples[second:]
    print(f"{len(examples)} images: {len(train)} train, {len(watch)} validation, {len(held_out)} held out")
    print(f"python {sys.version.split()[0]}, {options.hidden} hidden units, seed {options.seed}", flush=True)

    network = Network(options.hidden, rng)
    with open(out / "metrics.jsonl", "w", encoding="utf-8") as metrics:
        for epoch in range(1, options.epochs + 1):
            rng.shuffle(train)
            rate = options.rate * 0.9 ** (epoch - 1)
            loss = sum(network.learn(x, digit, rate) for x, digit in train) / len(train)
            row = {
                "step": epoch,
                "loss": round(loss, 6),
                "train_accuracy": round(accuracy(network, train), 6),
                "validation_accuracy": round(accuracy(network, watch), 6),
                "time": round(time.time(), 3),
            }
            print(json.dumps(row), file=metrics, flush=True)
            print(
                f"epoch {epoch:2d}/{options.epochs}  loss {loss:.4f}"
                f"  train {row['train_accuracy']:6.1%}  validation {row['validation_accuracy']:6.1%}",
                flush=True,
            )

        table = confusion(network, held_out)
        score = sum(table[d][d] for d in range(CLASSES)) / len(held_out)
        row = {"step": options.epochs, "held_out_accuracy": round(score, 6)}
        print(json.dumps(row), file=metrics)

    print_confusion(table)
    print(f"\nheld-out accuracy {score:.1%} on {len(held_out)} images never used before")
    model = {
        "kind": "perceptron, one hidden layer, tanh, softmax",
        "input": f"{PIXELS} pixels divided by {BRIGHTEST}, then the constant 1",
        "seed": options.seed,
        "epochs": options.epochs,
        "held_out_accuracy": round(score, 6),
        "hidden": network.hidden,
        "output": network.output,
    }
    with open(out / "model.json", "w", encoding="utf-8") as file:
        json.dump(model, file)
    print(f"wrote {out / 'model.json'} and {out / 'metrics.jsonl'}")


if __name__ == "__main__":
    main()
