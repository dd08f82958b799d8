"""Framing of HTTP/1.1 (RFC 9112) on a real socket: a table of requests, each with what must become of it.

A refused request closes its connection, for nothing behind it can be believed; one that is served leaves the connection
in step, which a request right behind it shows. Each case is sent in one piece and, once more, cut in two at every
place that matters to a parser.
"""
import unittest

import espy
from protocol_test import Connection

H = b"Host: localhost\r\n"
GET = b"GET /livez HTTP/1.1\r\n"
POST = b"POST /api/predict HTTP/1.1\r\n" + H
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /api/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
END = b"0\r\n\r\n"

# A body that is no picture is answered 400 and keeps the connection: the frame was understood.
REFUSED = "refused"
SERVED = "served"

CASES = [
    # --- The request line.
    ("a plain request", GET + H + b"\r\n", SERVED),
    ("an empty line before it", b"\r\n" + GET + H + b"\r\n", SERVED),
    ("several empty lines before it", b"\r\n\r\n\r\n" + GET + H + b"\r\n", SERVED),
    ("absolute form", b"GET http://localhost/livez HTTP/1.1\r\n" + H + b"\r\n", SERVED),
    ("an unknown method", b"BREW /livez HTTP/1.1\r\n" + H + b"\r\n", SERVED),
    ("a method in lower case is another one", b"get /livez HTTP/1.1\r\n" + H + b"\r\n", SERVED),
    ("no version", b"GET /livez\r\n" + H + b"\r\n", REFUSED),
    ("no target", b"GET HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("two spaces", b"GET  /livez HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("a tab for a space", b"GET\t/livez\tHTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("a space behind the version", b"GET /livez HTTP/1.1 \r\n" + H + b"\r\n", REFUSED),
    ("a space in the target", b"GET /li vez HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("a space before the method", b" GET /livez HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("a version in lower case", b"GET /livez http/1.1\r\n" + H + b"\r\n", REFUSED),
    ("version 0.9", b"GET /livez HTTP/0.9\r\n" + H + b"\r\n", REFUSED),
    ("version 1.10", b"GET /livez HTTP/1.10\r\n" + H + b"\r\n", REFUSED),
    ("version 2.0", b"GET /livez HTTP/2.0\r\n" + H + b"\r\n", REFUSED),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    ("a NUL in the target", b"GET /livez\x00 HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("a control character in the target", b"GET /liv\x01ez HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("a DEL in the target", b"GET /livez\x7f HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("a control character in the method", b"G\x01T /livez HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    ("the greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", REFUSED),
    ("the greeting of SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", REFUSED),
    ("garbage", bytes(range(128, 256)) + b"\r\n\r\n", REFUSED),
    # --- Ends of lines.
    ("bare line feeds", GET.replace(b"\r", b"") + b"Host: localhost\n\n", REFUSED),
    ("a bare line feed behind the request line", GET.replace(b"\r", b"") + H + b"\r\n", REFUSED),
    ("a bare line feed behind a field", GET + b"Host: localhost\n\r\n", REFUSED),
    ("a bare line feed at the head's end", GET + H + b"\n", REFUSED),
    ("a bare carriage return behind a field", GET + b"Host: localhost\rX: y\r\n\r\n", REFUSED),
    ("a doubled carriage return", GET + b"Host: localhost\r\r\n\r\n", REFUSED),
    # --- Host.
    ("no host", GET + b"\r\n", REFUSED),
    ("two hosts", GET + H + b"Host: elsewhere\r\n\r\n", REFUSED),
    ("the same host twice", GET + H + H + b"\r\n", REFUSED),
    ("an empty host", GET + b"Host:\r\n\r\n", SERVED),
    ("a host with a port", GET + b"Host: localhost:5000\r\n\r\n", SERVED),
    ("an IPv6 host", GET + b"Host: [::1]:5000\r\n\r\n", SERVED),
    ("a host with a path", GET + b"Host: localhost/x\r\n\r\n", REFUSED),
    ("a host with a user", GET + b"Host: me@localhost\r\n\r\n", REFUSED),
    ("a host with a space", GET + b"Host: local host\r\n\r\n", REFUSED),
    ("two hosts in one field", GET + b"Host: localhost, elsewhere\r\n\r\n", REFUSED),
    ("a host without a place for its name", GET + b": localhost\r\n\r\n", REFUSED),
    # --- Fields.
    ("white space around a value", GET + b"Host: \t localhost \t \r\n\r\n", SERVED),
    ("no white space before a value", GET + b"Host:localhost\r\n\r\n", SERVED),
    ("names in capitals", GET + b"HOST: localhost\r\n\r\n", SERVED),
    ("bytes beyond ASCII in a value", GET + H + b"X-Name: \xc3\xa9\r\n\r\n", SERVED),
    ("a space before the colon", GET + b"Host : localhost\r\n\r\n", REFUSED),
    ("a tab before the colon", GET + b"Host\t: localhost\r\n\r\n", REFUSED),
    ("a space before the first field", GET + b" Host: localhost\r\n\r\n", REFUSED),
    ("a field without a colon", GET + H + b"nonsense\r\n\r\n", REFUSED),
    ("a name with a space", GET + H + b"X Y: z\r\n\r\n", REFUSED),
    ("a name with a NUL", GET + H + b"X\x00: z\r\n\r\n", REFUSED),
    ("a value with a NUL", GET + H + b"X: a\x00b\r\n\r\n", REFUSED),
    ("a value with a control character", GET + H + b"X: a\x08b\r\n\r\n", REFUSED),
    ("a value that goes on in the next line", GET + H + b"X: a\r\n b\r\n\r\n", REFUSED),
    ("a length that is in the next line", POST + b"Content-Length:\r\n 4\r\n\r\nabcd", REFUSED),
    ("a coding that is in the next line", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + END, REFUSED),
    ("a head of 15 KiB", GET + H + b"X: " + b"a" * 15000 + b"\r\n\r\n", SERVED),
    ("a head of 20 KiB", GET + H + b"X: " + b"a" * 20000 + b"\r\n\r\n", REFUSED),
    ("a head of 100 KiB", GET + H + b"X: " + b"a" * 100000 + b"\r\n\r\n", REFUSED),
    ("2,000 fields", GET + H + b"".join(b"X%d: yyyyy\r\n" % i for i in range(2000)) + b"\r\n", REFUSED),
    ("a target of 64 KiB", b"GET /" + b"a" * 65000 + b" HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
    # --- Content-Length.
    ("a body of 4", POST + b"Content-Length: 4\r\n\r\nabcd", SERVED),
    ("a body of none", POST + b"Content-Length: 0\r\n\r\n", SERVED),
    ("a post without any frame", POST + b"\r\n", SERVED),
    ("a get with a body", GET + H + b"Content-Length: 4\r\n\r\nabcd", SERVED),
    ("zeros before the length", POST + b"Content-Length: 0004\r\n\r\nabcd", SERVED),
    ("length with a plus", POST + b"Content-Length: +4\r\n\r\nabcd", REFUSED),
    ("length with a minus", POST + b"Content-Length: -4\r\n\r\nabcd", REFUSED),
    ("length minus zero", POST + b"Content-Length: -0\r\n\r\n", REFUSED),
    ("length of words", POST + b"Content-Length: four\r\n\r\nabcd", REFUSED),
    ("length in hexadecimal", POST + b"Content-Length: 0x4\r\n\r\nabcd", REFUSED),
    ("length with a fraction", POST + b"Content-Length: 4.0\r\n\r\nabcd", REFUSED),
    ("length with an exponent", POST + b"Content-Length: 4e0\r\n\r\nabcd", REFUSED),
    ("length with a space within", POST + b"Content-Length: 4 4\r\n\r\nabcd", REFUSED),
    ("length in quotation marks", POST + b'Content-Length: "4"\r\n\r\nabcd', REFUSED),
    ("an empty length", POST + b"Content-Length:\r\n\r\nabcd", REFUSED),
    ("length 2^64 + 4", POST + b"Content-Length: 18446744073709551620\r\n\r\nabcd", REFUSED),
    ("length 2^63", POST + b"Content-Length: 9223372036854775808\r\n\r\nabcd", REFUSED),
    ("length beyond numbers", POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nabcd", REFUSED),
    ("two lengths", POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", REFUSED),
    ("the same length twice", POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", REFUSED),
    ("two lengths in one field", POST + b"Content-Length: 4, 5\r\n\r\nabcde", REFUSED),
    ("the same length twice in one field", POST + b"Content-Length: 4, 4\r\n\r\nabcd", REFUSED),
    ("a length and a comma", POST + b"Content-Length: 4,\r\n\r\nabcd", REFUSED),
    ("a length whose name ends in a space", POST + b"Content-Length : 4\r\n\r\nabcd", REFUSED),
    # --- Transfer-Encoding.
    ("chunked", CHUNKED + b"4\r\nabcd\r\n" + END, SERVED),
    ("chunked in capitals", POST + b"Transfer-Encoding: CHUNKED\r\n\r\n4\r\nabcd\r\n" + END, SERVED),
    ("chunked and a length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + END, REFUSED),
    ("a length and chunked", POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + END, REFUSED),
    ("length 0 and chunked", POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + END, REFUSED),
    ("almost chunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n" + END, REFUSED),
    ("chunked and more", POST + b"Transfer-Encoding: chunkedx\r\n\r\n" + END, REFUSED),
    ("chunked in quotation marks", POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + END, REFUSED),
    ("chunked twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + END, REFUSED),
    ("chunked in two fields", POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + END, REFUSED),
    ("gzip, then chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + END, REFUSED),
    ("chunked, then identity", POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + END, REFUSED),
    ("chunked with a parameter", POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + END, REFUSED),
    ("chunked behind a comma", POST + b"Transfer-Encoding: , chunked\r\n\r\n" + END, REFUSED),
    ("identity", POST + b"Transfer-Encoding: identity\r\nContent-Length: 4\r\n\r\nabcd", REFUSED),
    ("an empty coding", POST + b"Transfer-Encoding:\r\n\r\n" + END, REFUSED),
    ("a vertical tab before chunked", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + END, REFUSED),
    ("a coding whose name ends in a space", POST + b"Transfer-Encoding : chunked\r\n\r\n" + END, REFUSED),
    ("HTTP/1.0 and chunked", CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + END, REFUSED),
    # --- Chunks.
    ("an empty chunked body", CHUNKED + END, SERVED),
    ("many chunks", CHUNKED + b"1\r\na\r\n" * 50 + END, SERVED),
    ("zeros before a chunk's size", CHUNKED + b"0004\r\nabcd\r\n" + END, SERVED),
    ("a chunk's size in capitals", CHUNKED + b"A\r\nabcdefghij\r\n" + END, SERVED),
    ("several zeros end it", CHUNKED + b"000\r\n\r\n", SERVED),
    ("a chunk without a size", CHUNKED + b"\r\nabcd\r\n" + END, REFUSED),
    ("a chunk of words", CHUNKED + b"xyz\r\nabcd\r\n" + END, REFUSED),
    ("a chunk with a minus", CHUNKED + b"-4\r\nabcd\r\n" + END, REFUSED),
    ("a chunk with a plus", CHUNKED + b"+4\r\nabcd\r\n" + END, REFUSED),
    ("a chunk with 0x", CHUNKED + b"0x4\r\nabcd\r\n" + END, REFUSED),
    ("a chunk of 2^64 + 4", CHUNKED + b"10000000000000004\r\nabcd\r\n" + END, REFUSED),
    ("a space before a chunk's size", CHUNKED + b" 4\r\nabcd\r\n" + END, REFUSED),
    ("a chunk with a bare line feed", CHUNKED + b"4\nabcd\r\n" + END, REFUSED),
    ("a chunk that is longer than it says", CHUNKED + b"4\r\nabcde\r\n" + END, REFUSED),
    ("a chunk that is shorter than it says", CHUNKED + b"5\r\nabcd\r\n" + END, REFUSED),
    ("a chunk without its end", CHUNKED + b"4\r\nabcd0\r\n\r\n", REFUSED),
    ("a chunk that ends in a bare line feed", CHUNKED + b"4\r\nabcd\n" + END, REFUSED),
    ("an extension", CHUNKED + b"4;a=b\r\nabcd\r\n" + END, SERVED),
    ("an extension in quotation marks", CHUNKED + b'4;a="b c"\r\nabcd\r\n' + END, SERVED),
    ("an extension of 900 bytes", CHUNKED + b"4;a=" + b"b" * 900 + b"\r\nabcd\r\n" + END, SERVED),
    ("an extension of 2,000 bytes", CHUNKED + b"4;a=" + b"b" * 2000 + b"\r\nabcd\r\n" + END, REFUSED),
    ("300 chunks with extensions", CHUNKED + b"1;a=bcde\r\nx\r\n" * 300 + END, REFUSED),
    ("an extension without end", CHUNKED + b"4;a=" + b"b" * 60000, REFUSED),
    ("an extension with a line feed", CHUNKED + b'4;a="\nX"\r\nabcd\r\n' + END, REFUSED),
    ("an extension with a NUL", CHUNKED + b'4;a="\x00"\r\nabcd\r\n' + END, REFUSED),
    ("a broken extension", CHUNKED + b"4;=;\r\nabcd\r\n" + END, REFUSED),
    # --- Trailers.
    ("a trailer", CHUNKED + b"4\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n", SERVED),
    ("a trailer that would be a frame", CHUNKED + b"0\r\nContent-Length: 4\r\n\r\n", REFUSED),
    ("a trailer that would be a coding", CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", REFUSED),
    ("a broken trailer", CHUNKED + b"0\r\nnonsense\r\n\r\n", REFUSED),
    ("a trailer of 60 KB", CHUNKED + b"0\r\n" + b"X: yyyyyyyyyyyyyyyyyyyy\r\n" * 2500 + b"\r\n", REFUSED),
    ("a trailer without end", CHUNKED + b"0\r\nX: " + b"y" * 60000, REFUSED),
    # --- Expectations.
    ("an expectation that nobody meets", POST + b"Expect: miracles\r\nContent-Length: 4\r\n\r\nabcd", REFUSED),
    # --- What stands behind a request.
    ("a surplus behind a body", POST + b"Content-Length: 4\r\n\r\nabcdefgh\r\n\r\n", REFUSED),
    ("a request within a body that was refused",
     POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /secret HTTP/1.1\r\n" + H + b"\r\n", REFUSED),
]


class Conformance(espy.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve()

    def outcome(self, pieces):
        """Returns "served" when the connection is in step afterwards, "refused" when it was closed with an error."""
        with Connection(self.server.port, timeout=60) as connection:
            statuses = []
            try:
                for piece in pieces:
                    connection.send(piece)
                while True:
                    answer = connection.answer()
                    statuses.append(answer.status)
                    if answer.body.startswith(b'{"models":'):
                        return SERVED if len(statuses) == 2 else f"in step after {statuses}"
            except (EOFError, BrokenPipeError, ConnectionResetError):
                # The last answer may be lost to the reset that bytes cause which nobody reads.
                if not statuses or statuses[-1] in (400, 413, 417, 431, 501):
                    return REFUSED
                return f"closed after {statuses}"
            except TimeoutError:
                return f"waits after {statuses}"

    def test_the_table(self):
        self.assertEqual(len({name for name, _, _ in CASES}), len(CASES), "names are names")
        tried = passed = 0
        for name, request, expected in CASES:
            whole = request + NEXT
            cuts = [len(whole)]
            if len(request) < 1000:
                # Behind each byte of a line's end, and one byte before.
                cuts += [at for at in range(1, len(request)) if request[at - 1 : at] in (b"\r", b"\n") or
                         request[at : at + 1] == b"\r"][-8:]
            for cut in cuts:
                tried += 1
                with self.subTest(name, cut=cut):
                    outcome = self.outcome([whole[:cut], whole[cut:]])
                    self.assertEqual(outcome, expected)
                    passed += 1
        print(f"conformance: {len(CASES)} cases, {tried} ways to send them, {passed} as they must be")
        self.assertEqual(self.server.get("/livez").status, 200)
        self.assertEqual(self.server.history(), [], "none of them was a picture")


if __name__ == "__main__":
    espy.main()
