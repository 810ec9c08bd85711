"""What the host does for a guest: in a component the imports of the contract. A test puts an object in their place."""
from typing import Any
from typing import Optional

Page = tuple[bytes, Optional[bytes]]


class Nobody:
    """A host that is not there: outside of a component."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f'{name} needs a host: run the function in a component, or by thalweg_udf.testing')


def imports() -> Any:
    """The imports of the component; a host that is not there outside of one. The modules exist while a component is built, and
    in it."""
    try:
        from wit_world.imports import log
        from wit_world.imports import outputs
        from wit_world.imports import side_inputs
        from wit_world.imports import state
        from wit_world.imports import tables
    except ImportError:
        return Nobody()

    def page(found: Any) -> Page:
        return found.rows, found.next

    class Imports:
        """The imports as one object."""
        log = staticmethod(log.write)
        emit = staticmethod(outputs.emit)
        state_read = staticmethod(state.read)
        state_lookup = staticmethod(state.lookup)
        table_lookup = staticmethod(tables.lookup)

        @staticmethod
        def state_scan(slot: int, group: int, start: bytes, end: Optional[bytes], max_bytes: int) -> Page:
            return page(state.scan(slot, group, start, end, max_bytes))

        @staticmethod
        def side_read(index: int, windows: int, key: Optional[bytes], start: Optional[bytes], max_bytes: int) -> Page:
            return page(side_inputs.read(index, windows, key, start, max_bytes))

        @staticmethod
        def side_keys(index: int, windows: int, start: Optional[bytes], max_bytes: int) -> Page:
            return page(side_inputs.keys(index, windows, start, max_bytes))

    return Imports()
