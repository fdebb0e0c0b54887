// The servers of v0.9 and v1.0 in one, written with Node's http module: node todo.js v1.0
"use strict";
const http = require("node:http");

const forBrowsers = process.argv[2] === "v1.0";
const tasks = { task_01: "see someone", task_02: "read book", task_03: "play basketball" };

function escape(text) {
  return forBrowsers ? text.replace(/[&<>"']/g, (each) => `&#${each.charCodeAt(0)};`) : text;
}

function page() {
  const rows = Object.keys(tasks).sort().map((id) => `<p>${escape(`${id}: ${tasks[id]}`)}`);
  const fields = '<input name="task_id"><input name="value"><button>Store</button>';
  return `${rows.join("\n")}<form method="post">${fields}</form>`;
}

// Return the [id, value] that a request stores, or undefined.
function task(url, body) {
  if (!forBrowsers) {
    const parts = /^\/(.*?)=(.*)$/.exec(url);
    return parts && parts.slice(1).map(decodeURIComponent);
  }
  const form = new URLSearchParams(body);
  return url === "/" && form.has("task_id") && form.has("value")
    ? [form.get("task_id"), form.get("value")]
    : undefined;
}

function reply(method, url, body) {
  if (method === "GET" && url === "/" && forBrowsers) return [200, page()];
  if (method === "GET") {
    const text = tasks[decodeURIComponent(url.slice(1))];
    return text === undefined ? [404, "no key match"] : [200, escape(text)];
  }
  const stored = task(url, body);
  if (!stored) return [400, "error: nothing to store"];
  tasks[stored[0]] = stored[1];
  return [forBrowsers ? 303 : 200, "submit success"];
}

http
  .createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const [status, text] = reply(request.method, request.url, body);
      response.writeHead(status, { "content-type": "text/html; charset=utf-8", location: "/" });
      response.end(`${text}\r\n`);
    });
  })
  .listen(process.env.PORT, "127.0.0.1");
