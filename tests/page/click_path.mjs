// Drives the management page as a user would, in headless Chromium, against the broker whose page is at the address
// that is given: `node click_path.mjs http://127.0.0.1:15672/ /usr/bin/chromium`. Ends with status 0 when all is well.
// Leaves nothing behind in the broker.

import { Browser, pause } from "./browser.mjs";

const [address, program] = process.argv.slice(2);
const PHONE = [390, 844];
const DESK = [1440, 900];
const VIEWS = [
  "", "connections", "channels", "consumers", "queues", "exchanges", "exchanges/%2F/amq.topic", "queues/%2F/page-test",
  "queues/%2F/page-test?tab=messages", "queues/%2F/page-test?tab=bindings", "admin/policies", "admin/users",
  "admin/users/guest", "admin/vhosts", "admin/vhosts/%2F", "admin/limits", "admin/definitions", "admin/log", "nowhere",
];

const STEPS = {
  async "a wrong password is refused in words"(page) {
    await page.open(address);
    await logIn(page, "not the password");
    await page.text("Name or password is wrong");
  },
  async "guest logs in and sees the overview"(page) {
    await logIn(page, "guest");
    await page.text("Message rates");
    await page.text("Listeners");
    await page.until("document.activeElement?.tagName === 'H1'", "the focus is on the title of the view");
  },
  async "a cookie that scripts cannot read is the session"(page) {
    const seen = await page.evaluate("document.cookie + JSON.stringify(localStorage) + location.href");
    expect(!/leveret-session|password/.test(seen), `no secret where scripts read: ${seen}`);
    const forged = await page.evaluate("fetch('api/queues/%2F/forged', { method: 'PUT', body: '{}' }).then(({ status }) => status)");
    expect(forged === 403, `a write without the page's header is refused, not answered with ${forged}`);
  },
  async "a queue is created with arguments"(page) {
    await page.click("link", "Queues");
    await page.click("button", "Add queue …");
    await page.fill("Name", "page-test");
    await page.choose("Add an argument …", "Maximum length");
    await page.fill("Maximum length x-max-length", "1000", "spinbutton");
    await page.click("button", "Add queue");
    await title(page, "page-test");
    await page.text("x-max-length 1000");
  },
  async "the broker's reason is shown when it refuses"(page) {
    await go(page, "queues");
    await page.click("button", "Add queue …");
    await page.fill("Name", "page-test");
    await page.choose("Add an argument …", "Maximum length");
    await page.fill("Maximum length x-max-length", "7", "spinbutton");
    await page.click("button", "Add queue");
    await page.text("inequivalent arg 'x-max-length'");
    await page.press("Escape");
    await page.until("!document.querySelector('dialog')", "Escape closes the dialog");
    await page.until("document.activeElement?.textContent === 'Add queue …'", "the focus is back on the button");
  },
  async "messages are published with properties and headers"(page) {
    await go(page, "queues/%2F/page-test?tab=messages");
    await page.text("The queue is empty.");
    for (const payload of ['{"leveret": 1}', "<b>not markup</b>"]) {
      await page.click("button", "Publish …");
      await page.fill("Payload", payload);
      await page.click("button", "Add a header");
      await page.fill("Name", "colour");
      await page.fill("Value", payload.startsWith("{") ? "brown" : "grey");
      await page.click("button", "Publish");
      await page.until("!document.querySelector('dialog')", "the dialog is closed");
    }
    await page.text("<b>not markup</b>");
  },
  async "the browser shows messages without taking them"(page) {
    await page.text("2 messages shown");
    await page.until("document.querySelector('.message summary')?.click() ?? true");
    await page.text('"leveret": 1');
    await page.text("colour brown");
    await page.click("button", "Refresh");
    await page.text("2 messages shown");
    await page.until("!document.querySelector('.messages').innerText.includes('redelivered')", "nothing was delivered");
  },
  async "the browser searches headers and payloads"(page) {
    await search(page, "grey");
    await page.text("1 message found in 2 searched");
    await search(page, "nobody wrote this");
    await page.text("Nothing found.");
    await search(page, "");
    await page.text("2 messages shown");
  },
  async "messages are moved elsewhere"(page) {
    await put(page, "api/queues/%2F/page-test-2", {});
    await page.click("button", "Move …");
    await page.choose("Where", "To another exchange or queue");
    await page.fill("Routing key", "page-test-2");
    await page.fill("Only with", "grey");
    await page.click("button", "Move");
    await page.text("1 message moved");
    await page.text("1 message shown");
    await go(page, "queues/%2F/page-test-2?tab=messages");
    await page.text("<b>not markup</b>");
    await remove(page, "Delete queue");
    await title(page, "Queues");
  },
  async "get takes messages off the queue"(page) {
    await go(page, "queues/%2F/page-test?tab=messages");
    await page.click("button", "Get …");
    await page.choose("Afterwards", "Acked: taken off the queue");
    await page.fill("Messages", "10", "spinbutton");
    await page.click("button", "Get");
    await page.click("button", "Close");
    await page.text("The queue is empty.");
  },
  async "an exchange is created, bound, published to, unbound and deleted"(page) {
    await go(page, "exchanges");
    await page.click("button", "Add exchange …");
    await page.fill("Name", "page-test-exchange");
    await page.choose("Type", "topic");
    await page.click("button", "Add exchange");
    await title(page, "page-test-exchange");
    await page.until("document.querySelectorAll('.card-head button').length === 2");
    await page.evaluate("document.querySelector('.card-head button').click()");
    await page.fill("Its name", "page-test");
    await page.fill("Routing key", "page.#");
    await page.click("button", "Bind");
    await page.text("page.#");
    await page.click("button", "Publish …");
    await page.fill("Routing key", "page.one");
    await page.fill("Payload", "by the exchange");
    await page.click("button", "Publish");
    await page.until("!document.querySelector('dialog')", "it was routed");
    await page.click("button", "Unbind page-test from page-test-exchange, key page.#");
    await page.click("button", "Unbind");
    await page.text("It is bound to nothing");
    await remove(page, "Delete exchange");
    await title(page, "Exchanges");
    await page.noText("page-test-exchange");
  },
  async "charts move under load"(page) {
    await go(page, "");
    await page.text("Message rates");
    const before = await page.until("document.querySelector('.plot .line')?.getAttribute('d')");
    const load = page.evaluate(`(async () => {
      for (let n = 0; n < 200; n++) {
        await fetch("api/exchanges/%2F/amq.default/publish", {
          method: "POST",
          headers: { "X-Requested-With": "leveret", "Content-Type": "application/json" },
          body: JSON.stringify({ properties: {}, routing_key: "page-test", payload: "load", payload_encoding: "string" }),
        });
        await new Promise((done) => setTimeout(done, 30));
      }
    })()`);
    await page.until("/^Publish(?!0\\/s|–)/.test(document.querySelector('.key').textContent.trim())", "the legend tells a rate");
    await page.until(`document.querySelector(".plot .line").getAttribute("d") !== ${JSON.stringify(before)}`, "the line moves");
    await load;
    // The cross-hair reads single points to those who use keys.
    await page.send("DOM.focus", { backendNodeId: await page.first(".plot") });
    await page.press("ArrowLeft");
    await page.until("/Publish/.test(document.querySelector('.tip:not([hidden])')?.textContent)", "an arrow key reads a point");
  },
  async "a queue is purged after a question"(page) {
    await go(page, "queues/%2F/page-test");
    await page.click("button", "Purge …");
    await page.click("button", "Purge");
    await page.text("page-test is purged.");
  },
  async "a policy is set and deleted"(page) {
    await go(page, "admin/policies");
    await page.click("button", "Add policy …");
    await page.fill("Name", "page-test-policy");
    await page.fill("Pattern", "^page-test$");
    await page.choose("Add a setting …", "Message TTL");
    await page.fill("Message TTL message-ttl", "60000", "spinbutton");
    await page.click("button", "Add");
    await page.text("page-test-policy");
    await go(page, "queues/%2F/page-test");
    await page.text("In force by policy");
    await go(page, "admin/policies");
    await page.click("button", "Delete page-test-policy");
    await page.click("button", "Delete");
    await page.text("The policy is deleted.");
  },
  async "a virtual host and a user come and go"(page) {
    await go(page, "admin/vhosts");
    await page.click("button", "Add virtual host …");
    await page.fill("Name", "page-test-vhost");
    await page.click("button", "Add virtual host");
    await title(page, "page-test-vhost");
    await page.click("button", "Set limit …");
    await page.fill("At most", "5", "spinbutton");
    await page.click("button", "Set limit");
    await page.text("The limit is set.");
    await go(page, "admin/users");
    await page.click("button", "Add user …");
    await page.fill("Name", "page-test-user");
    await page.fill("Password", "page-test");
    await page.click("checkbox", "monitoring sees every connection, channel and the node");
    await page.click("button", "Add user");
    await title(page, "page-test-user");
    await page.click("button", "Set permissions …");
    await page.choose("Virtual host", "page-test-vhost");
    await page.click("button", "Set permissions");
    await page.text("Permissions are set.");
    await remove(page, "Delete user", "page-test-user");
    await title(page, "Users");
    await go(page, "admin/vhosts/page-test-vhost");
    await remove(page, "Delete virtual host", "page-test-vhost");
    await title(page, "Virtual hosts");
  },
  async "the live log tells what happens"(page) {
    await go(page, "admin/log");
    await page.text("Connected");
    await put(page, "api/queues/%2F/page-test-log", {});
    await page.text("queue.created");
    await page.evaluate("fetch('api/queues/%2F/page-test-log', { method: 'DELETE', headers: { 'X-Requested-With': 'leveret' } })");
  },
  async "definitions are downloaded"(page) {
    await go(page, "admin/definitions");
    await page.click("button", "Download");
    const definitions = JSON.parse(await page.downloaded(/^definitions-.*\.json$/));
    expect(definitions.queues.some(({ name }) => name === "page-test"), "the queue is among the definitions");
  },
  async "an import is shown before it is made"(page) {
    await go(page, "admin/definitions");
    const content = JSON.stringify({ queues: [{ name: "page-test-import", vhost: "/", durable: true, auto_delete: false, arguments: {} }] });
    await page.until("document.querySelector('input[type=file]') !== null");
    await page.evaluate(`(() => {
      const files = new DataTransfer();
      files.items.add(new File([${JSON.stringify(content)}], "definitions.json", { type: "application/json" }));
      document.querySelector("input[type=file]").files = files.files;
    })()`);
    await page.click("button", "Show what would change");
    await page.text("page-test-import");
    const status = await page.evaluate("fetch('api/queues/%2F/page-test-import').then(({ status }) => status)");
    expect(status === 404, "a dry run changes nothing");
  },
  async "all views fit a phone, and all controls have names"(page) {
    for (const [width, height] of [PHONE, DESK]) {
      await page.resize(width, height);
      for (const view of VIEWS) {
        await go(page, view);
        await pause(300);
        const excess = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        expect(excess <= 0, `#/${view} is ${excess} too wide at ${width}`);
        const titles = await page.evaluate("document.querySelectorAll('h1').length");
        expect(titles === 1, `#/${view} has ${titles} titles`);
        const nameless = await page.nameless();
        expect(nameless.length === 0, `#/${view} has controls without a name: ${nameless}`);
      }
    }
  },
  async "a phone has its places behind a button"(page) {
    await page.resize(...PHONE);
    await page.click("button", "Places");
    await page.click("link", "Channels");
    await title(page, "Channels");
    await page.resize(...DESK);
  },
  async "the keyboard comes first to the content"(page) {
    await page.evaluate("document.activeElement.blur(), document.body.focus()");
    await page.evaluate("getSelection().removeAllRanges()");
    await page.send("DOM.focus", { backendNodeId: await page.find("button", "Skip to content") });
    await page.press("Enter");
    await page.until("document.activeElement?.id === 'main'", "the content has the focus");
  },
  async "dark colours are chosen and kept"(page) {
    await page.click("button", "Dark colours");
    await page.until("getComputedStyle(document.documentElement).colorScheme === 'dark'");
    await page.evaluate("location.reload()");
    await page.text("Channels");
    await page.until("getComputedStyle(document.documentElement).colorScheme === 'dark'");
    await page.click("button", "Light colours");
  },
  async "the queue is deleted after a question"(page) {
    await go(page, "queues/%2F/page-test");
    await remove(page, "Delete queue");
    await title(page, "Queues");
    await page.noText("page-test");
  },
  async "who logs out is out"(page) {
    await page.click("button", "Log out");
    await page.find("button", "Log in");
    const status = await page.evaluate("fetch('api/overview', { headers: { 'X-Requested-With': 'leveret' } }).then(({ status }) => status)");
    expect(status === 401, `the session is over, not ${status}`);
  },
  async "nothing was asked of anybody else, and nothing was refused by the page's own policy"(page) {
    const outside = page.requests.filter((url) => !url.startsWith(address) && !/^(data|blob|about):/.test(url));
    expect(outside.length === 0, `asked outside: ${outside}`);
    // Answers that were provoked above are no complaints.
    const complaints = page.complaints.filter((text) => !/status of (400|401|403|404)/.test(text));
    expect(complaints.length === 0, complaints.join("\n"));
  },
};

