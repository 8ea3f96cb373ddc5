"""What tests in Python have in common: what must hold, waiting for it, `holdall …`, and a line for each test."""
import os
import subprocess
import sys
import time


def holds(truth, otherwise):
    """Fails with these words unless it is so."""
    if not truth:
        raise AssertionError(otherwise)


def soon(what, otherwise, seconds=60):
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while not what():
        holds(time.monotonic() < deadline, otherwise)
        time.sleep(0.1)


def holdall(*args, code=0):
    """Runs `holdall …`; returns what it prints."""
    done = subprocess.run([os.environ["HOLDALL_BIN"], *args], capture_output=True, text=True, timeout=120, check=False)
    holds(done.returncode == code, f"`holdall {' '.join(args)}` exits with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def run(tests):
    """Runs those that the arguments name, or all; each prints a line."""
    for test in tests:
        title = test.__name__.replace("_", "-")
        if sys.argv[1:] and title not in sys.argv[1:]:
            continue
        try:
            test()
            print(f"passed {title}", flush=True)
        except Exception as error:  # noqa: BLE001 - whatever a test raises is its result
            print(f"failed {title}: {type(error).__name__}: {str(error)[:600]}".replace("\n", " "), flush=True)
