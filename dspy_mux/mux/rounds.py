"""Drive a method: waves of draws on threads (`run`) or on asyncio tasks (`arun`).

A method is a generator of waves. It yields draws, continues when they are settled, and returns its
prediction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import aclosing, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import dspy

from ..sampling.draw import Draw, raise_mistakes
from ..sampling.offload import decide
from ..sampling.run import asample, sample
from ..sampling.turns import take_turn
from .stream import MuxStream


@dataclass(frozen=True)
class Wave:
    """Draws that are made at once.

    Attributes:
        enough: called whenever a draw has settled; True withdraws the others. None waits for all.
        counted: all draws that decide the question, in this wave or in others; None for the wave's.
    """

    draws: Sequence[Draw]
    enough: Callable[[], bool] | None = None
    counted: Sequence[Draw] | None = None

    @property
    def among(self) -> Sequence[Draw]:
        """The draws that are counted together."""
        return self.draws if self.counted is None else self.counted


#: Yields waves of draws, continues after each when its draws are settled, returns the prediction.
Rounds: TypeAlias = Generator[Wave, None, dspy.Prediction]


def run(
    rounds: Rounds, stream: MuxStream | None, *, timeout: float | None, num_threads: int | None
) -> dspy.Prediction:
    """Make all waves on threads; return the prediction.

    Args:
        stream: who reads meanwhile; None for nobody.
        timeout: seconds that one draw may take.
        num_threads: draws that run at once; None for all of a wave.
    """
    wave, prediction = _next_wave(rounds, Wave(()))
    while prediction is None:
        with (
            nullcontext() if stream is None else stream.watched(wave.draws) as interrupt,
            closing(
                sample(wave.draws, timeout=timeout, num_threads=num_threads, interrupt=interrupt)
            ) as settled,
        ):
            for draw in settled:
                raise_mistakes([draw])  # at once: the other draws would repeat it
                if stream is not None:
                    stream.tell(draw, wave.among)
                if wave.enough is not None and wave.enough():
                    break
        wave, prediction = _next_wave(rounds, wave)
    if stream is not None:
        stream.finish(prediction)
    return prediction


async def arun(
    rounds: Rounds, stream: MuxStream | None, *, timeout: float | None, num_threads: int | None
) -> dspy.Prediction:
    """Make all waves on asyncio tasks; see `run`."""
    wave, prediction = _next_wave(rounds, Wave(()))
    while prediction is None:
        async with aclosing(
            asample(wave.draws, timeout=timeout, num_threads=num_threads)
        ) as settled:
            async for draw in settled:
                raise_mistakes([draw])  # at once: the other draws would repeat it
                try:
                    if stream is not None:
                        await stream.atell(draw, wave.among)
                    if wave.enough is not None and await decide(wave.enough):
                        break
                except asyncio.CancelledError as cancelled:
                    await settled.athrow(cancelled)  # which waits for the draws under way
        wave, prediction = await decide(partial(_next_wave, rounds, wave))
        await take_turn()
    if stream is not None:
        await stream.afinish(prediction)
    return prediction


def _next_wave(rounds: Rounds, done: Wave) -> tuple[Wave, dspy.Prediction | None]:
    """Return the next wave; after the last one, `done` and the prediction."""
    raise_mistakes(done.draws)
    try:
        return next(rounds), None
    except StopIteration as end:
        return done, end.value
