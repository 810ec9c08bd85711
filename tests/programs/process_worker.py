"""Runs functions in worker processes that need a wheel of their own; prints the job's state and the words as JSON.

usage: process_worker.py ENDPOINT FOLDER [OPTION ...]

The wheel is made here and named in a requirements file, as a user with packages of his own would do. Each output line holds the
id of the process that wrote it.
"""

import glob
import json
import os
import sys
import time
import zipfile

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

NAME = 'words_of_a_local_wheel'


def wheel(folder):
    path = os.path.join(folder, f'{NAME}-1.0-py3-none-any.whl')
    facts = f'{NAME}-1.0.dist-info'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(f'{NAME}.py', 'def shout(word):\n    return word.upper() + "!"\n')
        archive.writestr(f'{facts}/METADATA', f'Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n')
        archive.writestr(f'{facts}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        archive.writestr(f'{facts}/RECORD', '')
    requirements = os.path.join(folder, 'requirements.txt')
    with open(requirements, 'w', encoding='utf-8') as file:
        file.write(f'{path}\n')
    return requirements


def shout(word, folder, pause):
    import importlib
    time.sleep(pause)
    with open(os.path.join(folder, 'worker.pid'), 'w', encoding='utf-8') as file:
        file.write(str(os.getpid()))
    return importlib.import_module('words_of_a_local_wheel').shout(word)


def main(endpoint, folder, *more):
    pause = 0.02 if '--slow' in more else 0
    config = json.dumps({'command': f'{sys.executable} -m thalweg.boot'})
    options = PipelineOptions([
        '--runner=PortableRunner', f'--job_endpoint={endpoint}', '--job_name=processes', '--environment_type=PROCESS',
        f'--environment_config={config}', f'--requirements_file={wheel(folder)}', '--requirements_cache=skip',
        *(option for option in more if option != '--slow')])
    pipeline = beam.Pipeline(options=options)
    (
        pipeline
        | beam.Create([f'w{n}' for n in range(200)])
        | beam.Reshuffle()
        | 'Shout' >> beam.Map(shout, folder, pause)
        | beam.io.WriteToText(os.path.join(folder, 'words'), num_shards=1))
    result = pipeline.run()
    result.wait_until_finish()
    words = [line.strip() for path in glob.glob(os.path.join(folder, 'words-*')) for line in open(path, encoding='utf-8')]
    print(json.dumps([result.state, len(words), sorted(set(words))[:2]]))


if __name__ == '__main__':
    main(*sys.argv[1:])
