"""Thalweg for Beam's Python SDK: a runner that starts the `thalweg` binary, and transforms that only Thalweg has."""

from thalweg.runner import ThalwegOptions
from thalweg.runner import ThalwegRunner
from thalweg.services import expansion_service
from thalweg.services import with_kafka
from thalweg.table import Table
from thalweg.table import TableJoin
from thalweg.wasm import Wasm

__all__ = ['ThalwegOptions', 'ThalwegRunner', 'Table', 'TableJoin', 'Wasm', 'expansion_service', 'with_kafka']
