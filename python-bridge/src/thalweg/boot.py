"""Starts a worker of Beam's Python SDK as a process of this machine, with the packages its pipeline needs.

What comes in: the arguments that runners give Beam's boot programs (`--id`, `--provision_endpoint`, ...). What goes out: a
running `apache_beam.runners.worker.sdk_worker_main`. Before, it asks the runner what the job is, fetches the artifacts that were
staged, and installs requirements, wheels and setup packages into an environment of this worker alone, which sees
everything this Python has. Without packages to install, this Python itself is used.

For stock programs, on a server that was started with `--allow-process-workers`:

    --environment_type=PROCESS --environment_config='{"command": "python -m thalweg.boot"}'

The worker's files are below `--semi_persist_dir`, or a temporary directory that goes with the worker. The worker ends with
this process, with its standard input if that is a pipe, and on SIGTERM.

Source: the contract of `sdks/python/container/boot.go`, `ProvisionService` and `ArtifactRetrievalService`.
"""

import argparse
import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import venv

import grpc
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_artifact_api_pb2
from apache_beam.portability.api import beam_artifact_api_pb2_grpc
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.portability.api import beam_provision_api_pb2_grpc
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.portability.api import endpoints_pb2
from google.protobuf import json_format
from google.protobuf import text_format

# The names under which Beam's Python stager stages what is to be installed.
REQUIREMENTS = 'requirements.txt'
EXTRA_PACKAGES = 'extra_packages.txt'
SETUP_PACKAGE = 'workflow.tar.gz'
SDK_PACKAGE = 'dataflow_python_sdk.tar'

# Seconds for the runner to answer its first question.
PROVISION_SECONDS = 60
# Seconds for a worker that was asked to end.
STOP_SECONDS = 3
NO_LIMIT = [('grpc.max_receive_message_length', -1)]


class BootError(Exception):
    """What keeps the worker from starting, in one sentence."""


@dataclasses.dataclass
class Staged:
    """What was fetched: the folder, requirement files besides the one of the usual name, and references to packages."""
    folder: str
    requirements: list[str]
    packages: list[str]


def provision(endpoint: str, worker: str) -> beam_provision_api_pb2.ProvisionInfo:
    """What the runner says of the job.

    Raises:
        BootError: the runner does not answer, or expects no such worker.
    """
    with grpc.insecure_channel(endpoint, options=NO_LIMIT) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        try:
            answer = stub.GetProvisionInfo(
                beam_provision_api_pb2.GetProvisionInfoRequest(), timeout=PROVISION_SECONDS, wait_for_ready=True,
                metadata=[('worker_id', worker)])
        except grpc.RpcError as error:
            raise BootError(f'the runner at {endpoint} does not say what worker {worker} is for: {error.details()}')
        return answer.info


def fetch(endpoint: str, dependencies, folder: str) -> Staged:
    """Fetches the artifacts of a job into `folder`.

    Raises:
        BootError: one cannot be fetched, is not what was staged, or would be written elsewhere.
    """
    staged = Staged(folder, [], [])
    os.makedirs(folder, exist_ok=True)
    if not dependencies:
        return staged
    with grpc.insecure_channel(endpoint, options=NO_LIMIT) as channel:
        stub = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
        try:
            resolved = stub.ResolveArtifacts(
                beam_artifact_api_pb2.ResolveArtifactsRequest(artifacts=dependencies), wait_for_ready=True)
            for number, artifact in enumerate(resolved.replacements):
                _take(stub, artifact, number, staged)
        except grpc.RpcError as error:
            raise BootError(f'an artifact cannot be fetched from {endpoint}: {error.details()}')
    return staged


def _take(stub, artifact, number: int, staged: Staged):
    types, roles = common_urns.artifact_types, common_urns.artifact_roles
    if artifact.type_urn == types.PYPI.urn:
        payload = beam_runner_api_pb2.PyPIPayload.FromString(artifact.type_payload)
        staged.packages.append(f'{payload.artifact_id}=={payload.version}' if payload.version else payload.artifact_id)
        return
    if artifact.type_urn == types.MAVEN.urn:
        return  # of another language
    name = f'artifact-{number}'
    if artifact.role_urn == roles.STAGING_TO.urn:
        name = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload).staged_name
    elif artifact.role_urn == roles.PIP_REQUIREMENTS_FILE.urn:
        name = f'requirements-{number}.txt'
        staged.requirements.append(os.path.join(staged.folder, name))
    path = os.path.realpath(os.path.join(staged.folder, name))
    if os.path.commonpath([path, os.path.realpath(staged.folder)]) != os.path.realpath(staged.folder):
        raise BootError(f'an artifact wants to be written outside its folder: {name}')
    os.makedirs(os.path.dirname(path), exist_ok=True)
    digest = hashlib.sha256()
    with open(path, 'wb') as file:
        for chunk in stub.GetArtifact(beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact)):
            digest.update(chunk.data)
            file.write(chunk.data)
    wanted = ''
    if artifact.type_urn == types.FILE.urn:
        wanted = beam_runner_api_pb2.ArtifactFilePayload.FromString(artifact.type_payload).sha256
    if wanted and digest.hexdigest() != wanted:
        raise BootError(f'the artifact {name} is not what was staged')
    if artifact.role_urn == roles.GO_WORKER_BINARY.urn:
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def installs(staged: Staged) -> list[list[str]]:
    """The arguments of pip for what was staged, in order. Of each list only the first that succeeds has to run."""
    def path(name):
        return os.path.join(staged.folder, name)

    found = ['--find-links', staged.folder]
    steps = []
    for sdk in [path(SDK_PACKAGE), *sorted(glob.glob(path('apache_beam*.whl')))]:
        if os.path.isfile(sdk):
            steps.append([['--no-deps', '--force-reinstall', sdk]])
    wanted = [w for file in [path(REQUIREMENTS), *staged.requirements] if os.path.isfile(file) for w in ('-r', file)]
    if wanted:
        # what was staged is enough as a rule; else the network has to give the rest
        steps.append([['--no-index', *found, *wanted], [*found, *wanted]])
    if staged.packages:
        steps.append([['--no-index', *found, *staged.packages], [*found, *staged.packages]])
    extra = []
    if os.path.isfile(path(EXTRA_PACKAGES)):
        with open(path(EXTRA_PACKAGES), encoding='utf-8') as file:
            extra = [path(line.strip()) for line in file if line.strip()]
    if os.path.isfile(path(SETUP_PACKAGE)):
        extra.append(path(SETUP_PACKAGE))
    if extra:
        steps.append([['--no-index', *found, *extra], [*found, *extra], ['--no-build-isolation', '--no-deps', *extra]])
    return steps


