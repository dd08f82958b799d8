"""The page as a person sees it: a real browser uploads through the form, with JavaScript and without."""
import json
import os
import pathlib
import tempfile
import urllib.parse

from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

import espy
import pictures

SCREENSHOTS = pathlib.Path(os.environ.get("ESPY_SCREENSHOTS", tempfile.gettempdir()))
PATIENCE = 60  # seconds; a busy machine takes its time to change pages
LABEL = "Upload An Image (Only permitted with ['png', 'jpg', 'jpeg', 'gif', 'bmp'] format)"


class BrowserTest(espy.TestCase):
    scripts_allowed = True
    name = "desktop"

    @classmethod
    def setUpClass(cls):
        profile = tempfile.TemporaryDirectory(prefix="espy-browser-", ignore_cleanup_errors=True)
        cls.addClassCleanup(profile.cleanup)
        cls.browser = webdriver.Chrome(cls.options(profile.name), webdriver.ChromeService("/usr/bin/chromedriver"))
        cls.addClassCleanup(cls.browser.quit)

    def setUp(self):
        super().setUp()
        self.server = self.serve()
        for name, content in (("seven.png", pictures.seven(280)), ("photo.jpg", pictures.photographed_seven()),
                              ("boot.png", pictures.boot()), ("notes.txt", b"no picture")):
            (self.folder / name).write_bytes(content)
        self.open("/")

    @classmethod
    def options(cls, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        # Without the second line of flags Chromium asks hosts of its maker's at every start.
        for flag in ("headless", "no-sandbox", "disable-gpu", "window-size=1000,900", "no-first-run",
                     "disable-quic", "disable-background-networking", "disable-component-update", "disable-sync",
                     f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        if not cls.scripts_allowed:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        return options

    def open(self, path):
        self.browser.get(f"http://127.0.0.1:{self.server.port}{path}")

    def wait_for(self, condition, what):
        """Waits until `condition(browser)`. While pages change, the driver at times says so in an error's words: not yet."""
        WebDriverWait(self.browser, PATIENCE, ignored_exceptions=[WebDriverException]).until(condition, what)

    @property
    def page(self):
        """The words on the page, however they are broken into lines."""
        return " ".join(self.browser.find_element(By.TAG_NAME, "body").text.split())

    def assert_shows(self, *pieces):
        """Waits until the page has all of these words."""
        for piece in pieces:
            try:
                self.wait_for(lambda browser: piece in self.page, piece)
            except TimeoutException:
                self.assertIn(piece, self.page)

    def follow(self, selector, by=By.CSS_SELECTOR):
        """Clicks what leads to another page, and returns when that one is there as a whole."""
        before = self.browser.find_element(By.TAG_NAME, "html")
        self.browser.find_element(by, selector).click()
        self.wait_for(expected_conditions.staleness_of(before), f"{selector} leads nowhere")
        self.wait_for(lambda browser: browser.execute_script("return document.readyState") == "complete",
                      f"what {selector} leads to does not come")

    def photograph(self, what):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(SCREENSHOTS / f"{self.name}-{what}.png")

    def upload(self, file, model=None):
        """Fills in the form as a person does, and waits for the page that answers."""
        self.browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(self.folder / file))
        if model:
            self.browser.find_element(By.CSS_SELECTOR, f"input[name=model][value={model}]").click()
        self.follow("form button")

    def assert_picture_shown(self):
        """Checks that the upload stands on the page and really is a picture to the browser."""
        shown = """const pictures = [...document.querySelectorAll('img[src^="/uploads/"]')];
                   return pictures.length > 0 && pictures.every(p => p.complete && p.naturalWidth > 0)"""
        self.wait_for(lambda browser: browser.execute_script(shown), "no picture came")

    def assert_fits(self):
        """Checks that nothing has to be scrolled sideways to be seen."""
        width, content = self.browser.execute_script(
            "return [document.documentElement.clientWidth, document.documentElement.scrollWidth]")
        self.assertLessEqual(content, width)

    def test_the_form_says_what_it_takes(self):
        self.assert_shows(LABEL)
        self.photograph("form")
        self.assert_fits()

    def test_a_digit_is_answered_with_its_picture(self):
        self.upload("seven.png")
        self.assert_shows("The result is: 7")
        self.assert_picture_shown()
        self.assert_fits()
        self.photograph("digit")

    def test_a_photograph_of_a_digit_is_answered(self):
        self.upload("photo.jpg", model="digits")
        self.assert_shows("The result is: 7")
        self.assert_picture_shown()
        self.photograph("photo")

    def test_a_garment_is_answered_by_its_own_model(self):
        self.upload("boot.png", model="garments")
        self.assert_shows("The result is: Ankle boot")
        self.assert_picture_shown()
        self.assert_fits()
        self.photograph("garment")

    def test_the_history_page_shows_what_was_uploaded(self):
        self.upload("seven.png")
        self.open("/")
        self.upload("boot.png", model="garments")
        self.follow("History", By.LINK_TEXT)
        self.assert_shows("seven.png", "boot.png", "Ankle boot")
        self.assert_picture_shown()
        self.assert_fits()
        self.photograph("history")

    def test_what_is_no_picture_is_refused_in_words(self):
        self.upload("notes.txt")
        self.assert_shows("notes.txt")
        self.photograph("refused")
        self.assertNotIn("The result is", self.page)
        self.assertTrue(self.browser.find_elements(By.CSS_SELECTOR, "input[type=file]"), "one can try again")
        self.assert_fits()

    def test_a_file_name_is_text_and_nothing_else(self):
        name = "<img src=x onerror=alert(1)>.png"
        (self.folder / name).write_bytes(pictures.seven())
        self.upload(name)
        self.assert_shows(name)
        self.open("/history")
        self.assert_shows(name)
        self.assertEqual(self.browser.find_elements(By.CSS_SELECTOR, "img[src=x]"), [])


# What would run, or break out of where it stands, if any of the places that show it did not escape it. On Linux a
# file name may have everything but a slash; what has one comes by HTTP.
ATTACKS = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><svg onload=\"document.title='owned'\">",
    "\" autofocus onfocus=\"document.title='owned'\" x=\"",
    "</title><script>document.title='owned'</script>",
    "</textarea></style></script><script>document.title='owned'</script>",
    "javascript:document.title='owned'",
    "{{notice}}{{rows}}",
    "&lt;script&gt;document.title='owned'&lt;/script&gt;",
    "\u202e<b onmouseover=document.title='owned'>",
]


