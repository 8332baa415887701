"""Files of others: read without running what is in them, or a named error."""

from tfhyper.saving.models import load_model

__all__ = ["load_model"]
