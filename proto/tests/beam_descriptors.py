"""Writes the descriptors of the installed apache-beam to stdout, as one serialized FileDescriptorSet.

In: nothing but the installed package. Out: every file of its portability API, without their imports from
google/protobuf. It knows nothing of our own .proto files; the test wire_compatibility.rs compares the two.
"""

import importlib
import pathlib
import sys

import apache_beam.portability.api
from google.protobuf import descriptor_pb2

api = apache_beam.portability.api
root = pathlib.Path(api.__file__).parent
descriptors = descriptor_pb2.FileDescriptorSet()
for path in sorted(root.glob("org/**/*_pb2.py")):
    name = ".".join([api.__name__, *path.relative_to(root).with_suffix("").parts])
    importlib.import_module(name).DESCRIPTOR.CopyToProto(descriptors.file.add())
sys.stdout.buffer.write(descriptors.SerializeToString())
