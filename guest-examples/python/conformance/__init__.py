"""The conformance component in Python: one function for everything that the guest contract has, driven by commands in its elements.
It gives what the Rust one of ``guest-examples/conformance`` gives.
"""
from thalweg_udf import export

from .ledger import Ledger
from .lookups import Lookups
from .runtime import run
from .shapes import Sessions
from .shapes import Spans
from .shapes import Top
from .shapes import Walks
from .shapes import first_word
from .shapes import total
from .timers import Buffer
from .timers import Timers

Guest = export(
    ledger=Ledger,
    timers=Timers,
    buffer=Buffer,
    lookups=Lookups,
    total=total,
    walks=Walks,
    top=Top,
    sessions=Sessions,
    spans=Spans,
    first_word=first_word,
    run=run,
)
