"""scikit-learn: a grid search in worker processes (loky), whose large arrays
joblib maps from a shared folder."""

import pickle

import numpy as np
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import contract


def column_mean(array, column):
    return float(array[:, column].mean())


def main():
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.25, random_state=7)
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
        {"logisticregression__C": [0.01, 0.1, 1.0]},
        cv=3,
        n_jobs=2,
    )
    grid.fit(train_x, train_y)
    forest = RandomForestClassifier(n_estimators=60, n_jobs=2, random_state=7)
    forest.fit(train_x, train_y)

    # Above 1 MiB joblib hands an array to its workers as a mapped file.
    large = np.arange(4_000_000, dtype=np.float64).reshape(-1, 4)
    means = Parallel(n_jobs=2)(delayed(column_mean)(large, c) for c in range(4))
    contract.expect(means == [float(large[:, c].mean()) for c in range(4)], f"means are {means}")

    with open(contract.outputs() / "forest.pickle", "wb") as file:
        pickle.dump(forest, file)
    accuracy = {"grid": grid.score(test_x, test_y), "forest": forest.score(test_x, test_y)}
    contract.expect(min(accuracy.values()) > 0.93, f"accuracy is {accuracy}")
    contract.result(C=grid.best_params_["logisticregression__C"], **accuracy)


if __name__ == "__main__":
    main()
