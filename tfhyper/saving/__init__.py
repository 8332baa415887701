"""Files of others: read without running what is in them, or a named error.

What looks into files imports no Keras; `load_model` does, when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfhyper.saving.models import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    if name == "load_model":
        from tfhyper.saving.models import load_model

        return load_model
    raise AttributeError(f"module 'tfhyper.saving' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