class StoredScripts(espy.TestCase):
    """What strangers upload is stored and shown to others: none of it may run in their browsers, nor be markup."""

    @classmethod
    def setUpClass(cls):
        profile = tempfile.TemporaryDirectory(prefix="espy-browser-", ignore_cleanup_errors=True)
        cls.addClassCleanup(profile.cleanup)
        options = BrowserTest.options(profile.name)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        cls.addClassCleanup(cls.browser.quit)

    def setUp(self):
        super().setUp()
        self.server = self.serve()

    def assert_nothing_ran(self, where):
        self.assertNotIn("owned", self.browser.title, where)
        foreign = self.browser.execute_script("""return [...document.querySelectorAll('*')].filter(
            e => ['SCRIPT', 'SVG', 'B', 'TEXTAREA'].includes(e.tagName.toUpperCase()) ||
                 [...e.attributes].some(a => a.name.startsWith('on') ||
                     ['href', 'src', 'action', 'formaction'].includes(a.name) && /^\\s*javascript:/.test(a.value)))
            .map(e => e.outerHTML)""")
        self.assertEqual(foreign, [], where)
        # Even what were markup would not run: the policy forbids it. That it did not have to is what is shown here.
        # (The style that Chrome itself gives to a picture shown alone is no markup of ours.)
        blocked = [entry for entry in self.browser.get_log("browser")
                   if "Content Security Policy" in entry["message"] and "inline style" not in entry["message"]]
        self.assertEqual(blocked, [], where)

    def store(self, text):
        """Leaves the text in every field that is stored; returns the record's id."""
        body, content_type = espy.multipart(pictures.seven(), file_name=text.replace('"', "%22"))
        subject = text.encode("utf-8").decode("latin-1")
        record = self.server.request("POST", "/api/predict", body, {"Content-Type": content_type, "Espy-Subject": subject}).json
        self.assertEqual(self.server.request(
            "POST", f"/api/history/{record['id']}/correction",
            json.dumps({"label": 1, "author": text[:60], "note": text}), {"Content-Type": "application/json"}).status, 200)
        return record

    def test_what_is_stored_is_shown_as_text(self):
        records = [self.store(text) for text in ATTACKS]
        address = f"http://127.0.0.1:{self.server.port}"
        self.browser.get(f"{address}/history")
        self.assert_nothing_ran("/history")
        words = self.browser.find_element(By.TAG_NAME, "body").text
        for record in records:
            self.assertIn(" ".join(record["file_name"].split()), " ".join(words.split()))
        for record in records:
            for path in (f"/api/history/{record['id']}", record["upload"]["url"]):
                self.browser.get(address + path)
                self.assert_nothing_ran(path)

    def test_what_a_link_carries_is_shown_as_text(self):
        for text in ATTACKS:
            for path in ("/history?file_name=", "/history?from=", "/history?model=", "/history?nonsense=", "/?model=", "/?notice=",
                         "/nowhere/", "/uploads/"):
                address = f"http://127.0.0.1:{self.server.port}{path}{urllib.parse.quote(text, safe='')}"
                with self.subTest(address):
                    self.browser.get(address)
                    self.assert_nothing_ran(address)

    def test_a_picture_that_is_also_a_page_is_not_one(self):
        png = pictures.seven() + b"<script>document.title='owned'</script>"
        for content in (png, b"<html><script>document.title='owned'</script>", b"GIF89a/*<svg onload=alert(1)>*/"):
            answer = self.server.request("POST", "/api/predict?file_name=x.html", content)
            if answer.status == 200:
                self.browser.get(f"http://127.0.0.1:{self.server.port}{answer.json['upload']['url']}")
                self.assert_nothing_ran("the upload")


