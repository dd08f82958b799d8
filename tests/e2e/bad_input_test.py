"""Bad input gets a clear message and the right status; nothing is lost and nothing crashes."""
import hashlib
import os
import pathlib
import pwd
import socket
import sqlite3
import struct
import subprocess
import unittest
import zlib

import onnx
from PIL import Image

import espy
import pictures


def png(width, height, rows):
    """Returns a PNG of 8-bit grey that says it is width x height and holds the compressed `rows`."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Uploads(espy.TestCase):
    """What a client may send. Around every test stands a record that has to be there afterwards."""

    def setUp(self):
        super().setUp()
        self.server = self.serve()
        self.before = self.server.upload(pictures.seven(), "/api/predict").json["id"]

    def tearDown(self):
        after = self.server.upload(pictures.seven(), "/api/predict")
        self.assertEqual((after.status, after.json["class"]), (200, "7"))
        self.assertEqual([record["id"] for record in self.server.history()][-1], self.before)
        self.assertEqual(self.server.history()[0]["id"], after.json["id"])

    def assert_refused(self, content, status, code, piece, file_name="picture.png"):
        """By every road the upload gets the same answer, and none leaves a record."""
        count = len(self.server.history())
        self.assert_error(self.server.upload(content, "/api/predict", file_name=file_name), status, code, piece)
        self.assert_plain_error(self.server.upload(content, file_name=file_name), status, piece)
        self.assert_error(self.server.request("POST", "/api/predict", content, {"Content-Type": "image/png"}),
                          status, code, piece)
        page = self.server.upload(content, "/", file_name=file_name, accept="text/html")
        self.assertEqual((page.status, page.headers["content-type"].split(";")[0]), (status, "text/html"))
        self.assertIn(piece, page.text)
        self.assertEqual(len(self.server.history()), count)

    def assert_plain_error(self, answer, status, piece):
        """The page's own route answers in a line of text, as it does with results."""
        self.assertEqual((answer.status, answer.headers["content-type"].split(";")[0]), (status, "text/plain"), answer)
        self.assertIn(piece, answer.text)

    def test_an_empty_file(self):
        self.assert_refused(b"", 400, "invalid_input", "empty")

    def test_text_renamed_to_png(self):
        self.assert_refused(b"My name is .png, but I am a letter.\n", 400, "invalid_input", "")

    def test_a_truncated_jpeg(self):
        whole = pictures.photographed_seven()
        for length in (4, 100, len(whole) // 2):
            with self.subTest(length):
                self.assert_refused(whole[:length], 400, "invalid_input", "jpeg")

    def test_a_truncated_png(self):
        self.assert_refused(pictures.seven(280)[:-40], 400, "invalid_input", "png")

    def test_a_decompression_bomb_is_refused_by_its_header(self):
        rows = zlib.compress(b"\0" * 100_000_000)  # 97 KB that would become 100 MB
        self.assert_refused(png(10_000, 10_000, rows), 413, "too_large", "10000x10000")
        self.assert_refused(png(2**31 - 1, 2**31 - 1, rows), 413, "too_large", "2147483647x2147483647")
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        self.assertLess(peak, 300_000, "kB; the pixels were never asked for")

    def test_more_data_than_the_header_says(self):
        rows = zlib.compress(b"\0" * 100_000_000)
        answer = self.server.upload(png(10, 10, rows), "/api/predict")
        self.assertEqual(answer.status, 400)

    def test_every_example_is_answered_or_refused_in_words(self):
        refused = 0
        for example in sorted(pictures.EXAMPLES.iterdir()):
            with self.subTest(example.name):
                answer = self.server.upload(example.read_bytes(), "/api/predict", file_name=example.name)
                self.assertIn(answer.status, (200, 400, 413))
                if answer.status == 200:
                    self.assertIn(answer.json["verdict"], ("recognized", "not_recognized", "unsure"))
                else:
                    self.assertGreater(len(answer.json["error"]["message"]), 10)
                    refused += 1
        self.assertGreater(refused, 10, "many of the examples are broken on purpose")

    def test_pictures_of_odd_shapes_are_answered(self):
        for width, height in ((1, 1), (1, 10_000), (10_000, 1), (2, 3)):
            for colour in (0, 255):
                with self.subTest(f"{width}x{height} of {colour}"):
                    picture = pictures.encoded(Image.new("L", (width, height), colour))
                    answer = self.server.upload(picture, "/api/predict")
                    self.assertEqual(answer.status, 200, answer)
                    self.assertEqual(answer.json["verdict"], "not_recognized")

    def test_a_blank_picture_is_not_a_digit(self):
        blank = pictures.encoded(Image.new("L", (200, 200), 255))
        answer = self.server.upload(blank)
        self.assertEqual(answer.status, 200)
        self.assertNotRegex(answer.text, r"The result is: \d")

    def test_a_picture_over_the_limit_of_bytes(self):
        answer = self.server.request("POST", "/api/predict", bytes(17 << 20), {"Content-Type": "image/png"})
        self.assert_error(answer, 413, "too_large", "")

    def test_a_wrong_field_name(self):
        answer = self.server.upload(pictures.seven(), field="picture")
        self.assertEqual((answer.status, answer.text.strip()), (400, "No file part"))
        self.assert_error(self.server.upload(pictures.seven(), "/api/predict", field="picture"), 400,
                          "invalid_input", "file")

    def test_forms_that_are_broken(self):
        body, form_type = espy.multipart(pictures.seven())
        for name, content, content_type in (
            ("no boundary", body, "multipart/form-data"),
            ("an empty boundary", body, "multipart/form-data; boundary="),
            ("another boundary", body, "multipart/form-data; boundary=other"),
            ("a boundary that is too long", body, "multipart/form-data; boundary=" + "x" * 1000),
            ("no end", body[:-20], form_type),
            ("no blank line", body.replace(b"\r\n\r\n", b"\r\n"), form_type),
            ("nothing", b"", form_type),
            ("not a form", b"file=seven.png", "application/x-www-form-urlencoded"),
        ):
            with self.subTest(name):
                answer = self.server.request("POST", "/", content, {"Content-Type": content_type})
                self.assertEqual(answer.status, 400, answer)
                self.assertLess(len(answer.body), 1000)

    def test_a_file_of_another_kind_by_its_name(self):
        self.assert_plain_error(self.server.upload(pictures.seven(), file_name="seven.exe"), 400, "exe")

    def test_file_names_are_recorded_and_never_paths(self):
        for name in ("../../etc/passwd.png", "/etc/passwd.png", "a\\b.png", "über 日本.png", "x" * 300 + ".png",
                     "...png", "%2e%2e%2f.png", "<script>alert(1)</script>.png"):
            with self.subTest(name):
                answer = self.server.upload(pictures.seven(), "/api/predict", file_name=name)
                self.assertEqual(answer.status, 200, answer)
                self.assertNotIn("..", answer.json["upload"]["url"])
                self.assertEqual(self.server.get(answer.json["upload"]["url"]).body, pictures.seven())
                page = self.server.upload(pictures.seven(), file_name=name, accept="text/html").text
                self.assertNotIn("<script>alert", page)
                self.assertNotIn("<script>alert", self.server.get("/history").text)
        self.assertEqual(set(os.listdir(self.folder)) - {"serve.log"},
                         {name for name in os.listdir(self.folder) if name.startswith("history.db")})

    def test_paths_that_climb(self):
        for path in ("/uploads/../history.db", "/uploads/..%2fhistory.db", "/uploads/%2e%2e/history.db",
                     "/uploads/", "/uploads/nothing.png", "/uploads//etc/passwd", "/..", "//", "/%00"):
            with self.subTest(path):
                self.assertIn(self.server.get(path).status, (400, 404))

    def test_an_unknown_model(self):
        self.assert_error(self.server.upload(pictures.seven(), "/api/predict?model=letters"), 404, "not_found",
                          "there is no model letters; there are digits, garments")
        self.assert_plain_error(self.server.upload(pictures.seven(), "/?model=letters"), 404, "letters")

    def test_queries_that_make_no_sense(self):
        for query in ("limit=0", "limit=-1", "limit=many", "limit=1001", "before=yesterday", "label=seven",
                      "from=not-a-time", "min_confidence=high", "limit=1&limit=2", "color=red", "model=%zz"):
            with self.subTest(query):
                self.assert_error(self.server.get(f"/api/history?{query}"), 400, "invalid_input",
                                  query.split("=")[0])
        for identity in ("x", "0" * 32, "00000000-0000-0000-0000-000000000000"):
            self.assertIn(self.server.get(f"/api/history/{identity}").status, (400, 404))

    def test_an_unknown_route(self):
        self.assert_error(self.server.get("/api/predictions"), 404, "not_found", "path")


class CommandLine(espy.TestCase):
    """What an operator may get wrong when starting the program."""

    def assert_fails(self, piece, *arguments, status=1, **options):
        done = self.run_espy(*arguments, status=status, **options)
        self.assertIn(piece, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertLess(len(done.stderr.splitlines()), 5, done.stderr)
        return done.stderr

    def assert_does_not_serve(self, piece, *arguments, **options):
        return self.assert_fails(piece, "serve", "--port", "0", *arguments, **options)

    def test_an_unknown_flag_is_named_with_the_one_that_was_meant(self):
        self.assertIn("--port", self.assert_fails("--prot", "serve", "--prot", "0", status=2))

    def test_a_flag_without_a_value_and_a_value_that_is_none(self):
        self.assert_fails("--port", "serve", "--port", status=2)
        for port in ("-1", "65536", "http"):
            self.assert_fails(port, "serve", f"--port={port}", status=2)

    def test_an_unknown_command(self):
        self.assert_fails("teach", "teach", status=2)

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            self.assert_fails(port, "serve", "--port", port, "--store", "sqlite:history.db")

    def test_a_store_that_is_in_use(self):
        server = self.serve()
        answer = server.upload(pictures.seven(), "/api/predict").json
        self.assert_does_not_serve("history.db", "--store", "sqlite:history.db")
        self.assertEqual([record["id"] for record in server.history()], [answer["id"]])

    def test_a_store_that_cannot_be_made(self):
        self.assert_does_not_serve("nowhere", "--store", "sqlite:nowhere/history.db")
        self.assert_does_not_serve("postgres", "--store", "postgres:history")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody who may not write")
    def test_a_store_that_is_not_writable(self):
        self.serve().stop()
        self.folder.chmod(0o755)
        for file in self.folder.glob("history.db*"):
            file.chmod(0o444)
        nobody = pwd.getpwnam("nobody")
        binary = pathlib.Path("/proc/self/fd")  # the program may lie where nobody may look: hand it over open
        with open(espy.BINARY, "rb") as program:
            done = subprocess.run([f"{binary}/{program.fileno()}", "serve", "--port", "0", "--store",
                                   "sqlite:history.db"], cwd=self.folder, user=nobody.pw_uid, group=nobody.pw_gid,
                                  extra_groups=[], pass_fds=[program.fileno()], capture_output=True, text=True,
                                  timeout=30, check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("history.db", done.stderr)

    def test_a_store_that_is_newer_than_the_program(self):
        self.serve().stop()
        store = sqlite3.connect(self.folder / "history.db")
        version = store.execute("PRAGMA user_version").fetchone()[0]
        store.execute(f"PRAGMA user_version = {version + 1}")
        store.close()
        before = (self.folder / "history.db").read_bytes()
        self.assert_does_not_serve("newer", "--store", "sqlite:history.db")
        self.assertEqual((self.folder / "history.db").read_bytes(), before, "it was left as it is")

    def test_a_store_that_is_none(self):
        for content in (b"a letter, not a database\n" * 100, sqlite_with_a_foreign_table(self.folder)):
            (self.folder / "history.db").write_bytes(content)
            self.assert_does_not_serve("history.db", "--store", "sqlite:history.db")
            self.assertEqual((self.folder / "history.db").read_bytes(), content, "it was left as it is")

    def test_a_history_that_is_not_there(self):
        self.assert_fails("history.db", "history", "list", "--store", "sqlite:history.db")
        self.assertFalse((self.folder / "history.db").exists())

    def test_data_that_is_not_there(self):
        self.assert_fails("mnits", "train", "--data", "mnits", "--recipe", "softmax", "--out", "x.onnx")
        self.assert_fails("compct", "train", "--data", "mnist", "--recipe", "compct", "--out", "x.onnx", status=2)

    def test_a_model_file_that_is_not_there(self):
        self.assert_does_not_serve("missing.onnx", "--model", "missing.onnx")

    def test_a_picture_that_is_not_there(self):
        self.assert_fails("missing.png", "predict", "digits", "missing.png")

    def test_an_upload_directory_is_not_taken_for_a_picture(self):
        (self.folder / "letter.png").write_text("not a picture")
        self.assert_fails("letter.png", "predict", "digits", "letter.png")


def sqlite_with_a_foreign_table(folder):
    """Returns the bytes of somebody else's database."""
    path = folder / "foreign.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE songs (title TEXT)")
    foreign.commit()
    foreign.close()
    return path.read_bytes()


class ModelFiles(espy.TestCase):
    """A model file is believed only whole and unchanged."""

    def setUp(self):
        super().setUp()
        data = pictures.FASHION_MNIST
        self.run_espy("train", "--data", "fashion-mnist", "--recipe", "softmax", "--max-steps", "20", "--out",
                      "good.onnx", env={**os.environ, "ESPY_DATA": str(data.parent)})
        self.good = (self.folder / "good.onnx").read_bytes()

    def assert_refused(self, content, piece):
        (self.folder / "bad.onnx").write_bytes(content)
        for arguments in (("model", "info", "bad.onnx"), ("serve", "--port", "0", "--model", "bad.onnx")):
            done = self.run_espy(*arguments, status=1)
            self.assertIn("bad.onnx", done.stderr)
            self.assertIn(piece, done.stderr)

    def changed(self, change):
        """Returns the good model after `change` was applied to it, with the version that then is right."""
        model = onnx.load_from_string(self.good)
        change(model)
        for property_ in model.metadata_props:
            if property_.key == "espy.version":
                property_.value = "0" * 64
        content = model.SerializeToString()
        return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1)

    def test_the_good_one_is_taken(self):
        self.assertIn("softmax", self.run_espy("model", "info", "good.onnx").stdout)
        (self.folder / "same.onnx").write_bytes(self.changed(lambda model: None))
        self.assertIn("softmax", self.run_espy("model", "info", "same.onnx").stdout)

    def test_a_truncated_file(self):
        for length in (0, 1, 100, len(self.good) // 2, len(self.good) - 1):
            with self.subTest(length):
                self.assert_refused(self.good[:length], "")

    def test_a_flipped_bit_anywhere(self):
        for place in range(3, len(self.good), len(self.good) // 20):
            with self.subTest(place):
                flipped = bytearray(self.good)
                flipped[place] ^= 0x10
                self.assert_refused(bytes(flipped), "")

    def test_a_foreign_file(self):
        self.assert_refused(b"a letter, not a model\n" * 10, "ONNX")
        self.assert_refused(pictures.seven(), "ONNX")

    def test_a_model_that_another_program_wrote(self):
        self.assert_refused(self.changed(lambda model: model.ClearField("metadata_props")), "espy")

    def test_a_wrong_input_shape(self):
        def widen(model):
            model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32
        self.assert_refused(self.changed(widen), "32")


if __name__ == "__main__":
    espy.main()
