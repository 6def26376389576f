"""What tests do in a real browser: Chromium without a window, and without a network."""

import json
import shutil
from urllib.parse import urlsplit

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
LOCAL = {"file", "data", "blob", "about", "chrome"}  # the last: its own start page
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def size(browser, width, height=900):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def theme(browser, name):
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def wait(browser, script, seconds=20):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, 0.05).until(lambda driver: driver.execute_script(script))


def text(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)


def requests(browser):
    """The addresses that the browser asked a network for since this was last called."""
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if urlsplit(url).scheme not in LOCAL]


def serious_violations(browser):
    """What axe finds of serious weight on the open page, with the first element of each."""
    from axe_selenium_python import Axe

    axe = Axe(browser)
    axe.inject()
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:200]}"
        for v in axe.run()["violations"]
        if v["impact"] in ("serious", "critical")
    ]
