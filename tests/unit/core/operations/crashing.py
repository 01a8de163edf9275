"""Processes that end in the middle of something."""

from typing import Any


class Crashed(BaseException):
    """The process is gone: nothing after this runs in it."""


class Crashing:
    """Wraps a port, and ends the process before or after one of the calls to it."""

    def __init__(self, inner: object, countdown: list[int]) -> None:
        self._inner = inner
        self._countdown = countdown

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        async def method(*args: Any, **kwargs: Any) -> Any:
            self._tick()
            answer = await call(*args, **kwargs)
            self._tick()
            return answer

        return method

    async def __call__(self, *args: Any) -> None:
        self._tick()
        await self._inner(*args)  # type: ignore[operator]
        self._tick()

    def _tick(self) -> None:
        self._countdown[0] -= 1
        if self._countdown[0] == 0:
            raise Crashed
