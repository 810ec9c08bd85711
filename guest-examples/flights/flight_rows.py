"""The rows that the component's function `parse` takes and gives, as Beam's row coder sees them."""

import typing

import apache_beam as beam


class Line(typing.NamedTuple):
    line: str
    row: int


class Flight(typing.NamedTuple):
    carrier: str
    origin: str
    dest: str
    dep_delay: int
    distance: int
    hour: int


class DeadLetter(typing.NamedTuple):
    row: int
    reason: str


for row_type in (Line, Flight, DeadLetter):
    beam.coders.registry.register_row(row_type)
