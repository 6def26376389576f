"""Draws docs/report-light.png and docs/report-dark.png: the upper part of a run's page, in Chromium.

python docs/screenshots.py RUN      # a run with its report.html
"""

import base64
import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

HERE = Path(__file__).parent
SIZE = {"width": 1280, "height": 1330, "deviceScaleFactor": 1, "mobile": False}
READY = "return document.documentElement.dataset.ready === 'yes'"


def main(run: str) -> None:
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
        for theme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": theme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            browser.get(Path(run, "report.html").resolve().as_uri())
            WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(READY))
            png = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
            Image.open(BytesIO(png)).convert("RGB").quantize(256).save(HERE / f"report-{theme}.png", optimize=True)
    finally:
        browser.quit()


if __name__ == "__main__":
    main(sys.argv[1])
