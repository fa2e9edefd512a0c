"""The wire formats, declared with construct: what the bytes mean, and nothing else.

This folder imports as ``xbrletools.formats``. It is the only place with layouts. README.md beside it is the
specification for readers, with a source for every fact.
"""

from typing import Any, TypeAlias

from construct import Construct

#: A declaration of bytes, whatever it parses to.
Grammar: TypeAlias = "Construct[Any, Any]"
