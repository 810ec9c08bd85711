"""The examples of ``guest-examples/expected`` in Python, one file each."""
from thalweg_udf import export

from .alerts import Alerts
from .day_sessions import DaySessions
from .enrich import Enrich
from .parse import Parse
from .sessionize import Sessionize
from .top_k import TopK
from .word_count import Sum
from .word_count import Words

Guest = export(
    parse=Parse,
    sessionize=Sessionize,
    top_k=TopK,
    words=Words,
    sum=Sum,
    alerts=Alerts,
    enrich=Enrich,
    day_sessions=DaySessions,
)
