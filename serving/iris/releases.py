"""The five releases of the iris model, as data: what each one serves and how it misbehaves on purpose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """Describe one release. Shares are of the requests to /predict, from 0 to 1; delay and turn in seconds."""

    model: str
    summary: str
    failing_share: float = 0.0
    slow_share: float = 0.0
    delay: float = 0.0
    turn: float = 0.0


RELEASES = {
    "1.0.0": Release(model="iris:sepals", summary="good: looks at the sepals only"),
    "2.0.0": Release(model="iris:flower", summary="better: looks at the whole flower"),
    "3.0.0": Release(model="iris:flower", summary="bad: fails one request in five", failing_share=0.2),
    "4.0.0": Release(model="iris:flower", summary="slow: 400 ms more for 30 %", slow_share=0.3, delay=0.4),
    "5.0.0": Release(model="iris:flower", summary="heavy: 100 ms each, one at a time", turn=0.1),
}