class WithKeys(BrowserTest):
    """Everything that the page does, by who has logged in; with JavaScript switched off."""
    scripts_allowed = False
    name = "with-keys"

    def serve(self, *arguments):
        self.key = self.run_espy("key", "create", "ann").stdout.strip()
        return super().serve("--keys", "espy.keys", *arguments)

    def setUp(self):
        super().setUp()
        self.assert_shows("Log in")
        self.photograph("login")
        self.log_in(self.key)

    def log_in(self, key):
        self.browser.find_element(By.NAME, "key").send_keys(key)
        self.follow("form button")

    def tearDown(self):
        self.browser.delete_all_cookies()
        super().tearDown()

    def test_a_wrong_key_is_said_and_logging_out_works(self):
        self.open("/login")
        self.follow("form[action='/logout'] button")
        self.open("/history")
        self.assert_shows("Log in")
        self.log_in("espy_wrong")
        self.assert_shows("There is no such key")
        self.log_in(self.key)
        self.assert_shows("Classify")
        self.open("/history")
        self.assert_shows("There is no such record")


class WithoutScripts(BrowserTest):
    scripts_allowed = False
    name = "without-scripts"

    def test_scripts_are_off(self):
        self.browser.get("data:text/html,<noscript>no scripts here</noscript>")
        self.assert_shows("no scripts here")


class OnAPhone(BrowserTest):
    name = "phone"

    @classmethod
    def options(cls, profile):
        options = super().options(profile)
        options.add_experimental_option("mobileEmulation",
                                        {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2}})
        return options

    def test_letters_are_large_enough_to_read(self):
        size = self.browser.execute_script("return parseFloat(getComputedStyle(document.body).fontSize)")
        self.assertGreaterEqual(size, 15)
        self.assertEqual(self.browser.execute_script("return document.documentElement.clientWidth"), 390)


if __name__ == "__main__":
    espy.main()
