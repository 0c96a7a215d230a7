// Prints the URLs that client libraries of imgix and Cloudimage make for images of 1600x1200 pixels, one JSON object a line:
// the dialect, the client, the URL, and the size and type of the picture that it asks for. The argument is a folder with node_modules.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const modules = join(process.argv[2], "node_modules");
const load = (path) => import(pathToFileURL(join(modules, path)));
const require = createRequire(pathToFileURL(join(modules, "x.js")));

const domain = "site.imgix.net";
const original = "https://img.example.com/photos/cat 1.jpg";
const picture = (dialect, client, url, width, height, type = "image/jpeg") =>
  console.log(JSON.stringify({ dialect, client, url: new URL(url, `https://${domain}`).href, width, height, type }));

// @imgix/js-core, which signs: a URL, all of a srcset, a srcset by densities, and the web proxy.
const Imgix = require("@imgix/js-core");
const imgix = new Imgix({ domain, secureURLToken: "FOO123bar" });
const srcset = (s) => s.split(/,\s*/).map((entry) => entry.split(" "));
picture("imgix", "js-core", imgix.buildURL("/photos/cat 1.jpg", { w: 400, h: 300, fit: "crop" }), 400, 300);
picture("imgix", "js-core", imgix.buildURL("/photos/cat 1.jpg", { w: 400, h: 400, fit: "max", auto: "format" }), 400, 300, "image/webp");
for (const [url, size] of srcset(imgix.buildSrcSet("/photos/cat 1.jpg", {}, { maxWidth: 1600 }))) {
  picture("imgix", "js-core srcset", url, parseInt(size), Math.round((parseInt(size) * 3) / 4));
}
for (const [url, size] of srcset(imgix.buildSrcSet("/photos/cat 1.jpg", { w: 200, ar: "2:1", fit: "crop" }))) {
  picture("imgix", "js-core densities", url, 200 * parseInt(size), 100 * parseInt(size));
}
picture("imgix", "js-core web proxy", imgix.buildURL(original, { w: 320 }), 320, 240);
picture("imgix", "js-core mark", imgix.buildURL("/photos/cat 1.jpg", { w: 320, mark64: "https://img.example.com/photos/logo.png", "mark-w": 0.2 }), 320, 240);

// unpic, of both.
const { transformUrl } = await load("unpic/esm/mod.js");
for (const [width, height] of [[400, 300], [800, 200], [320, 320]]) {
  picture("imgix unsigned", "unpic", transformUrl({ url: `https://${domain}/photos/cat%201.jpg`, width, height }), width, height, "image/webp");
  picture("imgix unsigned", "unpic with a format", transformUrl({ url: `https://${domain}/photos/cat%201.jpg`, width, height, format: "png" }), width, height, "image/png");
  for (const url of [original, "img.example.com/photos/cat%201.jpg"]) {
    const made = transformUrl({ url: `https://demo.cloudimg.io/${url.replace(" ", "%20").replace("https://", "")}`, width, height, provider: "cloudimage" });
    picture("cloudimage", "unpic", made, width, height);
  }
}

const { generate } = await load("unpic/esm/src/providers/cloudimage.js");
const withQuery = generate(`${original.replace(" ", "%20")}?alt=media&token=c7`, { width: 400, height: 300 }, { token: "demo" });
picture("cloudimage", "unpic with a query", withQuery, 400, 300);

// @nuxt/image, of both: the fits, and what it calls them.
const nuxt = async (name) => (await load(`@nuxt/image/dist/runtime/providers/${name}.js`)).default();
const forImgix = await nuxt("imgix");
const forCloudimage = await nuxt("cloudimage");
for (const [fit, width, height] of [["cover", 300, 300], ["contain", 300, 300], ["fill", 300, 300], ["inside", 300, 225], ["outside", 300, 300]]) {
  const modifiers = { width: 300, height: 300, fit, format: "webp", quality: 65 };
  picture("imgix unsigned", `nuxt ${fit}`, forImgix.getImage("/photos/cat%201.jpg", { modifiers }).url, width, height, "image/webp");
  const [w, h] = fit === "outside" ? [400, 300] : [width, height]; // boundmin, where imgix has min
  const options = { modifiers, token: "demo", apiVersion: "v7", baseURL: "_shop_" };
  picture("cloudimage", `nuxt ${fit}`, forCloudimage.getImage("/photos/cat%201.jpg", options).url, w, h, "image/webp");
  picture("cloudimage", `nuxt ${fit}, absolute`, forCloudimage.getImage(original.replace(" ", "%20"), options).url, w, h, "image/webp");
  picture("cloudimage", `nuxt ${fit}, with a query`, forCloudimage.getImage(`${original.replace(" ", "%20")}?alt=media&token=c7`, options).url, w, h, "image/webp");
}

// js-cloudimage-responsive makes its URLs with this, which needs no browser.
const { generateURL } = require("cloudimage-responsive-utils/dist/utils/generate-url.js");
const { DEVICE_PIXEL_RATIO_LIST } = require("cloudimage-responsive-utils/dist/constants.js");
const sizes = DEVICE_PIXEL_RATIO_LIST.map((ratio) => ({ width: 320 * ratio, height: Math.round(213 * ratio) }));
for (const apiVersion of ["v7", ""]) {
  for (const [i, ratio] of DEVICE_PIXEL_RATIO_LIST.entries()) {
    const config = { token: "demo", domain: "cloudimg.io", apiVersion, params: { org_if_sml: 1 } };
    const url = generateURL({ src: original.replace(" ", "%20"), params: { func: "crop" }, config, containerProps: { sizes }, devicePixelRatio: ratio });
    picture("cloudimage", "js-cloudimage-responsive", url, sizes[i].width, sizes[i].height);
  }
}
