"""A bucket of others that sends its notifications to a queue, on moto (HOLDALL_MOTO): what changes there is seen at once.
Each is a test and prints one line; arguments name the tests to run.

No pass helps: the next one is an hour away.
"""
import functools
import json
import os
import time
import urllib.request

import boto3
from botocore.exceptions import ClientError

import checks
from checks import holdall, holds, run
from connection import KEY, SECRET, client

MOTO = os.environ["HOLDALL_MOTO"]
soon = functools.partial(checks.soon, seconds=30)
S3 = client()
THEIRS = client(url=MOTO)
SQS = boto3.client("sqs", endpoint_url=MOTO, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET)
CREDENTIALS = ("--access-key-id-env", "HOLDALL_ACCESS_KEY_ID", "--secret-access-key-env", "HOLDALL_SECRET_ACCESS_KEY")


def theirs(name, notified=True):
    """A bucket of others with one object, its queue, and the bucket of ours that it was taken over into."""
    THEIRS.create_bucket(Bucket=name)
    queue = SQS.create_queue(QueueName=name)["QueueUrl"]
    arn = SQS.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]}
    THEIRS.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=events)
    THEIRS.put_object(Bucket=name, Key="first", Body=b"1")
    told = ("--notifications", queue) if notified else ()
    url = f"s3://{name}?endpoint={MOTO}&region=us-east-1"
    holdall("silo", "create", name, url, "--access", "read-only", *CREDENTIALS, *told)
    S3.create_bucket(Bucket=f"{name}-ours")
    holdall("assimilate", name, "--into", f"s3://{name}-ours/", "--every", "1h", "--json")
    return f"{name}-ours", queue


def get(bucket, key):
    """An object's bytes; nothing where there is none, or where others changed it and nobody looked since."""
    try:
        return S3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        holds(error.response["Error"]["Code"] in ("NoSuchKey", "ServiceUnavailable"), str(error))
        return None


def keys(bucket):
    """A bucket's keys, as a list shows them: nothing is looked for."""
    return [entry["Key"] for entry in S3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def left(queue):
    """Messages in a queue, those under way included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, SQS.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"].values()))


def metric(name):
    """A number of the gateway's."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{os.environ['HOLDALL_ADMIN']}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"holdall_{name} "))


def dropped():
    """Messages that were not understood."""
    return metric("notifications_dropped_total")


def what_changes_is_seen_and_taken_out():
    """New, written over, gone: with names that a URL has to quote."""
    ours, queue = theirs("told")
    THEIRS.put_object(Bucket="told", Key="a b+c/ü", Body=b"new")
    soon(lambda: keys(ours) == ["a b+c/ü", "first"], f"a new key is not seen: {keys(ours)}")
    THEIRS.put_object(Bucket="told", Key="first", Body=b"second")
    soon(lambda: get(ours, "first") == b"second", "an overwrite is not seen")
    THEIRS.delete_object(Bucket="told", Key="a b+c/ü")
    soon(lambda: keys(ours) == ["first"], "what is gone is still listed")
    soon(lambda: left(queue) == 0, f"{left(queue)} messages are left in the queue")


def many_at_once_are_all_seen():
    """More than one answer of the queue holds."""
    ours, queue = theirs("many")
    for number in range(35):
        THEIRS.put_object(Bucket="many", Key=f"k{number:02}", Body=b"x")
    soon(lambda: len(keys(ours)) == 36, f"{len(keys(ours))} of 36 keys are seen")
    soon(lambda: left(queue) == 0, f"{left(queue)} messages are left in the queue")


def what_is_not_understood_keeps_nothing_behind_it():
    """It is taken out, and counted."""
    ours, queue = theirs("odd")
    before = dropped()
    SQS.send_message(QueueUrl=queue, MessageBody="hello")
    SQS.send_message(QueueUrl=queue, MessageBody='{"Type":"SubscriptionConfirmation","SubscribeURL":"https://sns.example/"}')
    told = {"s3": {"bucket": {"name": "odd"}, "object": {"key": "beside"}}}
    SQS.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": [{"eventName": "unknown"}, told]}))
    THEIRS.put_object(Bucket="odd", Key="after", Body=b"x")
    soon(lambda: "after" in keys(ours), "what came after it is not seen")
    soon(lambda: left(queue) == 0 and dropped() == before + 3, f"{left(queue)} are left, {dropped() - before} counted")


def a_queue_is_named_later_and_taken_away():
    """By `silo set`, while the gateway runs."""
    ours, queue = theirs("later", notified=False)
    THEIRS.put_object(Bucket="later", Key="second", Body=b"x")
    time.sleep(3)
    holds(left(queue) > 0 and keys(ours) == ["first"], "a queue that nobody named was asked")
    holdall("silo", "set", "later", "--notifications", queue)
    soon(lambda: keys(ours) == ["first", "second"], "what waited in the queue is not seen")
    soon(lambda: left(queue) == 0, f"{left(queue)} messages are left in the queue")
    holdall("silo", "set", "later", "--notifications", "")
    time.sleep(3)
    THEIRS.put_object(Bucket="later", Key="third", Body=b"x")
    time.sleep(4)
    holds(keys(ours) == ["first", "second"], "a queue that nobody names any more is asked")


def silent():
    """Why the queue of `late` cannot be asked, where it cannot."""
    roots = json.loads(holdall("assimilate", "status", "--json"))
    return next(root.get("silent_queue") for root in roots if root["order"]["silo"] == "late")


def a_queue_that_is_not_there_yet_is_asked_again():
    """Nothing else notices."""
    ours, queue = theirs("late")
    SQS.delete_queue(QueueUrl=queue)
    soon(silent, "nothing tells that the queue cannot be asked")
    holds(metric("notification_queues_silent") == 1, "no metric tells that the queue cannot be asked")
    holds(get(ours, "first") == b"1", "what was taken over does not read")
    THEIRS.put_object(Bucket="late", Key="unseen", Body=b"x")
    SQS.create_queue(QueueName="late")
    THEIRS.put_object(Bucket="late", Key="seen", Body=b"x")
    soon(lambda: "seen" in keys(ours), "what is told once the queue is there is not seen")
    holds(not silent() and metric("notification_queues_silent") == 0, "a queue that answers again is told to be silent")


TESTS = [
    what_changes_is_seen_and_taken_out,
    many_at_once_are_all_seen,
    what_is_not_understood_keeps_nothing_behind_it,
    a_queue_is_named_later_and_taken_away,
    a_queue_that_is_not_there_yet_is_asked_again,
]

if __name__ == "__main__":
    run(TESTS)
