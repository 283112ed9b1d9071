// A headless Chromium that is told what to do over a pipe (Chrome DevTools Protocol), with nothing but node's own
// library. Elements are found the way people find them: by role and name, as the accessibility tree has them.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATIENCE_MS = 15_000;
const LOOK_MS = 50;

export class Browser {
  /** Starts `program`; `width` and `height` are those of the page. */
  static async start(program, { width = 1440, height = 900 } = {}) {
    const browser = new Browser();
    browser.home = mkdtempSync(join(tmpdir(), "leveret-page-"));
    const options = [
      "--headless=new", "--no-sandbox", "--remote-debugging-pipe", `--user-data-dir=${browser.home}`, "--disable-gpu",
      "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-background-networking", "--hide-scrollbars",
      `--window-size=${width},${height}`, "about:blank",
    ];
    browser.process = spawn(program, options, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    browser.listen();
    browser.downloads = join(browser.home, "downloads");
    await browser.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: browser.downloads });
    const { targetInfos } = await browser.send("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }) => type === "page");
    const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
    browser.session = sessionId;
    for (const domain of ["Page", "Runtime", "Log", "Network", "Accessibility", "DOM"]) await browser.send(`${domain}.enable`);
    await browser.resize(width, height);
    return browser;
  }

  /** What the page complained about: exceptions, refused loads, console errors. */
  complaints = [];
  /** Every address that was asked for. */
  requests = [];
  #last = 0;
  #waiting = new Map();

  send(method, params = {}) {
    this.#last += 1;
    const id = this.#last;
    const message = { id, method, params };
    if (this.session) message.sessionId = this.session;
    this.process.stdio[3].write(`${JSON.stringify(message)}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { method, resolve, reject }));
  }

  listen() {
    let rest = "";
    this.process.stdio[4].setEncoding("utf8").on("data", (text) => {
      const messages = (rest + text).split("\0");
      rest = messages.pop();
      for (const message of messages) this.take(JSON.parse(message));
    });
    this.process.on("exit", () => {
      for (const { method, reject } of this.#waiting.values()) reject(new Error(`the browser ended during ${method}`));
    });
    this.process.stdio[3].on("error", () => {});
  }

  take({ id, result, error, method, params }) {
    if (id) {
      const { method: asked, resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) reject(new Error(`${asked}: ${error.message}`));
      else resolve(result);
    } else if (method === "Runtime.exceptionThrown") {
      const { exception, text } = params.exceptionDetails;
      this.complaints.push(exception?.description ?? text);
    } else if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    } else if (method === "Network.requestWillBeSent") {
      this.requests.push(params.request.url);
    }
  }

  resize(width, height, mobile = false) {
    return this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile });
  }

  theme(value) {
    return this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
  }

  async open(address) {
    const loaded = this.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    await this.send("Page.navigate", { url: address });
    await loaded;
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Waits until `expression` is true, and returns its value. */
  async until(expression, why = expression) {
    const end = Date.now() + PATIENCE_MS;
    let last;
    while (Date.now() < end) {
      try {
        const value = await this.evaluate(expression);
        if (value) return value;
        last = value;
      } catch (error) {
        last = error.message;
      }
      await pause(LOOK_MS);
    }
    throw new Error(`waited in vain until ${why} (${JSON.stringify(last)})`);
  }

  text(words) {
    return this.until(`document.body.innerText.includes(${JSON.stringify(words)})`, `the page says “${words}”`);
  }

  /** Notices aside: these tell of what is gone. */
  noText(words) {
    return this.until(`!document.querySelector("main").innerText.includes(${JSON.stringify(words)})`, `the view does not say “${words}”`);
  }

  /** The element of this role and name, for whom it may concern. Waits for it. */
  async find(role, name) {
    const end = Date.now() + PATIENCE_MS;
    while (Date.now() < end) {
      const { root } = await this.send("DOM.getDocument");
      const { nodes } = await this.send("Accessibility.queryAXTree", { nodeId: root.nodeId, role, accessibleName: name });
      const node = nodes.findLast(({ ignored }) => !ignored);
      if (node) return node.backendDOMNodeId;
      await pause(LOOK_MS);
    }
    throw new Error(`no ${role} is called “${name}”`);
  }

  async click(role, name) {
    const backendNodeId = await this.find(role, name);
    await this.send("DOM.scrollIntoViewIfNeeded", { backendNodeId });
    const { model } = await this.send("DOM.getBoxModel", { backendNodeId });
    const [x1, y1, , , x2, y2] = model.content;
    const at = { x: (x1 + x2) / 2, y: (y1 + y2) / 2, button: "left", clickCount: 1 };
    await this.send("Input.dispatchMouseEvent", { type: "mousePressed", ...at });
    await this.send("Input.dispatchMouseEvent", { type: "mouseReleased", ...at });
  }

  /** Writes into the field of this name in place of what is there. */
  async fill(name, text, role = "textbox") {
    const backendNodeId = await this.find(role, name);
    await this.send("DOM.focus", { backendNodeId });
    await this.evaluate("document.activeElement.select?.()");
    await this.send("Input.insertText", { text });
  }

  /** Chooses an option by its text. */
  async choose(name, option) {
    const backendNodeId = await this.find("combobox", name);
    await this.send("DOM.focus", { backendNodeId });
    await this.evaluate(`(() => {
      const control = document.activeElement;
      const option = [...control.options].find(({ text }) => text === ${JSON.stringify(option)});
      control.value = option.value;
      for (const kind of ["input", "change"]) control.dispatchEvent(new Event(kind, { bubbles: true }));
    })()`);
  }

  /** The text of the file that was downloaded under a name like this. */
  async downloaded(pattern) {
    const end = Date.now() + PATIENCE_MS;
    while (Date.now() < end) {
      const names = existsSync(this.downloads) ? readdirSync(this.downloads) : [];
      const name = names.find((one) => pattern.test(one));
      if (name) return readFileSync(join(this.downloads, name), "utf8");
      await pause(LOOK_MS);
    }
    throw new Error(`nothing was downloaded that is called like ${pattern}`);
  }

  /** The first element that fits a selector, for [`send`]. */
  async first(selector) {
    const { root } = await this.send("DOM.getDocument");
    const { nodeId } = await this.send("DOM.querySelector", { nodeId: root.nodeId, selector });
    const { node } = await this.send("DOM.describeNode", { nodeId });
    return node.backendNodeId;
  }

  /** Controls that a screen reader has no name for. */
  async nameless() {
    const { nodes } = await this.send("Accessibility.getFullAXTree");
    const named = new Set(["button", "link", "textbox", "searchbox", "combobox", "checkbox", "spinbutton", "image", "region"]);
    const without = nodes.filter(({ ignored, role, name }) => !ignored && named.has(role?.value) && !name?.value?.trim());
    return without.map(({ role }) => role.value);
  }

  async press(key) {
    const { code, text } = KEYS[key];
    const event = { key, code: key, windowsVirtualKeyCode: code };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", text, ...event });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  /** A PNG of the page, the whole of it when `full`. */
  async screenshot(full = false) {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: full });
    return Buffer.from(data, "base64");
  }

  async stop() {
    const gone = new Promise((resolve) => this.process.on("exit", resolve));
    this.session = undefined;
    this.send("Browser.close").catch(() => {});
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 3000);
    await gone;
    clearTimeout(timer);
    rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const KEYS = { Enter: { code: 13, text: "\r" }, Escape: { code: 27 }, ArrowLeft: { code: 37 } };
