import { connect } from "node:net";
import type { Random } from "./random.ts";

const json = '{"prompt":"a","max_tokens":1}';
const head = (line: string, ...fields: string[]) =>
  [line, "Host: x", ...fields, "", ""].join("\r\n");
const post = (...fields: string[]) =>
  head("POST /v1/completions HTTP/1.1", "Content-Type: application/json", ...fields);

/** What no client library sends. */
const requests: readonly string[] = [
  "",
  "\r\n\r\n",
  "GARBAGE\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  head("GET / HTTP/9.9"),
  head("GET /health HTTP/1.0"),
  "GET /health HTTP/1.1\r\n\r\n",
  head(`GET /${"a".repeat(20_000)} HTTP/1.1`),
  head("GET /v1/models/%E0%A4%A HTTP/1.1"),
  head("GET /v1/models/..%2f..%2fetc HTTP/1.1"),
  head("GET //health HTTP/1.1"),
  head("GET http://other.test/health HTTP/1.1"),
  head("OPTIONS * HTTP/1.1"),
  head("CONNECT other.test:443 HTTP/1.1"),
  head("BREW /v1/completions HTTP/1.1"),
  head("GET /health HTTP/1.1", `X: ${"y".repeat(40_000)}`),
  head("GET /health HTTP/1.1", ...Array.from({ length: 3000 }, (_, i) => `X-${i}: 1`)),
  head("GET /health HTTP/1.1", "X-Request-Id: \x01\x02"),
  head("GET /health HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade"),
  head("GET /health HTTP/1.1") + head("GET /version HTTP/1.1") + head("GET /nothing HTTP/1.1"),
  `${post("Content-Length: 10")}${json}`,
  `${post("Content-Length: 999")}${json}`,
  `${post("Content-Length: -1")}${json}`,
  `${post("Content-Length: 99999999999")}${json}`,
  `${post("Content-Length: 5", "Content-Length: 6")}${json}`,
  `${post(`Content-Length: ${json.length}`, "Transfer-Encoding: chunked")}0\r\n\r\n`,
  `${post("Transfer-Encoding: chunked")}zz\r\n${json}\r\n0\r\n\r\n`,
  `${post("Transfer-Encoding: chunked")}ffffffffffffffff\r\n${json}`,
  `${post("Transfer-Encoding: chunked")}1d\r\n${json}\r\n0\r\n\r\n`,
  `${post("Expect: 100-continue", `Content-Length: ${json.length}`)}${json}`,
  `${post("Content-Encoding: gzip", `Content-Length: ${json.length}`)}${json}`,
  `${post(`Content-Length: ${json.length}`)}${json}${post("Content-Length: 1")}`,
];

/**
 * Sends one of them, ends its side and reads until the server ends too. Resolves to the statuses of
 * the answers; rejects after `timeoutMs`.
 */
export function rawRequest(port: number, random: Random, timeoutMs: number): Promise<number[]> {
  const request = random.pick(requests);
  const cut = random.chance(0.2) ? random.below(request.length + 1) : request.length;
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ port, host: "127.0.0.1" });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end after ${timeoutMs} ms: ${JSON.stringify(request.slice(0, 200))}`));
    }, timeoutMs);
    socket.setEncoding("latin1");
    socket.on("data", (piece) => {
      text += piece;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve([...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status)));
    });
    socket.end(Buffer.from(request.slice(0, cut), "latin1"));
  });
}
