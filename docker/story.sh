#!/bin/sh
# What the Compose demo tells: objects go from a disk into another S3 server while they are read, and nothing that S3
# shows of them changes.
set -eu

# Before 2.13 the command line does not look at AWS_ENDPOINT_URL.
aws() {
    command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"
}

bucket() {
    aws s3 mb s3://archive
}

story() {
    say "A bucket with forty objects, written to the disk silo 'hot'"
    aws s3 mb s3://photos
    mkdir -p /tmp/photos
    for i in $(seq 1 40); do
        head -c $((i * 9973)) /dev/urandom > "/tmp/photos/$i.jpg"
    done
    aws s3 cp --recursive --only-show-errors /tmp/photos s3://photos/2026/
    holdall where s3://photos/2026/7.jpg
    shown > /tmp/before

    say "Drain 'hot' into 'cloud', a bucket of another S3 server, and read meanwhile"
    holdall drain hot --to cloud --wait done &
    drain=$!
    for i in 3 7 21 40; do
        aws s3 cp --only-show-errors "s3://photos/2026/$i.jpg" /tmp/read.jpg
        cmp /tmp/read.jpg "/tmp/photos/$i.jpg"
    done
    wait "$drain"
    holdall where s3://photos/2026/7.jpg
    holdall where s3://photos/2026/7.jpg --json | grep -q '"cloud"'

    say "Same keys, ETags, sizes and dates; same bytes"
    shown > /tmp/after
    cmp /tmp/before /tmp/after
    aws s3 sync --only-show-errors s3://photos/2026/ /tmp/back
    diff -r /tmp/photos /tmp/back
    holdall silo list
    say "0 failed reads, 0 changed ETags"
}

shown() {
    aws s3api list-objects-v2 --bucket photos --query 'Contents[].[Key,ETag,Size,LastModified]' --output text
}

say() {
    printf '\n== %s\n' "$1"
}

"$1"
