"""Beam's example of RunInference with a scikit-learn model, unchanged but for its file of requirements, which pins another scikit-learn:
`--input`, `--output` and `--model_path` are the example's."""

import sys

import apache_beam as beam
from apache_beam.examples.inference import sklearn_mnist_classification
from apache_beam.options.pipeline_options import PipelineOptions


def main():
    _, rest = sklearn_mnist_classification.parse_known_args(sys.argv[1:])
    pipeline = beam.Pipeline(options=PipelineOptions(rest))
    sklearn_mnist_classification.run(sys.argv[1:], save_main_session=False, test_pipeline=pipeline)


if __name__ == '__main__':
    main()
