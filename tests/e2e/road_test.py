"""The whole road on one machine: train, measure, serve, record, look back; and it is all there after a restart."""
import csv
import html
import io
import json
import os
import pathlib
import re

from PIL import Image

import espy
import pictures


def words(page):
    """Returns what a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


LABEL = "Upload An Image (Only permitted with ['png', 'jpg', 'jpeg', 'gif', 'bmp'] format)"


class Serving(espy.TestCase):
    """The models that are inside, as a client without a browser meets them."""

    def setUp(self):
        super().setUp()
        self.server = self.serve()

    def test_the_page_has_the_form(self):
        page = self.server.get("/", Accept="text/html")
        self.assertEqual((page.status, page.headers["content-type"].split(";")[0]), (200, "text/html"))
        self.assertIn(LABEL, words(page.text))
        self.assertIn("multipart/form-data", page.text)
        self.assertNotIn("<script", page.text)

    def test_an_upload_is_answered_in_one_line(self):
        answer = self.server.upload(pictures.seven())
        self.assertEqual((answer.status, answer.text), (200, "The result is: 7\n"))
        self.assertEqual(answer.headers["content-type"].split(";")[0], "text/plain")

    def test_a_garment_is_answered_by_its_class_name(self):
        answer = self.server.upload(pictures.boot(), "/?model=garments")
        self.assertEqual(answer.text, "The result is: Ankle boot\n")

    def test_a_photograph_is_answered_like_the_plain_digit(self):
        self.assertEqual(self.server.upload(pictures.photographed_seven(), file_name="photo.jpg").text,
                         "The result is: 7\n")

    def test_every_format_is_understood(self):
        drawn = Image.open(io.BytesIO(pictures.seven(280)))
        for media, extension in (("PNG", "png"), ("JPEG", "jpg"), ("JPEG", "jpeg"), ("GIF", "gif"), ("BMP", "bmp"),
                                 ("BMP", "BMP")):
            with self.subTest(extension):
                answer = self.server.upload(pictures.encoded(drawn, media), file_name=f"seven.{extension}")
                self.assertEqual(answer.text, "The result is: 7\n")
        webp = self.server.request("POST", "/api/predict", pictures.encoded(drawn, "WEBP", lossless=True))
        self.assertEqual(webp.json["class"], "7")

    def test_a_browser_gets_a_page_with_result_and_picture(self):
        page = self.server.upload(pictures.seven(), accept="text/html,application/xhtml+xml")
        self.assertEqual(page.headers["content-type"].split(";")[0], "text/html")
        self.assertIn("The result is: 7", words(page.text))
        source = re.search(r'<img[^>]*src="(/uploads/[^"]+)"', page.text)[1]
        picture = self.server.get(source)
        self.assertEqual((picture.body, picture.headers["content-type"]), (pictures.seven(), "image/png"))
        self.assertEqual(picture.headers["x-content-type-options"], "nosniff")

    def test_no_file_part(self):
        body = b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nvalue\r\n--b--\r\n'
        answer = self.server.request("POST", "/", body, {"Content-Type": "multipart/form-data; boundary=b"})
        self.assertEqual((answer.status, answer.text.strip()), (400, "No file part"))

    def test_no_selected_file_redirects_and_says_so_once(self):
        answer = self.server.upload(b"", file_name="", accept="text/html")
        self.assertIn(answer.status, (302, 303))
        cookie = answer.headers.get("set-cookie", "").split(";")[0]
        page = self.server.get(answer.headers["location"], Accept="text/html", **({"Cookie": cookie} if cookie else {}))
        self.assertEqual(page.status, 200)
        self.assertIn("No selected file", page.text)
        self.assertNotIn("No selected file", self.server.get("/", Accept="text/html").text)

    def test_a_record_tells_everything_about_an_answer(self):
        answer = self.server.upload(pictures.seven(), "/api/predict").json
        self.assertEqual((answer["label"], answer["class"], answer["verdict"], answer["model"], answer["durable"]),
                         (7, "7", "recognized", "digits", True))
        self.assertGreater(answer["confidence"], 0.5)
        self.assertRegex(answer["id"], r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        self.assertRegex(answer["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        kept = self.server.get(f"/api/history/{answer['id']}").json
        for key in ("id", "time", "model", "version", "label", "class", "confidence", "verdict"):
            self.assertEqual(kept[key], answer[key])
        self.assertEqual(kept["file_name"], "seven.png")

    def test_the_raw_body_is_a_picture_too(self):
        answer = self.server.request("POST", "/api/predict?model=garments", pictures.boot(),
                                     {"Content-Type": "image/png"})
        self.assertEqual((answer.status, answer.json["class"]), (200, "Ankle boot"))

    def test_models_are_listed(self):
        models = self.server.get("/api/models").json["models"]
        self.assertEqual([model["name"] for model in models], ["digits", "garments"])
        for model in models:
            self.assertRegex(model["version"], r"^[0-9a-f]{12}")

    def test_health(self):
        self.assertEqual(self.server.get("/livez").status, 200)
        self.server.wait_until_ready()


class History(espy.TestCase):
    """Looking back by the API and by the command, while the server runs and after it has stopped."""

    def setUp(self):
        super().setUp()
        server = self.serve()
        self.answers = []
        for index in range(7):
            self.answers.append(server.upload(pictures.seven(), "/api/predict", file_name=f"seven-{index}.png").json)
        self.answers.append(server.upload(pictures.boot(), "/api/predict?model=garments",
                                          file_name="boot, left.png").json)
        self.ids = [answer["id"] for answer in reversed(self.answers)]
        self.server = server

    def command(self, *arguments):
        return self.run_espy("history", *arguments, "--store", "sqlite:history.db").stdout

    def listed(self, *arguments):
        return [record["id"] for record in json.loads(self.command("list", "--json", *arguments))["records"]]

    def test_newest_first_page_by_page(self):
        self.assertEqual([record["id"] for record in self.server.history()], self.ids)
        seen, query = [], ""
        while True:
            page = self.server.get(f"/api/history?limit=3{query}").json
            seen += [record["id"] for record in page["records"]]
            if not page["next"]:
                break
            query = f"&before={page['next']}"
        self.assertEqual(seen, self.ids)

    def test_filters(self):
        middle = self.answers[4]
        for query, expected in (
            ("model=garments", self.ids[:1]),
            ("label=7", self.ids[1:]),
            (f"file_name={middle['file_name']}", [middle["id"]]),
            (f"from={middle['time']}", self.ids[:4]),
            (f"until={middle['time']}", self.ids[4:]),
            ("min_confidence=1.1", None),
            ("min_confidence=0", self.ids),
            ("max_confidence=0", []),
        ):
            with self.subTest(query):
                if expected is None:
                    self.assertEqual(self.server.get(f"/api/history?{query}").status, 400)
                    continue
                self.assertEqual([record["id"] for record in self.server.history("&" + query)], expected)

    def test_the_command_sees_the_same_while_the_server_runs(self):
        self.assertEqual(self.listed(), self.ids)
        self.assertEqual(self.listed("--model", "garments"), self.ids[:1])
        self.assertEqual(self.listed("--limit", "2"), self.ids[:2])
        table = self.command("list")
        self.assertIn("Ankle boot", table)
        self.assertIn("seven-3.png", table)

    def test_one_record_is_shown(self):
        shown = self.command("show", self.ids[0])
        for piece in (self.ids[0], "Ankle boot", "garments"):
            self.assertIn(piece, shown)

    def test_export(self):
        lines = self.command("export", "--format", "ndjson").splitlines()
        self.assertEqual([json.loads(line)["id"] for line in lines], self.ids)
        self.assertEqual(json.loads(lines[0])["file_name"], "boot, left.png")
        rows = list(csv.DictReader(io.StringIO(self.command("export", "--format", "csv"))))
        self.assertEqual([row["id"] for row in rows], self.ids)
        self.assertEqual(rows[0]["file_name"], "boot, left.png")
        self.assertEqual(rows[0]["class"], "Ankle boot")

    def test_it_is_all_there_after_a_restart(self):
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(self.listed(), self.ids)
        restarted = self.serve()
        self.assertEqual([record["id"] for record in restarted.history()], self.ids)
        url = self.answers[0]["upload"]["url"]
        self.assertEqual(restarted.get(url).body, pictures.seven())
        later = restarted.upload(pictures.seven(), "/api/predict").json["id"]
        self.assertGreater(later, self.ids[0], "ids go on in order")


class Training(espy.TestCase):
    """Shortened trainings on the real MNIST; the recipes at full length are accuracy_test's."""

    def setUp(self):
        super().setUp()
        if not pictures.mnist():
            self.skipTest("MNIST is not here: ESPY_TEST_MNIST is not set")
        self.environment = {**os.environ, "ESPY_DATA": str(pathlib.Path(pictures.mnist()).parent)}

    def run_espy(self, *arguments, **options):
        return super().run_espy(*arguments, env=self.environment, **options)

    def train(self, recipe, steps, out, *arguments):
        printed = self.run_espy("train", "--data", "mnist", "--recipe", recipe, "--max-steps", steps, "--out", out,
                                "--json", *arguments).stdout
        return [json.loads(line) for line in printed.splitlines()]

    def test_from_training_to_history(self):
        for recipe, steps, accuracy in (("softmax", 500, 0.88), ("mlp", 1000, 0.92)):
            with self.subTest(recipe):
                *epochs, done = self.train(recipe, steps, f"{recipe}.onnx")
                self.assertEqual((epochs[-1]["event"], done["event"]), ("epoch", "done"))
                self.assertGreater(done["test_accuracy"], accuracy)
                measured = json.loads(self.run_espy("eval", f"{recipe}.onnx", "--data", "mnist", "--json").stdout)
                self.assertEqual(measured["count"], 10_000)
                self.assertAlmostEqual(measured["accuracy"], done["test_accuracy"], places=9)
                info = self.run_espy("model", "info", f"{recipe}.onnx").stdout
                self.assertIn(done["version"], info)

        samples = pictures.test_samples(pictures.mnist(), 200)
        for index, (png, _) in enumerate(samples):
            (self.folder / f"{index:03}.png").write_bytes(png)
        files = [f"{index:03}.png" for index in range(len(samples))]
        lines = self.run_espy("predict", "mlp.onnx", *files, "--json").stdout.splitlines()
        predicted = [json.loads(line)["label"] for line in lines]
        right = sum(label == answer for (_, label), answer in zip(samples, predicted))
        self.assertGreater(right, 180)

        server = self.serve("--model", "numbers=mlp.onnx", "--model", "softmax.onnx")
        self.assertEqual([model["name"] for model in server.get("/api/models").json["models"]], ["numbers", "softmax"])
        served = [server.upload(png).text for png, _ in samples]
        self.assertEqual(served, [f"The result is: {label}\n" for label in predicted], "command and server agree")
        other = server.upload(samples[0][0], "/api/predict?model=softmax").json
        self.assertEqual((other["model"], other["label"]), ("softmax", samples[0][1]))
        self.assertEqual(len(server.history("&model=numbers")), 200)

    def test_a_seed_repeats_a_training(self):
        versions = [self.train("mlp", 200, f"{index}.onnx", "--seed", seed, "--threads", "2")[-1]["version"]
                    for index, seed in enumerate((7, 7, 8))]
        self.assertEqual(versions[0], versions[1])
        self.assertNotEqual(versions[0], versions[2])

    def test_without_a_terminal_each_epoch_is_a_plain_line(self):
        done = self.run_espy("train", "--data", "mnist", "--recipe", "softmax", "--max-steps", "50", "--out", "x.onnx")
        self.assertRegex(done.stderr, r"epoch 1/\d+: loss \d+\.\d+, accuracy")
        self.assertNotIn("\x1b", done.stderr)
        self.assertIn("test accuracy", done.stdout)

    def test_shipped_digits_hold_what_they_promise(self):
        measured = json.loads(self.run_espy("eval", "digits", "--data", "mnist", "--json").stdout)
        self.assertGreaterEqual(measured["accuracy"], 0.996)


class Garments(espy.TestCase):
    def test_shipped_garments_hold_what_they_promise(self):
        environment = {**os.environ, "ESPY_DATA": str(pictures.FASHION_MNIST.parent)}
        measured = json.loads(self.run_espy("eval", "garments", "--data", "fashion-mnist", "--json",
                                            env=environment).stdout)
        self.assertGreaterEqual(measured["accuracy"], 0.939)


if __name__ == "__main__":
    espy.main()
