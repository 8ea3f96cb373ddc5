"""Parts, options, the closing line."""
import argparse
import os
import time

from . import chain, clients, compose, format as formats, outage, rust, stop, suite
from .house import HOME, LOGS, Report, fresh, say

# In the order they run: what fails fastest first.
PARTS = [*rust.CHECKS, *rust.TESTS, *clients.PARTS, *formats.PARTS, *stop.PARTS, *suite.PARTS, *chain.PARTS, *rust.RIGS, *outage.PARTS]
ASKED_FOR = {"compose": compose.PARTS, "soak": rust.SOAK + outage.SOAK}


def main(argv):
    """Runs what was asked for; 0 when nothing failed."""
    options = _options(argv)
    if options.write_format:
        formats.write(options.write_format)
        return 0
    parts = PARTS + [part for name, more in ASKED_FOR.items() if getattr(options, name) for part in more]
    if options.only:
        every = parts + [part for more in ASKED_FOR.values() for part in more if part not in parts]
        parts = [part for part in every if any(_wanted(part, name) for name in options.only)]
        unknown = [name for name in options.only if not any(_wanted(part, name) for part in every)]
        if unknown:
            raise SystemExit(f"no part is named {', '.join(unknown)}; --list names them all")
    if options.list:
        for part in parts:
            say(f"{part.name:<22}{part.what}")
        return 0
    HOME.mkdir(exist_ok=True)
    fresh(LOGS)
    report = Report()
    only = [name.split(".", 1)[1] for name in options.only if "." in name]
    for part in parts:
        start = time.monotonic()
        say(f"── {part.name}: {part.what}")
        part.run(report, only)
        say(f"── {part.name}: {time.monotonic() - start:.0f} s")
    return report.close()


def _wanted(part, name):
    return part.name == name.split(".", 1)[0]


def _options(argv):
    parser = argparse.ArgumentParser(
        prog="conformance/run",
        description="Installs what it needs below .conformance/, builds once, runs everything, and ends with one line "
        "`N passed, N failed, N skipped`. Logs are in .conformance/logs.",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these parts, or PART.TEST of a client")
    parser.add_argument("--list", action="store_true", help="name the parts and run nothing")
    parser.add_argument("--compose", action="store_true", help="the Compose demo too, where a Docker engine is")
    parser.add_argument("--soak", action="store_true", help="the large runs too: hours")
    parser.add_argument("--write-format", type=int, metavar="N", help="write the fixture of format N, which this version writes")
    return parser.parse_args(argv)


if "CARGO_TERM_COLOR" not in os.environ:
    os.environ["CARGO_TERM_COLOR"] = "never"
