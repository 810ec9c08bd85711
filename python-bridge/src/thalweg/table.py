"""Tables that functions look up and rows are joined with.

What comes in: a file or a compacted topic, and the type of its rows. What goes out: the words by which a pipeline declares the table, and a
transform that joins rows with it. On Thalweg a table is read when the job starts, into the engine's memory; on another runner a worker
reads the file.
"""

import csv
import json
import os
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam.portability.api import schema_pb2
from apache_beam.transforms import ptransform
from apache_beam.typehints import schemas

JOIN_URN = 'thalweg:fn:table_join:v1'
_TYPES = {
    schema_pb2.STRING: 'string',
    schema_pb2.BYTES: 'bytes',
    schema_pb2.INT64: 'int64',
    schema_pb2.DOUBLE: 'double',
    schema_pb2.BOOLEAN: 'boolean',
}


class Table:
    """A table: entries by key, filled when the job starts; of rows with one key the last one counts.

    Args:
      row_type: a `typing.NamedTuple` class of the columns: `str`, `bytes`, `int`, `float`, `bool`, or `typing.Optional` of one of these.
      key: the column that is the key, as a plain value; of a list of columns the key is a row.
      value: the column that is the value, as a plain value; of a list of columns, and without it of all others, it is a row.
      path: a file, as whoever runs the job finds it: CSV whose first line names the columns, or a JSON object a line.
      format: `csv` or `jsonl`; by the end of the file's name if it is not given.
      topic: a compacted Kafka topic instead of a file: a record's key is the key column, a text; its value a JSON object of the others.
      bootstrap_servers: `host:port`, separated by commas, for a topic.
      consumer_config: properties of the consumer for a topic.

    Raises:
      TypeError: a column has a type that a table does not have.
      ValueError: there is no such column, or not one of file and topic.
    """

    def __init__(
            self,
            row_type: type,
            *,
            key: str | list[str],
            value: str | list[str] | None = None,
            path: str | os.PathLike | None = None,
            format: str | None = None,
            topic: str | None = None,
            bootstrap_servers: str | None = None,
            consumer_config: Mapping[str, str] | None = None):
        if (path is None) == (topic is None):
            raise ValueError('A table comes from a file or from a topic: give `path=` or `topic=`.')
        self.row_type = row_type
        self.key = key
        self.value = value
        self.schema = row_schema(row_type)
        self._path = None if path is None else os.path.abspath(path)
        self._format = format or ('csv' if str(path).endswith('.csv') else 'jsonl')
        self._topic = {'topic': topic, 'bootstrap_servers': bootstrap_servers, 'properties': dict(consumer_config or {})}
        names = [field['name'] for field in self.schema]
        for column in _columns(key) + _columns(value or []):
            if column not in names:
                raise ValueError(f'{row_type.__name__} has no column {column!r}; it has {", ".join(names)}.')

    def spec(self) -> dict[str, Any]:
        """The table as pipelines declare it."""
        source = {'topic': self._topic}
        if self._path is not None:
            source = {'file': {'path': self._path, 'format': self._format}}
        spec = {'source': source, 'schema': self.schema, 'key': self.key}
        return spec if self.value is None else {**spec, 'value': self.value}

    def added(self) -> list[dict[str, Any]]:
        """The columns that a join adds: those of the value."""
        if self.value is None:
            return [field for field in self.schema if field['name'] not in _columns(self.key)]
        by_name = {field['name']: field for field in self.schema}
        return [by_name[name] for name in _columns(self.value)]

    def read(self) -> dict[Any, Any]:
        """The entries of a table in a file, for fallbacks: plain values, or tuples of the columns of a list."""
        if self._path is None:
            raise RuntimeError('A table of a topic is read only on Thalweg: use --runner=thalweg.ThalwegRunner.')
        with open(self._path, encoding='utf-8', newline='') as file:
            if self._format == 'csv':
                rows = [{f['name']: _cell(f, row[f['name']]) for f in self.schema} for row in csv.DictReader(file)]
            else:
                rows = [json.loads(line) for line in file if line.strip()]
        value = self.value if self.value is not None else [field['name'] for field in self.added()]
        return {_part(row, self.key): _part(row, value) for row in rows}


def row_schema(row_type: type) -> list[dict[str, Any]]:
    """The fields of a NamedTuple class as our payloads name them.

    Raises:
      TypeError: it is none, or a field has a type that is not named there.
    """
    if not hasattr(row_type, '_fields'):
        raise TypeError(f'{row_type} is no NamedTuple class.')
    # the fields as Beam's row coder writes them: for it, `int | None` is something only Python can read
    return [_field(row_type, field) for field in schemas.named_tuple_to_schema(row_type).fields]


