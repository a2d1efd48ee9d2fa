"""How quickly it goes on: what was seen over time, thinned out, and the time that is left."""

from __future__ import annotations

__all__ = ["CHART_APART", "Pace"]

#: How many seconds go by until the curve of workers over time is sent again to a page.
CHART_APART = 1.0
#: The most points that are kept, and the least time between two (s).
_POINTS, _APART = 240, 0.5
#: The rate is that of so many seconds.
_WINDOW = 60.0


class Pace:
    """Takes in how many components are finished and how many workers run, and tells the rate."""

    def __init__(self) -> None:
        self.points: list[tuple[float, int, int]] = []
        self._apart = _APART

    def see(self, now: float, finished: int, running: int) -> None:
        """This is so at the moment `now` (Unix time)."""
        points = self.points
        point = (now, finished, running)
        if len(points) > 1 and now - points[-2][0] < self._apart:
            points[-1] = point
            return
        if points and points[-1][1:] == point[1:] and len(points) > 1 and points[-2][1:] == point[1:]:
            points[-1] = point  # nothing happens: two points are enough for it
            return
        points.append(point)
        if len(points) > _POINTS:
            self.points = [*points[:-1:2], points[-1]]
            self._apart *= 2

    def rate(self) -> float | None:
        """Components a second, of the last minute; None where nothing is known yet."""
        if len(self.points) < 2:
            return None
        end = self.points[-1]
        begin = next((point for point in self.points if end[0] - point[0] <= _WINDOW), self.points[0])
        if begin is end and len(self.points) > 1:
            begin = self.points[-2]
        seconds, done = end[0] - begin[0], end[1] - begin[1]
        return done / seconds if seconds > 0 and done > 0 else None
