"""SIGTERM under load: what was acknowledged is there after the next start, and no answer of 200 is cut short.

`load FILE` writes and reads until the gateway is gone, and notes what was acknowledged; `look FILE` compares."""
import hashlib
import json
import os
import sys
import threading

from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError

from connection import client

MIB = 1 << 20
LARGE = bytes(range(256)) * (8 * MIB // 256)


def work(number, acknowledged, cut, answered):
    """One client, until its connection is refused or closed before an answer."""
    s3, turn = client(), 0
    while True:
        turn += 1
        key, body = f"{number}/{turn}", os.urandom(1 + (turn * 7919) % 200_000)
        try:
            s3.put_object(Bucket="stop", Key=key, Body=body)
            acknowledged[key] = hashlib.sha256(body).hexdigest()
            got = s3.get_object(Bucket="stop", Key="large")
        except (ConnectionClosedError, EndpointConnectionError, HTTPClientError):
            return
        except ClientError as error:
            answered.append(error.response["Error"]["Code"])
            return
        try:
            whole = got["Body"].read() == LARGE
        except Exception as error:  # noqa: BLE001
            cut.append(str(error))
            return
        if not whole:
            cut.append("other bytes")


def load(file):
    s3, acknowledged, cut, answered = client(), {}, [], []
    s3.create_bucket(Bucket="stop")
    s3.put_object(Bucket="stop", Key="large", Body=LARGE)
    threads = [threading.Thread(target=work, args=(number, acknowledged, cut, answered)) for number in range(12)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()
    with open(file, "w") as out:
        json.dump({"acknowledged": acknowledged, "cut": cut, "answered": answered}, out)


def look(file):
    with open(file) as told:
        told = json.load(told)
    s3, lost = client(), []
    for key, digest in told["acknowledged"].items():
        try:
            if hashlib.sha256(s3.get_object(Bucket="stop", Key=key)["Body"].read()).hexdigest() != digest:
                lost.append(f"{key} has other bytes")
        except ClientError as error:
            lost.append(f"{key}: {error}")
    wrong = lost + [f"an answer was cut short: {why}" for why in told["cut"]]
    wrong += [f"answered {code}" for code in told["answered"] if code not in ("ServiceUnavailable", "SlowDown")]
    if len(told["acknowledged"]) < 50:
        wrong.append(f"only {len(told['acknowledged'])} writes were acknowledged")
    print(f"{len(told['acknowledged'])} acknowledged writes" if not wrong else "; ".join(wrong[:5]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit({"load": load, "look": look}[sys.argv[1]](sys.argv[2]) or 0)
