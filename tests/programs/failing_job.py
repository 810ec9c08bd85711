"""A program with a function that raises on one element. The options are those of any Beam program."""

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def explode(number):
    if number == 3:
        raise ValueError(f'the number {number} is not for me')
    return number


def main():
    with beam.Pipeline(options=PipelineOptions()) as pipeline:
        pipeline | beam.Create(range(5)) | 'Explode' >> beam.Map(explode)


if __name__ == '__main__':
    main()
