"""An object store on this machine: as much of S3 as savepoints need, and of the like in Google's and Azure's stores, in memory.

usage: object_store.py PORT

S3: path style, with the signature of every request (version 4) checked against user `tester` and secret `secret of tester`; the bucket `bucket` is
there and no other. Google (`/google/...`, the same requests without signatures) and Azure (`/azure/...`, signatures are wanted and not checked).
A part of an upload but the last has 5 MiB at least, as everywhere.

/-/state tells what is there: objects and their sizes, uploads that are open, requests. /-/cut?after=N&count=M has the connection cut in the middle of M
requests after N others. /-/full?after=N takes no content any more after N contents. /-/spoil?name=NAME changes a byte of an object.
"""
import hashlib
import hmac
import json
import re
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

USER, SECRET, BUCKET, PART_BYTES_MIN = 'tester', 'secret of tester', 'bucket', 5 << 20


class State:
    """What is kept."""

    def __init__(self):
        self.lock = threading.Lock()
        self.objects, self.uploads, self.blocks, self.asked = {}, {}, {}, []
        self.cut_after, self.cut_count, self.uploaded, self.room = 0, 0, 0, None

    def cuts(self):
        with self.lock:
            if self.cut_count <= 0:
                return False
            if self.cut_after > 0:
                self.cut_after -= 1
                return False
            self.cut_count -= 1
            return True


STATE = State()


