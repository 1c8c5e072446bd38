"""A picture: what the UI shows beside a day run, and the report on its page.

Belongs here: the value and its markdown. Does not belong here: drawing (each stage's ``*_plot`` modules) or reading
what is drawn (``day_pictures``).
"""

from base64 import b64encode
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """One PNG: a short name (unique within its asset), a title for people, the file's bytes."""

    name: str
    title: str
    png: bytes

    @property
    def markdown(self) -> str:
        """The PNG inlined into a markdown image."""
        return f"![{self.title}](data:image/png;base64,{b64encode(self.png).decode('ascii')})"
