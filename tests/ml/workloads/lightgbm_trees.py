"""LightGBM: trees on several OpenMP threads, a model file."""

import lightgbm
import numpy as np

import contract


def main():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(10_000, 12))
    y = x[:, 0] * 3 + np.abs(x[:, 1]) + rng.normal(scale=0.1, size=10_000)
    booster = lightgbm.train(
        {"objective": "regression", "num_threads": 2, "seed": 7, "deterministic": True, "verbose": -1},
        lightgbm.Dataset(x[:8_000], label=y[:8_000]),
        num_boost_round=80,
    )
    path = contract.outputs() / "model.txt"
    booster.save_model(path)
    predicted = lightgbm.Booster(model_file=path).predict(x[8_000:])
    explained = float(1 - np.var(y[8_000:] - predicted) / np.var(y[8_000:]))
    contract.expect(explained > 0.95, f"explained variance is {explained}")
    contract.result(explained=explained)


if __name__ == "__main__":
    main()
