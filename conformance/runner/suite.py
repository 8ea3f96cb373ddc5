"""ceph/s3-tests, taken from where it is, compared with the list in s3-tests/expected.txt."""
import os
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

from . import rust
from .gateway import Gateway
from .house import CONFORMANCE, HOME, LOGS, ROOT, Failed, Skip, clean_env, fresh, sh, tail
from .install import python

EXPECTED = CONFORMANCE / "s3-tests" / "expected.txt"
SOURCE = "https://github.com/ceph/s3-tests"
# Seconds for one case: the slowest sends a thousand PUTs.
CASE = 120
LINE = re.compile(r"^(\S+)\s+(\S+)::(\S+)(?:\s+waits: (.+))?$")


def expected():
    """(area, file, name, what it waits for or nothing) of every case."""
    rows = []
    for line in EXPECTED.read_text().splitlines():
        if line and not line.startswith("#"):
            match = LINE.match(line.strip())
            if not match:
                raise Failed(f"{EXPECTED.name}: `{line}` does not read")
            rows.append(match.groups())
    return rows


def checkout():
    """The suite's folder: named, beside this checkout, or cloned where a network allows."""
    candidates = [os.environ.get("HOLDALL_S3TESTS"), ROOT / ".." / "shared" / "suites" / "s3-tests", HOME / "s3-tests"]
    for folder in map(Path, filter(None, candidates)):
        if (folder / "s3tests" / "functional" / "test_s3.py").exists():
            return folder.resolve()
    if shutil.which("git"):
        env = dict(os.environ, GIT_TERMINAL_PROMPT="0")
        if sh(["git", "clone", "--quiet", "--depth", "1", SOURCE, HOME / "s3-tests"], "s3-tests-clone", env=env, timeout=300) == 0:
            return HOME / "s3-tests"
    raise Skip("ceph/s3-tests is not here and cannot be cloned (HOLDALL_S3TESTS names its folder)")


def _account(gateway, name):
    made = gateway.account(name)
    return made["access_key_id"], made["secret_access_key"], made["canonical_id"]


def _configuration(gateway):
    """The suite's own file: three accounts of ours; sections it wants though nothing here uses them."""
    main, alt, tenant = (_account(gateway, name) for name in ("main", "alt", "tenant"))
    text = f"[DEFAULT]\nhost = {gateway.host}\nport = {gateway.port}\nis_secure = False\nssl_verify = False\n"
    text += "[fixtures]\nbucket prefix = s3t-{random}-\niam name prefix = s3t-\niam path prefix = /s3t/\n"
    sections = [
        ("s3 main", "main", main, "api_name = us-east-1\n"), ("s3 alt", "alt", alt, ""),
        ("s3 tenant", "tenant", tenant, "tenant = tenant\n"), ("iam", "main", main, ""), ("iam root", "main", main, ""),
        ("iam alt root", "alt", alt, ""),
    ]
    for section, name, (key, secret, canonical), more in sections:
        text += f"[{section}]\ndisplay_name = {name}\nuser_id = {canonical}\nemail = {name}@example.com\n"
        text += f"access_key = {key}\nsecret_key = {secret}\n{more}"
    return text


def _run(report, _only):
    rows, verdicts = [], {}

    def suite():
        folder = checkout()
        bin_folder = python(folder / "requirements.txt")
        rust.build()
        rows.extend(expected())
        work = fresh(HOME / "s3-tests-run")
        with Gateway("s3-tests") as gateway:
            (work / "s3tests.conf").write_text(_configuration(gateway))
            cases = "\n".join(f"s3tests/functional/{file}::{name}" for _, file, name, _ in rows)
            (work / "cases.txt").write_text(cases + "\n")
            env = clean_env(S3TEST_CONF=work / "s3tests.conf", PYTHONPATH=folder, HOME=work, AWS_DEFAULT_REGION="us-east-1")
            code = sh(
                [bin_folder / "python", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short", "-W", "ignore",
                 f"--timeout={CASE}", "-o", "timeout_func_only=true", f"--junit-xml={work / 'result.xml'}",
                 "-o", "junit_logging=no", f"@{work / 'cases.txt'}"],
                "s3-tests", cwd=folder, env=env, timeout=1500,
            )
        if code not in (0, 1):
            raise Failed(f"pytest ended with {code}: {tail('s3-tests')}")
        verdicts.update(_verdicts(work / "result.xml"))

    # Absent is allowed even where CI requires the rest: nobody can be made to have a network.
    if report.run("s3-tests.suite-ran", suite, required=False):
        _compare(report, rows, verdicts)


def _verdicts(path):
    found = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        if bad is not None:
            found[case.get("name")] = (bad.get("message") or bad.text or "failed").splitlines()[0][:200]
        elif case.find("skipped") is not None:
            found[case.get("name")] = "skipped by the suite"
        else:
            # A case whose clean-up failed has two elements of one name; the bad one stays.
            found.setdefault(case.get("name"), None)
    return found


def _compare(report, rows, verdicts):
    areas, waiting = {}, {}
    for area, _, name, waits in rows:
        why = verdicts.get(name, "did not run")
        ran = areas.setdefault(area, [0, 0])
        ran[1] += 1
        if why is None:
            ran[0] += 1
            report.count(1, [], [])
            if waits:
                print(f"news    s3-tests.{name} passes: take `waits: {waits}` off the list", flush=True)
        elif waits:
            waiting[waits] = waiting.get(waits, 0) + 1
        else:
            report.add(f"s3-tests.{name}", "failed", why)
    for area, (passed, total) in sorted(areas.items()):
        print(f"        {area:<20}{passed} of {total}", flush=True)
    total = sum(passed for passed, _ in areas.values())
    said = ", ".join(f"{count} for {feature}" for feature, count in sorted(waiting.items()))
    print(f"s3-tests: {total} of {len(rows)} pass; waiting: {said or 'none'}", flush=True)
    (LOGS / "s3-tests.tsv").write_text("".join(f"{n}\t{w or 'passed'}\n" for n, w in sorted(verdicts.items())))


PARTS = [rust.Part("s3-tests", "ceph/s3-tests, the areas this project answers for", _run)]