class Refused(Exception):
    """An answer that says no."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


def tag(content):
    return '"' + hashlib.md5(content).hexdigest() + '"'


def signature(method, path, query, headers, names, digest, date, region):
    """AWS signature version 4 of a request, from its documentation."""
    pairs = sorted((quote(k, safe='-_.~'), quote(v, safe='-_.~')) for k, v in parse_qsl(query, keep_blank_values=True))
    canonical = '\n'.join([
        method, path, '&'.join(f'{k}={v}' for k, v in pairs),
        ''.join(f'{name}:{" ".join((headers.get(name) or "").split())}\n' for name in names), ';'.join(names), digest])
    day = date[:8]
    text = '\n'.join(['AWS4-HMAC-SHA256', date, f'{day}/{region}/s3/aws4_request',
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = ('AWS4' + SECRET).encode()
    for part in (day, region, 's3', 'aws4_request'):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, status, content=b'', **headers):
        cut, content = self.cut and self.command == 'GET', content.encode() if isinstance(content, str) else content
        self.send_response(status)
        for name, value in {'Content-Length': len(content), **headers}.items():
            self.send_header(name.replace('_', '-'), str(value))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content[:len(content) // 2] if cut else content)
        if cut:
            self.hang_up()

    def hang_up(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def serve(self):
        url = urlsplit(self.path)
        if url.path.startswith('/-/'):
            return self.control(url.path[3:], dict(parse_qsl(url.query)))
        length, self.cut = int(self.headers.get('Content-Length') or 0), STATE.cuts()
        STATE.asked.append(f'{self.command} {self.path}')
        if self.cut and self.command != 'GET':
            self.rfile.read(length // 2)
            return self.hang_up()
        body = self.rfile.read(length)
        try:
            self.checked(url, body)
            self.store(url, dict(parse_qsl(url.query, keep_blank_values=True)), body)
        except Refused as no:
            self.answer(no.status, f'<Error><Code>{no.code}</Code><Message>{no}</Message></Error>')

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    def control(self, word, query):
        if word == 'cut':
            STATE.cut_after, STATE.cut_count = int(query['after']), int(query['count'])
        if word == 'full':
            STATE.room = int(query['after'])
        if word == 'spoil':
            content = bytearray(STATE.objects[query['name']])
            content[len(content) // 2] ^= 1
            STATE.objects[query['name']] = bytes(content)
        self.cut = False
        sizes = {name: len(content) for name, content in STATE.objects.items()}
        self.answer(200, json.dumps({'objects': sizes, 'uploads': len(STATE.uploads), 'asked': STATE.asked}))

    def checked(self, url, body):
        """Who asks; Google's is asked by anybody."""
        if url.path.startswith('/google/'):
            return
        login = self.headers.get('Authorization') or ''
        if url.path.startswith('/azure/'):
            if not login.startswith('SharedKey tester:'):
                raise Refused(403, 'AuthenticationFailed', 'there is no signature')
            return
        found = re.fullmatch(r'AWS4-HMAC-SHA256 Credential=([^/]+)/(\d+)/([^/]+)/s3/aws4_request, '
                             r'SignedHeaders=([^,]+), Signature=([0-9a-f]+)', login)
        if not found:
            raise Refused(403, 'AccessDenied', 'there is no signature')
        user, _, region, names, signed = found.groups()
        if user != USER:
            raise Refused(403, 'InvalidAccessKeyId', 'there is no such user')
        digest = self.headers['x-amz-content-sha256']
        wanted = signature(self.command, url.path, url.query, self.headers, names.split(';'), digest,
                           self.headers['x-amz-date'], region)
        if signed != wanted:
            raise Refused(403, 'SignatureDoesNotMatch', 'the signature is another one')
        if digest not in ('UNSIGNED-PAYLOAD', hashlib.sha256(body).hexdigest()):
            raise Refused(400, 'XAmzContentSHA256Mismatch', 'the content is not what was signed')

    def store(self, url, query, body):
        if self.command == 'PUT' and STATE.room is not None:
            if STATE.room == 0:
                raise Refused(403, 'QuotaExceeded', 'there is no room')
            STATE.room -= 1
        path = unquote(url.path).lstrip('/')
        kind = path.split('/')[0]
        parts = path.split('/', 2)[1:] if kind == 'google' else path.split('/', 1)
        if kind == 'azure':  # the account stands in front
            parts = path.split('/', 2)[1:]
            if parts[0] == 'tester':
                parts = parts[1].split('/', 1)
        bucket, key = parts[0], parts[1] if len(parts) > 1 else ''
        if bucket != BUCKET:
            raise Refused(404, 'NoSuchBucket', 'there is no such bucket')
        with STATE.lock:
            if not key:
                return self.bucket(kind, query, body)
            name = f'{kind}/{key}' if kind in ('google', 'azure') else key
            return (self.azure if kind == 'azure' else self.object)(name, query, body)

    def bucket(self, kind, query, body):
        if self.command == 'POST' and 'delete' in query:
            keys = [e.text for e in ElementTree.fromstring(body).iter() if e.tag.split('}')[-1] == 'Key']
            for key in keys:
                STATE.objects.pop(key, None)
            deleted = ''.join(f'<Deleted><Key>{escape(key)}</Key></Deleted>' for key in keys)
            return self.answer(200, f'<DeleteResult>{deleted}</DeleteResult>')
        if self.command != 'GET':
            raise Refused(405, 'MethodNotAllowed', 'not of a bucket')
        front = f'{kind}/' if kind in ('google', 'azure') else ''
        prefix, after = front + query.get('prefix', ''), query.get('continuation-token') or query.get('marker') or ''
        names = sorted(n for n in STATE.objects if n.startswith(prefix) and n > after)
        page, more = names[:3], len(names) > 3  # small pages, so that there are several
        now = time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime())
        if kind == 'azure':
            blobs = ''.join(
                f'<Blob><Name>{escape(n[len(front):])}</Name><Properties><Last-Modified>{formatdate(usegmt=True)}</Last-Modified>'
                f'<Content-Length>{len(STATE.objects[n])}</Content-Length><Content-Type>x</Content-Type>'
                f'<Etag>{tag(STATE.objects[n])}</Etag></Properties></Blob>' for n in page)
            marker = f'<NextMarker>{page[-1]}</NextMarker>' if more else '<NextMarker/>'
            return self.answer(200, f'<EnumerationResults><Blobs>{blobs}</Blobs>{marker}</EnumerationResults>')
        contents = ''.join(
            f'<Contents><Key>{escape(n[len(front):])}</Key><Size>{len(STATE.objects[n])}</Size><LastModified>{now}</LastModified>'
            f'<ETag>{escape(tag(STATE.objects[n]))}</ETag></Contents>' for n in page)
        token = f'<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>' if more else ''
        return self.answer(200, f'<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{contents}{token}</ListBucketResult>')

    def object(self, name, query, body):
        if 'uploads' in query:
            STATE.uploaded += 1
            number = f'upload-{STATE.uploaded}'
            STATE.uploads[number] = {}
            return self.answer(200, f'<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>')
        if 'uploadId' in query:
            return self.upload(name, query, body)
        if self.command == 'PUT':
            STATE.objects[name] = body
            return self.answer(200, ETag=tag(body))
        if self.command == 'DELETE':
            STATE.objects.pop(name, None)
            return self.answer(204)
        return self.read(name)

    def upload(self, name, query, body):
        if query['uploadId'] not in STATE.uploads:
            raise Refused(404, 'NoSuchUpload', 'there is no such upload')
        parts = STATE.uploads[query['uploadId']]
        if self.command == 'PUT':
            parts[int(query['partNumber'])] = body
            return self.answer(200, ETag=tag(body))
        del STATE.uploads[query['uploadId']]
        if self.command == 'DELETE':
            return self.answer(204)
        wanted = [int(e.text) for e in ElementTree.fromstring(body).iter() if e.tag.split('}')[-1] == 'PartNumber']
        if sorted(parts) != wanted:
            raise Refused(400, 'InvalidPart', f'{sorted(parts)} are there and {wanted} are wanted')
        if any(len(parts[n]) < PART_BYTES_MIN for n in wanted[:-1]):
            raise Refused(400, 'EntityTooSmall', 'a part is too small')
        STATE.objects[name] = b''.join(parts[n] for n in wanted)
        return self.answer(200, f'<CompleteMultipartUploadResult><ETag>{escape(tag(STATE.objects[name]))}</ETag></CompleteMultipartUploadResult>')

    def azure(self, name, query, body):
        if query.get('comp') == 'block':
            STATE.blocks[name, query['blockid']] = body
            return self.answer(201)
        if query.get('comp') == 'blocklist':
            blocks = [e.text for e in ElementTree.fromstring(body).iter() if e.tag in ('Latest', 'Uncommitted')]
            body = b''.join(STATE.blocks.pop((name, block)) for block in blocks)
        if self.command == 'PUT':
            STATE.objects[name] = body
            return self.answer(201, ETag=tag(body))
        if self.command == 'DELETE':
            return self.answer(202 if STATE.objects.pop(name, None) is not None else 404)
        return self.read(name)

    def read(self, name):
        if name not in STATE.objects:
            raise Refused(404, 'NoSuchKey', 'there is no such object')
        content = STATE.objects[name]
        headers = {'ETag': tag(content), 'Last_Modified': formatdate(usegmt=True)}
        wanted = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range') or self.headers.get('x-ms-range') or '')
        if not wanted:
            return self.answer(200, content, **headers)
        first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        headers['Content_Range'] = f'bytes {first}-{last}/{len(content)}'
        return self.answer(206, content[first:last + 1], **headers)


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
