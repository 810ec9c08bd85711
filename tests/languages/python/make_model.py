"""Pickles a scikit-learn model that gives a point the number of the nearest of the points in the CSV file named first: make_model.py POINTS MODEL."""

import csv
import pickle
import sys

from sklearn.neighbors import KNeighborsClassifier


def main():
    points, model = sys.argv[1:]
    with open(points) as file:
        rows = [[float(cell) for cell in row] for row in csv.reader(file)]
    with open(model, 'wb') as file:
        pickle.dump(KNeighborsClassifier(n_neighbors=1).fit(rows, range(len(rows))), file)


if __name__ == '__main__':
    main()
