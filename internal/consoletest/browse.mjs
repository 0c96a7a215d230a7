// Uses the console in a real Chromium, as somebody would, and prints a line for each thing that is as it should be. What is not ends it.
// The arguments: a folder with node_modules (playwright-core, axe-core), the program, the URL of /-, a key, a folder for pictures.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, executablePath, base, key, pictures] = process.argv.slice(2);
const require = createRequire(pathToFileURL(join(folder, "node_modules", "x.js")));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const ok = (text) => console.log("ok    " + text);
const profile = mkdtempSync(join(tmpdir(), "chromium-"));
const errors = [];

const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--disable-extensions",
  ],
  viewport: { width: 1280, height: 900 },
  colorScheme: "light",
  timezoneId: "Europe/Berlin",
  locale: "en-GB",
});
watch(browser);

// watch notes what no page may do: log an error, fail, or ask anybody else.
function watch(context) {
  context.on("console", (m) => m.type() === "error" && errors.push(`console: ${m.text()} (${m.location().url})`));
  context.on("weberror", (e) => errors.push(`error: ${e.error()}`));
  context.on("request", (r) => new URL(r.url()).origin !== new URL(base).origin && errors.push(`a request to ${r.url()}`));
  context.setDefaultTimeout(20_000);
}

async function accessible(page, what) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => `${n.html} ${n.failureSummary}`).join("\n")}`), [], what);
  ok(`axe-core finds nothing in ${what} (${passes.length} rules)`);
}

const views = [
  ["light", "desktop", { width: 1280, height: 900 }],
  ["dark", "desktop", { width: 1280, height: 900 }],
  ["light", "phone", { width: 390, height: 844 }],
  ["dark", "phone", { width: 390, height: 844 }],
];

// shoot makes pictures of a page, light and dark, wide and narrow, and looks at each with axe-core.
async function shoot(page, name, fullPage = true) {
  for (const [colorScheme, size, viewport] of views) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    await page.waitForTimeout(100);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(over, 0, `${name} is ${over} pixels too wide on a ${size}`);
    await page.screenshot({ path: join(pictures, `${name}-${colorScheme}-${size}.png`), fullPage });
    await accessible(page, `${name}, ${colorScheme}, ${size}`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(views[0][2]);
}

const page = browser.pages()[0] ?? (await browser.newPage());
const rows = page.locator("#rows > tr");
const rowOf = (path) => rows.filter({ has: page.locator("[data-field=first]", { hasText: path }) }).first();
const settled = (row, word) => row.locator(".state .word", { hasText: word }).waitFor();
// states are those that a row shows, one after the other.
const statesOf = (row) => row.evaluate((tr) => (window.seen ?? {})[tr.dataset.id] ?? []);

async function main() {
  // Signing in.
  await page.goto(base + "/console");
  assert.match(page.url(), /\/console\/sign-in/);
  await shoot(page, "sign-in", false);
  await page.getByLabel("Key").fill(key);
  await page.keyboard.press("Enter");
  await page.waitForURL(base + "/console");
  const cookie = (await browser.cookies()).find((c) => c.name === "imagecdn_session");
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, "Strict", new URL(base).pathname + "/"]);
  ok("signing in, with a cookie that no script sees");

  assert.equal(await rows.count(), 50);
  await page.reload();
  const timing = await page.evaluate(() => { const [n] = performance.getEntriesByType("navigation"); return [n.responseEnd - n.requestStart, n.domContentLoadedEventEnd - n.startTime]; });
  ok(`the first page of a log of 10,000 jobs: ${timing[0].toFixed(1)} ms until it is here, ${timing[1].toFixed(1)} ms until it is read`);
  await page.evaluate(() => {
    window.seen = {};
    new MutationObserver(() => {
      for (const tr of document.querySelectorAll("#rows > tr")) {
        const list = (window.seen[tr.dataset.id] ??= []), word = tr.querySelector(".state .word").textContent;
        if (list.at(-1) !== word) list.push(word);
      }
    }).observe(document.querySelector("#rows"), { subtree: true, childList: true, characterData: true });
  });
  await page.locator("#live-word", { hasText: "live" }).waitFor();

  // Wrong formats are explained as they are typed.
  const text = page.getByLabel("Paths"), review = page.locator("#review li"), send = page.locator("#send");
  await text.pressSequentially("/photos/chelsea.png?w=500");
  await review.filter({ hasText: "has a query" }).waitFor();
  assert.ok(await send.isDisabled());
  await text.fill("img.example.com/photos/chelsea.png\nimg.example.com/photos/chelsea.png?w=500, /photos/coffee.png,\nphotos/retina.jpg\n/nowhere/a.jpg");
  await review.filter({ hasText: "has a host, and no leading slash, and has a query" }).waitFor();
  await review.filter({ hasText: 'a source, "nowhere", that does not exist here' }).waitFor();
  assert.equal(await review.filter({ has: page.locator("input") }).count(), 1);
  await shoot(page, "wrong-format", false);
  await page.getByRole("button", { name: "Use this in place of img.example.com/photos/chelsea.png", exact: true }).click();
  await review.filter({ hasText: "/photos/chelsea.png" }).locator("input").waitFor();
  ok("wrong formats: what is wrong, the right form, and a button that puts it in place");

  // The count is limited, and what is unchecked counts no more.
  await text.fill(Array.from({ length: 12 }, (_, i) => `/photos/${i}.jpg`).join(", "));
  await page.locator("#form-alert", { hasText: "12 are checked; one purge may have 10" }).waitFor();
  assert.ok(await send.isDisabled());
  await review.nth(3).locator("input").uncheck();
  await review.nth(7).locator("input").uncheck();
  assert.equal(await send.textContent(), "Invalidate 10");
  assert.ok(await send.isEnabled());
  ok("12 paths are too many, 10 of them are not");

  // A purge by the keyboard alone, to its end, without the page being loaded again.
  await text.fill("");
  await text.focus();
  await page.keyboard.type("/photos/chelsea.png\n/photos/coffee.png");
  await review.nth(1).locator("input").waitFor();
  await page.waitForFunction(() => !document.querySelector("#send").disabled);
  for (let i = 0; i < 10 && !(await send.evaluate((e) => e === document.activeElement)); i++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const first = rowOf("/photos/chelsea.png");
  await settled(first, "Done");
  const seen = await statesOf(first);
  const way = ["Received", "Preparing", "Flushing servers", "Flushing CDN servers", "Done"];
  assert.deepEqual(seen, way.slice(-seen.length)); // from whatever it had come to when it was first seen, and never back
  assert.ok(seen.length >= 2);
  ok(`a purge of two images: ${seen.join(" ▶ ")}`);
  await first.getByText("See links (2)").click();
  await first.locator(".links code", { hasText: "/photos/coffee.png" }).waitFor();
  const date = await first.locator("time").evaluate((t) => [t.dateTime, t.textContent]);
  assert.equal(date[1], new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone: "Europe/Berlin" }).format(new Date(date[0])));
  ok(`See links; the date is local: ${date[1]}`);

  // A CDN fails; Retry mends it.
  await text.fill("/photos/retina.jpg");
  await page.waitForFunction(() => !document.querySelector("#send").disabled);
  await send.click();
  const failed = rowOf("/photos/retina.jpg");
  await settled(failed, "ERROR_CDN_NODE");
  await failed.getByText("503").waitFor();
  await shoot(page, "log", false);
  await failed.getByRole("link").first().click();
  await page.locator("#cdns").waitFor();
  await page.locator("summary", { hasText: "1 not purged" }).waitFor();
  await shoot(page, "error-cdn-node");
  await page.getByRole("button", { name: "Retry" }).click();
  await page.locator("#job > .head .state .word", { hasText: "Done" }).waitFor();
  ok("ERROR_CDN_NODE, with the reason, and Retry to Done on the job's own page");
  await page.goBack();
  await settled(rowOf("/photos/retina.jpg"), "Done");

  await text.fill("/photos/retina.jpg\n/photos/rocket.jpg");
  await page.waitForFunction(() => !document.querySelector("#send").disabled && document.querySelectorAll("#review input").length === 2);
  await send.click();
  await settled(rows.first(), "ERROR_CDN_NODE");
  const again = rowOf("/photos/retina.jpg");
  await text.fill("/photos/coffee.png, /photos/astronaut.png, /photos/rocket.jpg");
  await page.waitForFunction(() => !document.querySelector("#send").disabled && document.querySelectorAll("#review input").length === 3);
  await send.click();
  await settled(rowOf("/photos/coffee.png"), "Flushing CDN servers");
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.setViewportSize({ width: 1280, height: 1000 });
  await page.screenshot({ path: join(pictures, "console.png") }); // which docs have
  await page.setViewportSize(views[0][2]);
  await settled(rowOf("/photos/coffee.png"), "Done");
  await again.getByRole("button", { name: "Retry" }).click();
  await settled(again, "Done");
  ok("Retry in the log");

  // Everything, behind its question.
  const top = await rows.first().getAttribute("data-id");
  await page.getByRole("radio", { name: /^All/ }).check();
  await send.click();
  await page.getByRole("dialog", { name: "Purge everything?" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Keep the cache");
  await shoot(page, "question", false);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  assert.equal(await rows.first().getAttribute("data-id"), top);
  await send.click();
  await page.getByRole("dialog").getByRole("button", { name: "Purge everything" }).click();
  const everything = rowOf("/*");
  await settled(everything, "Done");
  assert.match(await everything.locator("[data-field=scope]").textContent(), /all/);
  ok("a purge of everything asks first; Escape is a no");

  // Pages of the log.
  const ids = () => rows.evaluateAll((all) => all.map((tr) => tr.dataset.id));
  const newest = await ids();
  await page.getByRole("link", { name: "Older" }).click();
  await page.waitForURL(/cursor=/);
  const older = await ids();
  assert.equal(older.length, 50);
  assert.ok(older.every((id) => id < newest.at(-1)));
  await page.getByRole("link", { name: "Newest" }).click();
  await page.waitForURL((u) => !u.search);
  assert.deepEqual(await ids(), newest);
  await page.getByRole("link", { name: "Refresh" }).click();
  ok("the log goes on, page by page");

  // The plots move.
  await page.waitForFunction(() => /%/.test(document.querySelector("[data-vital=ratio]").textContent) && document.querySelector("#vitals .line").getAttribute("d").includes("L"), null, { timeout: 15_000 });
  ok("plots: " + (await page.locator(".vitals .value").allTextContents()).join(", "));

  // An image.
  await page.getByRole("link", { name: "Images" }).click();
  await page.getByLabel("Path of an image").fill("/photos/chelsea.png");
  await page.getByRole("button", { name: "Look" }).click();
  await page.getByRole("heading", { name: "/photos/chelsea.png" }).waitFor();
  await page.getByLabel("URL, from the slash on").fill("/photos/chelsea.png?w=320&fm=webp");
  await page.getByRole("button", { name: "Ask" }).click();
  await page.locator("dl.answer dd code", { hasText: "imagecdn; " }).waitFor();
  await page.locator("td.thumb img").first().evaluate((img) => img.decode());
  await page.locator("td.what code", { hasText: "/photos/chelsea.png?w=320&fm=webp" }).waitFor();
  await shoot(page, "image");
  ok("an image: its original, its derivatives, and the Cache-Status of a request");

  await page.goto(base + "/console");
  await page.waitForTimeout(7_000);
  await shoot(page, "plots", false);

  // What happens between a page and its stream of events is not missed.
  const api = async (method, path, data) => {
    const r = await browser.request.fetch(base + "/api/v1" + path, { method, data, headers: { Authorization: "Bearer " + key } });
    assert.ok(r.ok(), `${path}: ${r.status()}`);
    return r.json();
  };
  const over = async (id) => {
    while (!["done", "error_cdn_node"].includes((await api("GET", "/purges/" + id)).state)) await page.waitForTimeout(20);
  };
  let letGo;
  const hold = async (answer) => {
    const held = new Promise((resolve) => (letGo = resolve));
    await page.unroute("**/purges/events?*");
    await page.route("**/purges/events?*", async (route) => {
      await held;
      await (answer ? route.fulfill(answer) : route.continue());
    });
  };
  await hold();
  await page.goto(base + "/console");
  await over((await api("POST", "/purges", { paths: ["/photos/unheard.png"] })).id);
  letGo();
  await settled(rowOf("/photos/unheard.png"), "Done");
  const job = await api("POST", "/purges", { paths: ["/photos/unheard-too.png"] });
  await hold();
  await page.goto(base + "/console/purges/" + job.id);
  const before = await page.locator("#job").getAttribute("data-state");
  await over(job.id);
  letGo();
  await page.locator("#job[data-state=done]").waitFor();
  ok(`what happens before the stream of events opens, on the log and on a job's page, which began as ${before}`);

  // A stream that is refused is asked for again.
  const clean = errors.length;
  await hold({ status: 503, body: "starting" });
  letGo();
  await page.goto(base + "/console");
  await page.locator("#live-word", { hasText: "not connected" }).waitFor();
  await page.unroute("**/purges/events?*");
  await page.locator("#live-word", { hasText: /^live$/ }).waitFor();
  errors.splice(clean, Infinity, ...errors.slice(clean).filter((e) => !e.includes("503")));
  ok("a stream of events that was refused is there again");

  // Whoever is not signed in any more is asked to sign in, and not shown an empty log.
  await hold();
  await page.goto(base + "/console/purges/" + job.id);
  const cookies = await browser.cookies();
  await browser.clearCookies();
  letGo();
  await page.waitForURL(/sign-in/);
  await page.unroute("**/purges/events?*");
  errors.splice(clean, Infinity, ...errors.slice(clean).filter((e) => !e.includes("401")));
  await browser.addCookies(cookies);
  await page.goto(base + "/console");
  ok("a session that has ended leads to the form");

  // Without a script.
  const plain = await browser.browser()?.newContext({ javaScriptEnabled: false });
  if (plain) {
    watch(plain);
    const p = await plain.newPage();
    await p.goto(base + "/console");
    await p.getByLabel("Key").fill(key);
    await p.getByRole("button", { name: "Sign in" }).click();
    await p.getByLabel("Paths").fill("/photos/chelsea.png, /photos/coffee.png, photos/x.jpg");
    await p.getByRole("button", { name: "Review" }).click();
    await p.getByText("has no leading slash").waitFor();
    await p.getByRole("checkbox", { name: "/photos/coffee.png" }).uncheck();
    await p.screenshot({ path: join(pictures, "plain-review.png") });
    await p.getByRole("button", { name: "Invalidate" }).click();
    await p.waitForURL(/\/console\/purges\//);
    assert.equal(await p.locator("td.what code").count(), 1);
    await p.goto(base + "/console");
    await p.getByRole("radio", { name: /^All/ }).check();
    await p.getByRole("button", { name: "Review" }).click();
    await p.getByRole("checkbox", { name: "Yes, purge everything" }).check();
    await p.getByRole("button", { name: "Purge everything" }).click();
    await p.waitForURL(/\/console\/purges\//);
    await plain.close();
    ok("all of it without a script: review, invalidate, the question before everything");
  }

  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/sign-in/);
  await page.goto(base + "/console/images");
  assert.match(page.url(), /sign-in/);
  ok("signing out");
  assert.deepEqual(errors, []);
  ok("no error in the browser's log, no request to anybody else");
}

let status = 0;
try {
  await main();
} catch (e) {
  status = 1;
  console.error(e);
  console.error(errors);
  await page.screenshot({ path: join(pictures, "failed.png"), fullPage: false }).catch(() => {});
}
await browser.close();
rmSync(profile, { recursive: true, force: true });
process.exit(status);
