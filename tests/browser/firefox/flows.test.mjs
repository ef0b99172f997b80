// The main flows of the pages in Firefox (WebDriver BiDi): node --test flows.test.mjs, with FIREFOX and TURNWISE_URL.
// test_firefox.py starts the server, whose answers are scripted.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import puppeteer from "puppeteer-core";

const { FIREFOX, TURNWISE_URL } = process.env;
const TIMEOUT_MS = 15_000;

let browser, context, page, errors;

before(async () => {
  browser = await puppeteer.launch({ browser: "firefox", executablePath: FIREFOX, headless: true });
});

after(() => browser.close());

beforeEach(async () => {
  await context?.close();
  context = await browser.createBrowserContext();
  errors = [];
  await open("/");
});

async function open(path) {
  page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  await page.setViewport({ width: 1200, height: 800 });
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(TURNWISE_URL + path);
  await page.waitForSelector("body[data-ready]");
}

/** Wait for an element with this text. */
function shown(selector, text) {
  return page.waitForFunction(
    (query, part) => [...document.querySelectorAll(query)].some((element) => element.textContent.includes(part)),
    {}, selector, text,
  );
}

async function ask(text) {
  await page.type("#prompt", text);
  await page.keyboard.press("Enter");
  await shown(".message.user .body", text);
  await page.waitForSelector("#send", { visible: true });
  await page.waitForSelector(".message.assistant.last:not(.growing)");
}

const textsOf = (selector) => page.$$eval(selector, (elements) => elements.map((element) => element.textContent));

test("an answer is streamed and rendered", async () => {
  await ask("Is there tea?");
  assert.deepEqual(await textsOf(".message.assistant strong"), ["Tea"]);
  assert.deepEqual(await textsOf(".message.assistant td"), ["green", "2"]);
  await page.waitForSelector(".message.assistant math msup");
  assert.deepEqual(errors, []);
});

test("a conversation is found again after a reload", async () => {
  await ask("Is there cake?");
  await page.reload();
  await shown(".message.user .body", "Is there cake?");
  await page.type("#history-search", "cake");
  await shown(".history-match", "cake");
  assert.deepEqual(errors, []);
});

test("an edited question becomes a branch", async () => {
  await ask("first");
  await page.hover(".message.user");
  await page.click(".message.user button[aria-label='Edit and ask again']");
  await page.waitForSelector(".message.user textarea");
  await page.$eval(".message.user textarea", (field) => field.select());
  await page.type(".message.user textarea", "second");
  await page.keyboard.press("Enter");
  await shown(".message.user .body", "second");
  await shown(".branch-number", "2/2");
  assert.deepEqual(errors, []);
});

test("settings are kept with the conversation", async () => {
  await page.click("#open-controls");
  await page.waitForSelector("#control-system");
  await page.type("#control-system", "Be brief.");
  await ask("short, please");
  await page.reload();
  await page.waitForSelector("#open-controls.changed");
  await page.click("#open-controls");
  await page.waitForFunction(() => document.getElementById("control-system")?.value === "Be brief.");
  assert.deepEqual(errors, []);
});

test("a menu opens, and Escape closes it", async () => {
  await ask("menu");
  await page.click("#history-menu");
  await page.waitForSelector("[role=menu]");
  await page.keyboard.press("Escape");
  assert.deepEqual(await textsOf("[role=menu]"), []);
  assert.deepEqual(errors, []);
});

for (const path of ["/playground", "/review", "/handoffs", "/docs"]) {
  test(`${path} starts`, async () => {
    await open(path);
    assert.ok(await page.$("h1"));
    assert.deepEqual(errors, []);
  });
}
