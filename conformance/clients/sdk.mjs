// AWS's SDK for JavaScript, version 3; prints one line a test. Arguments name the tests to run.
import assert from "node:assert/strict";
import { randomBytes, createHash } from "node:crypto";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const client = new s3.S3Client({
  endpoint: process.env.HOLDALL_URL,
  region: "us-east-1",
  forcePathStyle: true,
  maxAttempts: 1,
  credentials: { accessKeyId: process.env.HOLDALL_KEY, secretAccessKey: process.env.HOLDALL_SECRET },
});
const send = (name, input) => client.send(new s3[`${name}Command`](input));
const read = async (Bucket, Key, more = {}) => {
  const answer = await send("GetObject", { Bucket, Key, ...more });
  return Buffer.from(await answer.Body.transformToByteArray());
};
const refused = async (name, promise) => {
  const error = await promise.then(() => null, (error) => error);
  assert.equal(error?.name, name);
};
let buckets = 0;
const bucket = async () => {
  const Bucket = `js-${++buckets}`;
  await send("CreateBucket", { Bucket });
  return Bucket;
};

const tests = {
  async "put-and-get"() {
    const Bucket = await bucket();
    for (const size of [0, 1, 65536, 262145, 1 << 20]) {
      const Body = randomBytes(size);
      const put = await send("PutObject", { Bucket, Key: `k${size}`, Body });
      assert.equal(put.ETag, `"${createHash("md5").update(Body).digest("hex")}"`);
      assert.ok((await read(Bucket, `k${size}`)).equals(Body), `${size} bytes differ`);
    }
  },
  // A stream of known length: chunks and a trailing checksum.
  async "streamed-body-with-a-trailer"() {
    const Bucket = await bucket();
    const body = randomBytes(700_001);
    const pieces = [body.subarray(0, 13), body.subarray(13, 400_000), body.subarray(400_000)];
    await send("PutObject", { Bucket, Key: "k", Body: Readable.from(pieces), ContentLength: body.length });
    assert.ok((await read(Bucket, "k")).equals(body));
    const head = await send("HeadObject", { Bucket, Key: "k", ChecksumMode: "ENABLED" });
    assert.ok(head.ChecksumCRC32, "the trailer's CRC32 is not kept");
  },
  async "every-checksum-algorithm"() {
    const Bucket = await bucket();
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
      const put = await send("PutObject", { Bucket, Key: ChecksumAlgorithm, Body: randomBytes(5000), ChecksumAlgorithm });
      const head = await send("HeadObject", { Bucket, Key: ChecksumAlgorithm, ChecksumMode: "ENABLED" });
      assert.equal(head[`Checksum${ChecksumAlgorithm}`], put[`Checksum${ChecksumAlgorithm}`]);
      assert.ok(put[`Checksum${ChecksumAlgorithm}`]);
    }
  },
  async "upload-in-parts"() {
    const Bucket = await bucket();
    const body = randomBytes((12 << 20) + 77);
    const upload = new Upload({ client, params: { Bucket, Key: "big", Body: Readable.from([body]), Metadata: { a: "b" } } });
    await upload.done();
    assert.ok((await read(Bucket, "big")).equals(body));
    const head = await send("HeadObject", { Bucket, Key: "big" });
    assert.match(head.ETag, /-3"$/);
    assert.deepEqual(head.Metadata, { a: "b" });
  },
  async "upload-aborted"() {
    const Bucket = await bucket();
    const upload = new Upload({ client, params: { Bucket, Key: "big", Body: randomBytes(22 << 20) }, queueSize: 1 });
    upload.on("httpUploadProgress", () => upload.abort());
    await assert.rejects(upload.done());
    await refused("NotFound", send("HeadObject", { Bucket, Key: "big" }));
  },
  async "copies"() {
    const Bucket = await bucket();
    await send("PutObject", { Bucket, Key: "from ü+", Body: "copied", Metadata: { a: "b" } });
    await send("CopyObject", { Bucket, Key: "to", CopySource: `${Bucket}/${encodeURIComponent("from ü+")}` });
    assert.equal((await read(Bucket, "to")).toString(), "copied");
    assert.deepEqual((await send("HeadObject", { Bucket, Key: "to" })).Metadata, { a: "b" });
  },
  async "lists-in-pages"() {
    const Bucket = await bucket();
    const keys = ["a/1", "a/2", "b&<>", "c c", "ü", "😀"];
    for (const Key of keys) await send("PutObject", { Bucket, Key, Body: "x" });
    const found = [];
    for await (const page of s3.paginateListObjectsV2({ client, pageSize: 2 }, { Bucket })) found.push(...page.Contents.map((o) => o.Key));
    assert.deepEqual(found, [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    const grouped = await send("ListObjectsV2", { Bucket, Delimiter: "/" });
    assert.deepEqual(grouped.CommonPrefixes, [{ Prefix: "a/" }]);
  },
  async "ranges-and-conditions"() {
    const Bucket = await bucket();
    const { ETag } = await send("PutObject", { Bucket, Key: "k", Body: "0123456789" });
    assert.equal((await read(Bucket, "k", { Range: "bytes=2-4" })).toString(), "234");
    await refused("PreconditionFailed", send("GetObject", { Bucket, Key: "k", IfMatch: '"x"' }));
    await refused("PreconditionFailed", send("PutObject", { Bucket, Key: "k", Body: "y", IfNoneMatch: "*" }));
    await send("PutObject", { Bucket, Key: "k", Body: "y", IfMatch: ETag });
    await refused("NoSuchKey", read(Bucket, "none"));
  },
  async "presigned-urls"() {
    const Bucket = await bucket();
    const put = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: "k ü" }), { expiresIn: 60 });
    assert.equal((await fetch(put, { method: "PUT", body: "by url" })).status, 200);
    const get = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: "k ü" }), { expiresIn: 60 });
    assert.equal(await (await fetch(get)).text(), "by url");
    assert.equal((await fetch(get.replace(/Signature=./, (s) => s.slice(0, -1) + (s.endsWith("0") ? "1" : "0")))).status, 403);
  },
  async "tags-and-attributes"() {
    const Bucket = await bucket();
    await send("PutObject", { Bucket, Key: "k", Body: "0123456789", Tagging: "a=b" });
    assert.deepEqual((await send("GetObjectTagging", { Bucket, Key: "k" })).TagSet, [{ Key: "a", Value: "b" }]);
    const found = await send("GetObjectAttributes", { Bucket, Key: "k", ObjectAttributes: ["ETag", "ObjectSize", "Checksum"] });
    assert.equal(found.ObjectSize, 10);
    assert.ok(found.Checksum);
  },
  async "deletes"() {
    const Bucket = await bucket();
    const Objects = ["a", "b&", "ü"].map((Key) => ({ Key }));
    for (const { Key } of Objects) await send("PutObject", { Bucket, Key, Body: "x" });
    assert.equal((await send("DeleteObjects", { Bucket, Delete: { Objects } })).Deleted.length, 3);
    await send("DeleteBucket", { Bucket });
    await refused("NotFound", send("HeadBucket", { Bucket }));
  },
};

for (const [name, test] of Object.entries(tests)) {
  if (process.argv.length > 2 && !process.argv.includes(name)) continue;
  try {
    await test();
    console.log(`passed ${name}`);
  } catch (error) {
    console.log(`failed ${name}: ${error?.name}: ${String(error?.message).replaceAll("\n", " ").slice(0, 400)}`);
  }
}