def _field(row_type: type, field: schema_pb2.Field) -> dict[str, Any]:
    kind = _TYPES.get(field.type.atomic_type)
    if field.type.WhichOneof('type_info') != 'atomic_type' or kind is None:
        raise TypeError(
            f'{row_type.__name__}.{field.name} is of a type that Beam does not write as a plain field: it may be str, bytes, int, '
            'float or bool, or typing.Optional of one of these.')
    return {'name': field.name, 'type': kind, 'nullable': field.type.nullable}


def _columns(columns: str | list[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _part(row: Mapping[str, Any], columns: str | list[str]) -> Any:
    return row.get(columns) if isinstance(columns, str) else tuple(row.get(column) for column in columns)


def _cell(field: Mapping[str, Any], text: str) -> Any:
    if text == '' and field['nullable']:
        return None
    read = {'string': str, 'bytes': str.encode, 'int64': int, 'double': float, 'boolean': lambda t: t.lower() in ('true', '1')}
    return read[field['type']](text)


class TableJoin(ptransform.PTransform):
    """Joins rows with a table: the columns of the table's value behind the fields of the row.

    On Thalweg the join runs in the engine, and the rows do not leave it. On any other runner each worker reads the table's file.

    Payload of the composite (JSON in UTF-8): `input` (fields of the rows), `key`, `table`, `inner`.

    Args:
      table: a `thalweg.Table`.
      key: the field of the row that is looked up, or a list of fields for a table whose key is a row.
      output_type: a registered `typing.NamedTuple` class: the fields of the row, then the columns of the table's value, which may be
        None unless `how` is `inner`.
      how: `left` keeps rows without an entry, `inner` leaves them out.

    Raises:
      TypeError: `output_type` has other fields.
    """

    def __init__(self, table: Table, *, key: str | list[str], output_type: type, how: str = 'left'):
        super().__init__()
        if how not in ('left', 'inner'):
            raise ValueError(f'how is {how!r}, which is none of left and inner.')
        self._table = table
        self._key = key
        self._output_type = output_type
        self._inner = how == 'inner'
        self._input = None

    def default_label(self) -> str:
        return 'TableJoin'

    def expand(self, pcoll):
        self._input = row_schema(pcoll.element_type)
        added = [{**field, 'nullable': field['nullable'] or not self._inner} for field in self._table.added()]
        if row_schema(self._output_type) != self._input + added:
            wanted = ', '.join(f'{f["name"]}: {f["type"]}{"?" if f["nullable"] else ""}' for f in self._input + added)
            raise TypeError(f'{self._output_type.__name__} has not the fields of the join: {wanted}.')
        join = _Join(self._table, self._key, self._output_type, self._inner)
        return pcoll | 'Fallback' >> beam.ParDo(join).with_output_types(self._output_type)

    def to_runner_api_parameter(self, unused_context):
        places = {field['name']: i for i, field in enumerate(self._input)}
        key = {'field': places[self._key]} if isinstance(self._key, str) else {'fields': [places[name] for name in self._key]}
        payload = {'input': self._input, 'key': key, 'table': self._table.spec(), 'inner': self._inner}
        return JOIN_URN, json.dumps(payload, sort_keys=True).encode('utf-8')


class _Join(beam.DoFn):
    """The join where there is no engine to do it."""

    def __init__(self, table: Table, key: str | list[str], output_type: type, inner: bool):
        self._table = table
        self._key = key
        self._output_type = output_type
        self._inner = inner
        self._entries = None

    def setup(self):
        self._entries = self._table.read()

    def process(self, element):
        entry = self._entries.get(_part(element._asdict(), self._key))
        if entry is None and self._inner:
            return
        count = len(self._table.added())
        added = (None,) * count if entry is None else (entry,) if isinstance(self._table.value, str) else entry
        yield self._output_type(*element, *added)


@ptransform.PTransform.register_urn(JOIN_URN, bytes)
def _from_runner_api(unused_proto, payload, unused_context):
    return _Decoded(payload)


class _Decoded(ptransform.PTransform):
    """A join read back from a pipeline proto: only good for writing it again."""

    def __init__(self, payload: bytes):
        super().__init__()
        self._encoded = payload

    def to_runner_api_parameter(self, unused_context):
        return JOIN_URN, self._encoded
