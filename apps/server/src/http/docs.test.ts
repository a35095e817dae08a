import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMetrics } from "./metrics/metrics.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

const file = (path: string) => readFile(new URL(`../../../../${path}`, import.meta.url), "utf8");

describe("docs/serving.md", () => {
  let server: TestServer;
  let page: string;
  beforeAll(async () => {
    server = await startTestServer();
    page = await file("docs/serving.md");
  });
  afterAll(() => server.close());

  it("names every route", async () => {
    const { body } = await server.get("/openapi.json");
    const routes = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods as object).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.filter((route) => !page.includes(`\`${route}\``))).toEqual([]);
  });

  it("names every field that is served", async () => {
    const { body } = await server.get("/openapi.json");
    const fieldsOf = (path: string) =>
      body.paths[path].post.requestBody.content["application/json"].schema.properties as Record<
        string,
        { readonly description?: string }
      >;
    const fields = Object.entries({
      ...fieldsOf("/v1/chat/completions"),
      ...fieldsOf("/v1/completions"),
    })
      .filter(([, { description = "" }]) => !/^(Not served|Served as)/.test(description))
      .map(([name]) => name)
      .filter((name) => !["messages", "prompt"].includes(name));
    expect(fields.length).toBeGreaterThan(40);
    expect(fields.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it("names every metric, and the dashboard shows them all", async () => {
    const text = await createMetrics().text();
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
    expect(names.length).toBeGreaterThan(25);
    expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
    const dashboard = await file("deploy/grafana-dashboard.json");
    JSON.parse(dashboard);
    expect(names.filter((name) => !dashboard.includes(name))).toEqual([]);
    const shown = new Set([...dashboard.matchAll(/(?:vllm|kvcache):\w+/g)].map(([name]) => name));
    const plain = (name: string) => name.replace(/_(bucket|sum|count)$/, "");
    expect(
      [...shown].filter((name) => !names.includes(name) && !names.includes(plain(name))),
    ).toEqual([]);
  });
});