async function main() {
  const page = await Browser.start(program, { width: DESK[0], height: DESK[1] });
  let failed = 0;
  try {
    await page.theme("light");
    for (const [name, step] of Object.entries(STEPS)) {
      try {
        await step(page);
        console.log(`ok      ${name}`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED  ${name}: ${error.message}`);
        const shown = await page.evaluate("location.hash + ' ' + document.body.innerText.slice(-600)").catch(() => "nothing");
        console.log(`        the page shows: ${shown.replace(/\s+/g, " ")}`);
        await page.evaluate("document.querySelector('dialog')?.close()").catch(() => {});
      }
    }
    if (failed > 0) console.log(page.complaints.join("\n"));
  } finally {
    await page.stop();
  }
  process.exitCode = failed > 0 ? 1 : 0;
}

async function logIn(page, password) {
  await page.fill("Name", "guest");
  await page.fill("Password", password);
  await page.click("button", "Log in");
}

const go = (page, view) => page.evaluate(`void (location.hash = "#/${view}")`);

const title = (page, text) => page.until(`document.querySelector("h1")?.textContent === ${JSON.stringify(text)}`, `the view is called ${text}`);

async function search(page, text) {
  await page.fill("Search headers and payload", text, "searchbox");
  if (text === "") await page.evaluate("document.activeElement.value = ''");
  await page.click("button", "Search");
}

/** Answers the question before something is deleted. */
async function remove(page, action, typed) {
  await page.click("button", "Delete …");
  if (typed) await page.fill(`Type ${typed} to go on`, typed);
  await page.click("button", action);
}

const put = (page, path, body) =>
  page.evaluate(`fetch(${JSON.stringify(path)}, {
    method: "PUT",
    headers: { "X-Requested-With": "leveret", "Content-Type": "application/json" },
    body: ${JSON.stringify(JSON.stringify(body))},
  }).then(({ status }) => status)`);

function expect(isSo, what) {
  if (!isSo) throw new Error(what);
}

await main();
