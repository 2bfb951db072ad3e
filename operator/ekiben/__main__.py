"""`python -m ekiben`: the operator."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys

from ekiben import __version__, logs, metrics
from ekiben.kube.client import ApiError
from ekiben.kube.lease import LeaseLostError
from ekiben.lifecycle import run_operator
from ekiben.settings import Settings, SettingsError, help_table

logger = logging.getLogger("ekiben")

EXIT_FAILED, EXIT_MISUSED, EXIT_LEASE_LOST = 1, 2, 3


def main(arguments: list[str] | None = None) -> int:
    """Run the operator until SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ekiben",
        description="Ekiben delivers BentoML models on Kubernetes: it serves every ModelDeployment and\n"
        "rolls out each change of it on evidence. The API server is the pod's own, or KUBECONFIG's.",
        epilog=f"environment variables:\n{help_table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ekiben {__version__}")
    parser.parse_args(arguments)
    try:
        settings = Settings.from_environ()
    except SettingsError as problem:
        print(problem, file=sys.stderr)
        return EXIT_MISUSED
    logs.configure(settings.log_level, settings.log_format)
    metrics.BUILD.info({"version": __version__})
    _look_for_cycles_less_often()
    return asyncio.run(_run(settings))


def _look_for_cycles_less_often() -> None:
    """Spare the collector what was imported, and most of its looks at what is young.

    Each decision makes thousands of objects that no cycle holds; with Python's own thresholds a fleet's
    rollout spent 8 % of its CPU on looking for some. 10,000 objects are a few MiB.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _run(settings: Settings) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Until kopf runs; then it takes the signals itself, and its end is our stop.
        loop.add_signal_handler(number, stop.set)
    logger.info("ekiben %s", __version__)
    try:
        await run_operator(settings, stop=stop, ready=asyncio.Event())
    except SettingsError as problem:
        logger.critical("%s", problem)
        return EXIT_MISUSED
    except LeaseLostError as problem:
        logger.critical("%s", problem)
        return EXIT_LEASE_LOST
    except ApiError as problem:
        logger.critical("%s", problem)
        return EXIT_FAILED
    except Exception:
        logger.critical("ending: what follows could not be ridden out", exc_info=True)
        return EXIT_FAILED
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
