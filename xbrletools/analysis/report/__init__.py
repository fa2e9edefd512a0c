"""One HTML page of what is known about a capture, or of what differs between two.

The verdict and its causes come first. The page stands alone. Style and pictures are in it, it does not have scripts,
and its policy forbids it to load anything. Its size is bounded, whatever the capture holds.
"""

from .compare import Comparison, compare, compared_page
from .gather import Report, gather
from .html import page

__all__ = ["Comparison", "Report", "compare", "compared_page", "gather", "page"]
