"""What is drawn of single images: maps, attacks, models on one pair, landscapes; on axes of yours, or on new ones.

Every function returns the axes that it drew on, in the shape that they have in the figure. `draw` has the parts, which
the pages of `jsep.report` are made of too: one way to show an image, a map, a change and a plane.
"""

from jsep.plot.figures import attack, compare, landscape, map

__all__ = ["attack", "compare", "landscape", "map"]
