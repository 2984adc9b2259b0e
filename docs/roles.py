# SPDX-License-Identifier: Apache-2.0
"""A hook of mkdocs: docstrings name other objects as ``:func:`name```, which Markdown shows as code."""

import re
from typing import Any

_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):(?=<code>)")


def on_page_content(html: str, **_: Any) -> str:
    """Drop the roles of a rendered page."""
    return _ROLE.sub("", html)
