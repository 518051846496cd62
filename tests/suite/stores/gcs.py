"""The part of Google Cloud Storage's XML API that a warehouse uses, in memory: gcs.py PORT BUCKET.

The emulators that there are know neither `x-goog-if-generation-match` on a PUT of an object nor its answers. What stands here
follows https://cloud.google.com/storage/docs/xml-api/reference-methods.
"""
import hashlib
import itertools
import sys
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000
lock = threading.Lock()
generations = itertools.count(1)
buckets = {sys.argv[2]: {}}
uploads = {}


class Gcs(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304) and not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, message):
        told = f"<Code>{code}</Code><Message>{message}</Message>"
        self.answer(status, f"<?xml version='1.0'?><Error>{told}</Error>".encode())

    def target(self):
        """Bucket, key, and query; a bucket that is not there is refused."""
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if bucket not in buckets:
            self.refuse(404, "NoSuchBucket", "The specified bucket does not exist.")
            return None
        return buckets[bucket], key, query

    def store(self, objects, key, data):
        """Puts an object unless the generation is another than asked for."""
        wanted = self.headers.get("x-goog-if-generation-match")
        with lock:
            there = objects.get(key)
            if wanted is not None and int(wanted) != (there["generation"] if there else 0):
                return None
            etag = f'"{hashlib.md5(data).hexdigest()}"'
            made = {"data": data, "generation": next(generations), "etag": etag, "date": formatdate(usegmt=True)}
            objects[key] = made
        return made

    def stored(self, made, body=b""):
        if made is None:
            return self.refuse(412, "PreconditionFailed", "At least one of the pre-conditions did not hold.")
        self.answer(200, body, [("ETag", made["etag"]), ("x-goog-generation", str(made["generation"]))])

    def do_PUT(self):
        if (target := self.target()) is None:
            return
        objects, key, query = target
        if "uploadId" in query:
            uploads[query["uploadId"]][int(query["partNumber"])] = self.body
            return self.answer(200, b"", [("ETag", f'"{query["partNumber"]}"')])
        data = self.body
        if source := self.headers.get("x-goog-copy-source"):
            data = objects[unquote(source).partition("/")[2]]["data"]
        self.stored(self.store(objects, key, data))

    def do_POST(self):
        if (target := self.target()) is None:
            return
        objects, key, query = target
        if "uploads" in query:
            upload = str(next(generations))
            uploads[upload] = {}
            named = f"<Bucket>b</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            return self.answer(200, f"<InitiateMultipartUploadResult>{named}</InitiateMultipartUploadResult>".encode())
        parts = uploads.pop(query["uploadId"])
        made = self.store(objects, key, b"".join(parts[number] for number in sorted(parts)))
        etag = escape(made["etag"]) if made else ""
        self.stored(made, f"<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>".encode())

    def do_DELETE(self):
        if (target := self.target()) is None:
            return
        objects, key, query = target
        if "uploadId" in query:
            uploads.pop(query["uploadId"], None)
            return self.answer(204)
        with lock:
            gone = objects.pop(key, None)
        self.answer(204) if gone else self.refuse(404, "NoSuchKey", "The specified key does not exist.")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if (target := self.target()) is None:
            return
        objects, key, query = target
        if not key:
            return self.list(objects, query)
        made = objects.get(key)
        if made is None:
            return self.refuse(404, "NoSuchKey", "The specified key does not exist.")
        headers = [("ETag", made["etag"]), ("Last-Modified", made["date"]), ("x-goog-generation", str(made["generation"]))]
        size = len(made["data"])
        first, last, status = 0, size - 1, 200
        if asked := self.headers.get("Range"):
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first = int(begin) if begin else max(0, size - int(end))
            last = min(int(end), size - 1) if begin and end else size - 1
            status = 206
            headers.append(("Content-Range", f"bytes {first}-{last}/{size}"))
        headers.append(("Content-Length", str(last - first + 1)))
        self.answer(status, made["data"][first:last + 1], headers)

    def list(self, objects, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = query.get("continuation-token", query.get("start-after", ""))
        contents, common = [], []
        with lock:
            names = sorted(name for name in objects if name.startswith(prefix) and name > after)
        for name in names[:PAGE]:
            rest = name[len(prefix):]
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter)[0] + delimiter
                if folder not in common:
                    common.append(folder)
            elif made := objects.get(name):
                contents.append(
                    f"<Contents><Key>{escape(name)}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>{escape(made['etag'])}</ETag><Size>{len(made['data'])}</Size></Contents>")
        more = f"<NextContinuationToken>{escape(names[PAGE - 1])}</NextContinuationToken>" if len(names) > PAGE else ""
        folders = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in common)
        listed = f"<Name>b</Name><Prefix>{escape(prefix)}</Prefix>{''.join(contents)}{folders}{more}"
        self.answer(200, f"<?xml version='1.0'?><ListBucketResult>{listed}</ListBucketResult>".encode())

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(sys.argv[1])), Gcs).serve_forever()
