"""XGBoost: histogram trees on several threads, early stopping, a model file."""

import numpy as np
import xgboost

import contract


def main():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(20_000, 16))
    y = (x[:, 0] * x[:, 1] + np.sin(x[:, 2]) > 0).astype(int)
    train = xgboost.DMatrix(x[:15_000], label=y[:15_000])
    test = xgboost.DMatrix(x[15_000:], label=y[15_000:])
    history = {}
    booster = xgboost.train(
        {"objective": "binary:logistic", "tree_method": "hist", "nthread": 2, "seed": 7},
        train,
        num_boost_round=80,
        evals=[(test, "test")],
        evals_result=history,
        early_stopping_rounds=10,
        verbose_eval=False,
    )
    loss = history["test"]["logloss"]
    contract.expect(loss[-1] < 0.5 * loss[0], f"the loss went from {loss[0]} to {loss[-1]}")
    path = contract.outputs() / "model.ubj"
    booster.save_model(path)
    again = xgboost.Booster(model_file=path)
    contract.expect(
        np.array_equal(booster.predict(test), again.predict(test)), "the saved model differs"
    )
    accuracy = float(((booster.predict(test) > 0.5) == y[15_000:]).mean())
    contract.expect(accuracy > 0.9, f"accuracy is {accuracy}")
    contract.result(accuracy=accuracy)


if __name__ == "__main__":
    main()
