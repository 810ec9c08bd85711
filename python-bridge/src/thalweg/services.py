"""Kafka without a JVM: Beam's `ReadFromKafka`, `WriteToKafka` and managed Kafka, expanded by the `thalweg` binary.

What comes in: the options of a pipeline. What goes out: the same options, with Beam's own option `beam_services` naming
Thalweg where Beam would start a Java program. Nothing of Beam is patched.
"""

from apache_beam.options import pipeline_options

from thalweg import runner

# What Beam calls the Java program that expands KafkaIO.
IO_SERVICE = 'sdks:java:io:expansion-service:shadowJar'


def expansion_service(options: pipeline_options.PipelineOptions | None = None) -> str:
    """The address of Thalweg's expansion service, for the argument `expansion_service` of Beam's transforms.

    With `--job_endpoint` it is the server there; otherwise that of the binary which ThalwegRunner runs, which is started now.

    Args:
      options: Options of the pipeline; those of the command line's default without them.

    Raises:
      FileNotFoundError: there is no `thalweg` binary.
    """
    options = options or pipeline_options.PipelineOptions()
    endpoint = options.view_as(pipeline_options.PortableOptions).job_endpoint
    if endpoint and endpoint != 'embed':
        return endpoint
    return runner.shared_server(options).start()


def with_kafka(options: pipeline_options.PipelineOptions) -> pipeline_options.PipelineOptions:
    """Makes a pipeline's Kafka transforms go to Thalweg, without a change to where they are used. Returns the same options.

        with beam.Pipeline(options=thalweg.with_kafka(PipelineOptions())) as pipeline:
            pipeline | ReadFromKafka({'bootstrap.servers': 'broker:9092'}, ['topic'])

    A service that the options name already is left as it is. The transforms must be made inside of the `with` block, as that is
    where Beam looks at the option.

    Raises:
      FileNotFoundError: there is no `thalweg` binary.
    """
    view = options.view_as(pipeline_options.CrossLanguageOptions)
    services = dict(view.beam_services or {})
    if IO_SERVICE not in services:
        services[IO_SERVICE] = expansion_service(options)
    view.beam_services = services
    return options