def environment(folder: str) -> str:
    """Makes a virtual environment that sees all packages of this Python, too; returns its Python."""
    venv.create(folder, system_site_packages=True, with_pip=False, symlinks=True)
    site, = glob.glob(os.path.join(folder, 'lib', 'python*', 'site-packages'))
    # an environment made from within another one would see only the system's packages
    with open(os.path.join(site, 'outer.pth'), 'w', encoding='utf-8') as file:
        outer = [p for p in sys.path if os.path.isdir(p) and os.path.basename(p) in ('site-packages', 'dist-packages')]
        # by site, so that what is installed there for development is found as well
        file.writelines(f'import site; site.addsitedir({p!r})\n' for p in outer)
    return os.path.join(folder, 'bin', 'python')


def install(python: str, steps) -> None:
    """Runs pip for each step until one of its ways succeeds.

    Raises:
        BootError: none does.
    """
    for ways in steps:
        said = ''
        for way in ways:
            command = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input', *way]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if done.returncode == 0:
                break
            said += f'$ pip install {" ".join(way)}\n{done.stdout}'
        else:
            print(said, file=sys.stderr)
            raise BootError('the packages of the pipeline cannot be installed')


def worker_environment(info, args, folder: str) -> dict[str, str]:
    """The variables that `sdk_worker_main` reads."""
    def at(url):
        return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))

    variables = {
        'WORKER_ID': args.id,
        'CONTROL_API_SERVICE_DESCRIPTOR': at(info.control_endpoint.url or args.control_endpoint),
        'LOGGING_API_SERVICE_DESCRIPTOR': at(info.logging_endpoint.url or args.logging_endpoint),
        'SEMI_PERSISTENT_DIRECTORY': folder,
        'RUNNER_CAPABILITIES': ' '.join(info.runner_capabilities),
    }
    if info.status_endpoint.url:
        variables['STATUS_API_SERVICE_DESCRIPTOR'] = at(info.status_endpoint.url)
    options = os.path.join(folder, 'options.json')
    with open(options, 'w', encoding='utf-8') as file:
        json.dump(json_format.MessageToDict(info.pipeline_options), file)
    variables['PIPELINE_OPTIONS_FILE'] = options
    return variables


def run(python: str, variables: dict[str, str]) -> int:
    """Runs the worker to its end; returns its exit code. It does not outlive this process or its standard input."""
    worker = subprocess.Popen(
        [python, '-m', 'apache_beam.runners.worker.sdk_worker_main'], env={**os.environ, **variables},
        stdin=subprocess.DEVNULL)

    def end(*_):
        worker.terminate()
        threading.Timer(STOP_SECONDS, worker.kill).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_when_input_ends, args=(worker.kill,), daemon=True).start()
    code = worker.wait()
    return code if code >= 0 else 128 - code


def _when_input_ends(act):
    while True:
        select.select([0], [], [])
        if not os.read(0, 4096):
            act()
            return


def boot(args) -> int:
    """Starts the worker that the arguments name; returns its exit code.

    Raises:
        BootError: it cannot be started.
    """
    info = provision(args.provision_endpoint, args.id)
    with contextlib.ExitStack() as stack:
        folder = args.semi_persist_dir
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='thalweg-worker-', ignore_cleanup_errors=True))
        staged = fetch(info.artifact_endpoint.url or args.artifact_endpoint, info.dependencies, os.path.join(folder, 'staged'))
        steps = installs(staged)
        python = sys.executable
        if steps:
            python = environment(os.path.join(folder, f'python-{args.id}'))
            install(python, steps)
        return run(python, worker_environment(info, args, folder))


def arguments(given=None):
    """The arguments of Beam's boot programs; those we do not know are passed over."""
    parser = argparse.ArgumentParser(prog='python -m thalweg.boot', description=__doc__.split('\n', 1)[0])
    parser.add_argument('--id', required=True, help='The id under which the runner expects the worker.')
    parser.add_argument('--provision_endpoint', required=True, help='Where the runner says what the job is, host:port.')
    for name in ('control', 'logging', 'artifact'):
        parser.add_argument(f'--{name}_endpoint', default='', help='Used if the runner names no other, host:port.')
    parser.add_argument('--semi_persist_dir', help='Where the files of the worker are kept. Default: a temporary directory.')
    return parser.parse_known_args(given)[0]


def main() -> int:
    """The program."""
    try:
        return boot(arguments())
    except BootError as error:
        print(f'thalweg.boot: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
