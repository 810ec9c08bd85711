"""thalweg.boot: artifacts, packages and variables of a worker process."""

import os
import subprocess
import sys
import zipfile
from concurrent import futures

import grpc
import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_artifact_api_pb2 as artifact_api
from apache_beam.portability.api import beam_artifact_api_pb2_grpc
from apache_beam.portability.api import beam_provision_api_pb2 as provision_api
from apache_beam.portability.api import beam_provision_api_pb2_grpc
from apache_beam.portability.api import beam_runner_api_pb2 as runner_api

from thalweg import boot


class Runner(
        beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceServicer,
        beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    """Serves artifacts by their paths, and one worker."""

    def __init__(self):
        self.files = {}

    def ResolveArtifacts(self, request, context):
        return artifact_api.ResolveArtifactsResponse(replacements=request.artifacts)

    def GetArtifact(self, request, context):
        path = runner_api.ArtifactFilePayload.FromString(request.artifact.type_payload).path
        for byte in self.files[path]:
            yield artifact_api.GetArtifactResponse(data=bytes([byte]))

    def GetProvisionInfo(self, request, context):
        if dict(context.invocation_metadata()).get('worker_id') != 'w-1':
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, 'no such worker is expected')
        return provision_api.GetProvisionInfoResponse(info=provision_api.ProvisionInfo(retrieval_token='job'))


@pytest.fixture
def runner():
    servicer = Runner()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    beam_artifact_api_pb2_grpc.add_ArtifactRetrievalServiceServicer_to_server(servicer, server)
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(servicer, server)
    servicer.endpoint = f'localhost:{server.add_insecure_port("localhost:0")}'
    server.start()
    yield servicer
    server.stop(None)


def file(path, name, sha256=''):
    return runner_api.ArtifactInformation(
        type_urn=common_urns.artifact_types.FILE.urn,
        type_payload=runner_api.ArtifactFilePayload(path=path, sha256=sha256).SerializeToString(),
        role_urn=common_urns.artifact_roles.STAGING_TO.urn,
        role_payload=runner_api.ArtifactStagingToRolePayload(staged_name=name).SerializeToString())


def wheel(folder, name, body):
    path = folder / f'{name}-1.0-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(f'{name}.py', body)
        archive.writestr(f'{name}-1.0.dist-info/METADATA', f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
        archive.writestr(f'{name}-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        archive.writestr(f'{name}-1.0.dist-info/RECORD', '')
    return path


def test_the_runner_is_asked_by_the_workers_id(runner):
    assert boot.provision(runner.endpoint, 'w-1').retrieval_token == 'job'
    with pytest.raises(boot.BootError, match='no such worker is expected'):
        boot.provision(runner.endpoint, 'w-2')


def test_artifacts_come_under_the_names_they_were_staged_to(runner, tmp_path):
    runner.files = {'/a': b'one', '/b': b'two'}
    requirements = file('/b', '')
    requirements.role_urn = common_urns.artifact_roles.PIP_REQUIREMENTS_FILE.urn
    package = runner_api.ArtifactInformation(
        type_urn=common_urns.artifact_types.PYPI.urn,
        type_payload=runner_api.PyPIPayload(artifact_id='numpy', version='2.4.6').SerializeToString())
    staged = boot.fetch(runner.endpoint, [file('/a', 'in/one.txt'), requirements, package], str(tmp_path))
    assert (tmp_path / 'in' / 'one.txt').read_bytes() == b'one'
    assert [open(path, 'rb').read() for path in staged.requirements] == [b'two']
    assert staged.packages == ['numpy==2.4.6']


def test_an_artifact_that_is_another_or_goes_elsewhere_is_refused(runner, tmp_path):
    runner.files = {'/a': b'one'}
    with pytest.raises(boot.BootError, match='not what was staged'):
        boot.fetch(runner.endpoint, [file('/a', 'one', '0' * 64)], str(tmp_path / 'staged'))
    with pytest.raises(boot.BootError, match='outside'):
        boot.fetch(runner.endpoint, [file('/a', '../one')], str(tmp_path / 'staged'))
    assert not (tmp_path / 'one').exists()


def test_packages_are_installed_beside_those_of_this_python_and_for_the_worker_alone(tmp_path):
    staged = tmp_path / 'staged'
    staged.mkdir()
    wheel(staged, 'of_requirements', 'word = "required"')
    extra = wheel(staged, 'of_extras', 'word = "extra"')
    (staged / boot.REQUIREMENTS).write_text('of_requirements==1.0\n')
    (staged / boot.EXTRA_PACKAGES).write_text(f'{extra.name}\n')
    python = boot.environment(str(tmp_path / 'python'))
    boot.install(python, boot.installs(boot.Staged(str(staged), [], [])))
    code = 'import apache_beam, of_requirements, of_extras; print(of_requirements.word, of_extras.word)'
    assert subprocess.check_output([python, '-c', code], text=True, stderr=subprocess.DEVNULL) == 'required extra\n'
    assert subprocess.run([sys.executable, '-c', 'import of_extras'], stderr=subprocess.DEVNULL, check=False).returncode


def test_packages_that_cannot_be_had_are_told(tmp_path, capsys):
    (tmp_path / boot.EXTRA_PACKAGES).write_text('not_there-1.0-py3-none-any.whl\n')
    with pytest.raises(boot.BootError, match='cannot be installed'):
        boot.install(sys.executable, boot.installs(boot.Staged(str(tmp_path), [], [])))
    assert 'not_there' in capsys.readouterr().err


def test_nothing_is_installed_where_nothing_was_staged(tmp_path):
    assert not boot.installs(boot.Staged(str(tmp_path), [], []))


def test_the_worker_is_told_what_sdk_worker_main_reads(tmp_path):
    info = provision_api.ProvisionInfo(runner_capabilities=['a', 'b'])
    info.control_endpoint.url = 'localhost:1'
    info.pipeline_options['beam:option:job_name:v1'] = 'x'
    args = boot.arguments(['--id=w-1', '--provision_endpoint=localhost:2', '--logging_endpoint=localhost:3', '--new=1'])
    variables = boot.worker_environment(info, args, str(tmp_path))
    assert variables['WORKER_ID'] == 'w-1' and variables['RUNNER_CAPABILITIES'] == 'a b'
    assert 'localhost:1' in variables['CONTROL_API_SERVICE_DESCRIPTOR']
    assert 'localhost:3' in variables['LOGGING_API_SERVICE_DESCRIPTOR']
    with open(variables['PIPELINE_OPTIONS_FILE'], encoding='utf-8') as options:
        assert '"beam:option:job_name:v1": "x"' in options.read()
    assert os.path.dirname(variables['PIPELINE_OPTIONS_FILE']) == variables['SEMI_PERSISTENT_DIRECTORY']
