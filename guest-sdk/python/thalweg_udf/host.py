"""What the host does for a guest: in a component the imports of the contract. A test puts an object in their place."""
from types import SimpleNamespace
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
        from wit_world.imports import iterables
        from wit_world.imports import log
        from wit_world.imports import outputs
        from wit_world.imports import side_inputs
        from wit_world.imports import state
        from wit_world.imports import tables
    except ImportError:
        return Nobody()
    try:
        from wit_world.imports import environment
    except ImportError:
        variables = None
    else:
        def variables() -> dict[str, str]:
            return dict(environment.get_environment())

    def pages(read: Any) -> Any:
        def call(*args: Any) -> Page:
            page = read(*args)
            return page.rows, page.next

        return call

    return SimpleNamespace(
        log=log.write,
        emit=outputs.emit,
        iterables_read=pages(iterables.read),
        state_read=state.read,
        state_lookup=state.lookup,
        state_scan=pages(state.scan),
        side_read=pages(side_inputs.read),
        side_keys=pages(side_inputs.keys),
        table_lookup=tables.lookup,
        variables=variables,
    )
