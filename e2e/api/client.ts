// The generated client carries out every operation of the API at least once. What it sends is checked by tsc, what it gets
// by check.ts.
import createClient, { type Client } from "openapi-fetch";

import { Checker } from "./check.js";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Problem = Schemas["Problem"];

const env = (name: string): string => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
};
const base = env("BASE");
const document = await (await fetch(process.env.DOCUMENT ?? base + "/openapi.json")).json();
const checker = new Checker(base, document);
const strictly = new Checker(env("STRICT"), document);

const clientOf = (checker: Checker, url: string, key: string): Client<paths> =>
  createClient<paths>({
    baseUrl: url,
    fetch: checker.fetch,
    headers: { Authorization: `Bearer ${key}` },
    querySerializer: { array: { style: "form", explode: false } }, // as the document says of each list
  });
const admin = clientOf(checker, base, env("ADMIN"));
const reader = clientOf(checker, base, env("READER"));
const foreign = clientOf(checker, base, env("FOREIGN"));
const strict = clientOf(strictly, env("STRICT"), env("ADMIN"));

function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

function equal(got: unknown, want: unknown, what: string): void {
  assert(JSON.stringify(got) === JSON.stringify(want), `${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
}

interface Reply<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

// done returns the body of a reply that is no problem.
function done<T>(r: Reply<T>, status = 200): T {
  assert(r.response.status === status, `${r.response.url}: ${r.response.status} ${JSON.stringify(r.error)}`);
  return r.data as T;
}

// refused returns the problem of a reply.
function refused(r: Reply<unknown>, status: number, name: string): Problem {
  assert(r.response.status === status, `${r.response.url}: ${r.response.status}, not ${status}: ${JSON.stringify(r)}`);
  const problem = r.error as Problem;
  equal(problem.status, status, "the status in the problem");
  equal(problem.type.split("/").pop(), name, "the type of the problem");
  equal(r.response.headers.get("Content-Type"), "application/problem+json", "its media type");
  return problem;
}

function etag(r: Reply<unknown>): string {
  const tag = r.response.headers.get("ETag");
  assert(tag, `${r.response.url}: no ETag`);
  return tag;
}

const at = (id: string) => ({ path: { id } });

const once = (key: string) => ({ header: { "Idempotency-Key": key } });
const matching = (id: string, tag: string) => ({ path: { id }, header: { "If-Match": tag } });
const hour = 3_600_000_000_000; // in nanoseconds

async function tokens(): Promise<void> {
  const body: Schemas["NewToken"] = { kind: "api_key", name: "robot", roles: ["viewer"], client: { id: "u-42", name: "Ada" } };
  const made = done(await admin.POST("/tokens", { params: once("6a3c9d52-one"), body }), 201);
  assert(made.secret, "the secret is shown");
  const { id } = made.token;
  // The same request again makes no second token, and shows no secret: its problem names the token.
  const again = refused(await admin.POST("/tokens", { params: once("6a3c9d52-one"), body }), 409, "carried-out");
  equal(again.object, id, "the token that the first request made");
  const other = { ...body, name: "another" };
  refused(await admin.POST("/tokens", { params: once("6a3c9d52-one"), body: other }), 422, "other-request");
  refused(await reader.POST("/tokens", { body }), 403, "denied");

  const got = await admin.GET("/tokens/{id}", { params: at(id) });
  equal(done(got).client, { id: "u-42", name: "Ada" }, "its client");
  const conditional = { path: { id }, header: { "If-None-Match": etag(got) } };
  equal((await admin.GET("/tokens/{id}", { params: conditional })).response.status, 304, "If-None-Match");
  refused(await foreign.GET("/tokens/{id}", { params: at(id) }), 404, "not-found");

  const known = matching(id, etag(got));
  // @ts-expect-error: the generated types know that a name is a text
  const numbered = await admin.PATCH("/tokens/{id}", { params: known, body: { name: 7 } });
  equal(refused(numbered, 400, "bad-request").pointer, "/name", "the member that is no text");
  const another = { client: { id: "u-43" } };
  const patched = await admin.PATCH("/tokens/{id}", { params: known, body: another });
  equal(refused(patched, 400, "bad-request").pointer, "/client", "the member that is no setting");
  const settings: Schemas["SettingsPatch"] = {
    name: "renamed",
    limits: { quotas: [{ meter: "api", amount: 5_000_000, per: "day" }], rate: { count: 100, per: 60_000_000_000, burst: 99 } },
    restrictions: { addresses: ["127.0.0.0/8", "::1/128"] },
    validity: { idle: 24 * hour, not_after: "2126-01-01T00:00:00Z" },
    permissions: [
      { allow: ["read", "update"], on: ["dataset/orders"], where: { field: "region", op: "=", value: "EU" } },
      { deny: ["*"], on: ["dataset/payroll"] },
    ],
    extra: { plan: "pro" },
  };
  const renamed = await admin.PATCH("/tokens/{id}", { params: known, body: settings });
  equal(done(renamed).name, "renamed", "its name");
  equal(done(renamed).permissions?.length, 2, "its rules");
  assert(etag(renamed) !== etag(got), "another ETag");
  refused(await admin.PATCH("/tokens/{id}", { params: known, body: { name: "late" } }), 412, "stale");
  refused(await strict.PATCH("/tokens/{id}", { params: at(id), body: { name: "blind" } }), 428, "if-match");
  done(await strict.PATCH("/tokens/{id}", { params: matching(id, "*"), body: { extra: null } }));

  const page = done(await admin.GET("/tokens", { params: { query: { limit: 1, find: "RENAMED" } } }));
  equal([page.items.length, page.items[0]?.id], [1, id], "found by a part of its name");
  const kind: Schemas["NewToken"]["kind"][] = ["api_key", "secret"];
  const first = done(await admin.GET("/tokens", { params: { query: { limit: 1, kind } } }));
  assert(first.next, "a cursor");
  const next = { query: { limit: 1, kind, cursor: first.next } };
  const second = done(await admin.GET("/tokens", { params: next }));
  assert(second.items[0]!.id !== first.items[0]!.id, "the second page is another");
  equal(refused(await foreign.GET("/tokens", { params: next }), 400, "bad-request").field, "cursor", "the parameter");
  equal(done(await admin.GET("/tokens/count", { params: { query: { client: "u-42" } } })), { count: 1, more: false }, "count");
  equal(done(await admin.POST("/tokens/find", { body: { secret: made.secret } })).id, id, "whose secret it is");
  refused(await foreign.POST("/tokens/find", { body: { secret: made.secret } }), 404, "not-found");

  const questions: Schemas["Question"][] = [
    { action: "read", resource: "dataset/orders" },
    { action: "delete", resource: "dataset/orders" },
  ];
  const explained = done(await admin.POST("/tokens/{id}/explain", { params: at(id), body: { questions } }));
  equal(explained.items.map((e) => e.verdict), ["some", "none"], "verdicts");
  const lineage = done(await admin.GET("/tokens/{id}/lineage", { params: at(id) }));
  equal(lineage.roles?.map((r) => [r.name, r.coded]), [["viewer", true]], "its roles");
  const who = done(await admin.GET("/who", { params: { query: { action: "update", resource: "dataset/orders" } } }));
  assert(who.items.some((h) => h.token.id === id), "it may update some orders");

  const credits = done(await admin.GET("/tokens/{id}/credits", { params: { ...at(id), query: { meter: "api" } } }));
  equal(credits.items.map((c) => [c.token_id, c.left, c.quota.meter]), [[id, 5_000_000, "api"]], "what is left");

  const mint: Schemas["NewMint"] = { name: "an hour", lifetime: hour, roles: ["viewer"], client: { id: "u-42" } };
  const robot = clientOf(checker, base, made.secret);
  equal(done(await robot.GET("/me/credits", { params: { query: { meter: "api" } } })).items[0]?.left, 5_000_000, "what is left to the token itself");
  const child = done(await robot.POST("/me/tokens", { params: once("a-mint"), body: mint }), 201);
  equal([child.token.kind, child.token.parent], ["access", id], "what it minted");
  refused(await robot.POST("/me/tokens", { params: once("a-mint"), body: mint }), 409, "carried-out");
  refused(await robot.POST("/me/tokens", { body: { ...mint, roles: ["admin"] } }), 400, "invalid");

  const rotated = await admin.POST("/tokens/{id}/rotate", { params: at(id), body: { overlap: hour, reason: "planned" } });
  const fresh = done(rotated).secret;
  equal(done(await admin.POST("/tokens/{id}/reveal", { params: at(id) })).secret, fresh, "the newest secret");
  const secrets = done(await admin.GET("/tokens/{id}/secrets", { params: at(id) })).items.filter((s) => !s.signing);
  equal(secrets.map((s) => s.newest ?? false), [false, true], "its secrets");
  const [old, newest] = secrets.map((s) => ({ path: { id, secret: s.id! } }));
  refused(await admin.DELETE("/tokens/{id}/secrets/{secret}", { params: newest! }), 409, "last-secret");
  done(await admin.DELETE("/tokens/{id}/secrets/{secret}", { params: old! }), 204);
  refused(await robot.GET("/me"), 401, "invalid-token");
  const signing = done(await admin.POST("/tokens/{id}/signing-secret", { params: at(id) })).secret;
  assert(signing !== fresh, "the signing secret is another");

  done(await admin.POST("/tokens/{id}/revoke", { params: at(id), body: { reason: "the test is over" } }), 204);
  refused(await clientOf(checker, base, fresh).GET("/me"), 401, "invalid-token");
  equal(done(await admin.GET("/tokens/{id}", { params: at(id) })).refused, "revoked", "why it is refused");
  done(await admin.DELETE("/tokens/{id}", { params: at(id) }), 204);
  refused(await admin.GET("/tokens/{id}", { params: at(id) }), 404, "not-found");
}

async function imports(): Promise<void> {
  const body: Schemas["ImportedToken"] = { kind: "api_key", name: "moved", text: "old_Kk4DQuMMfZL9o2bX" };
  const moved = done(await admin.POST("/tokens/import", { body }), 201);
  equal(moved.secret, undefined, "no secret: the client has it");
  equal(done(await clientOf(checker, base, body.text!).GET("/me")).token_id, moved.token.id, "it works");
  refused(await admin.POST("/tokens/import", { body }), 409, "exists");
  const kept = { sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", hint: "old_…" };
  done(await admin.POST("/tokens/import", { body: { kind: "api_key", name: "digest", kept } }), 201);
}

async function roles(): Promise<void> {
  const body: Schemas["NewRole"] = {
    name: "editor",
    inherits: ["viewer"],
    permissions: [{ grant: ["create", "update"], on: ["dataset/orders"] }],
    boundary: [{ allow: ["*"], on: ["dataset/*"] }],
  };
  const made = await admin.POST("/roles", { params: once("a-role"), body });
  const { id } = done(made, 201);
  equal(made.response.headers.get("Location"), "roles/" + id, "where it is");
  refused(await admin.POST("/roles", { body }), 409, "exists");
  const listed = done(await admin.GET("/roles", { params: { query: { limit: 100 } } })).items.map((r) => r.name);
  assert(listed.includes("editor") && listed.includes("viewer"), `the roles: ${listed}`);
  const got = await admin.GET("/roles/{id}", { params: at(id) });
  equal(done(got).inherits, ["code:viewer"], "what it inherits");
  const changed = await admin.PATCH("/roles/{id}", { params: matching(id, etag(got)), body: { inherit_denies: true } });
  equal(done(changed).inherit_denies, true, "its change");
  refused(await admin.PATCH("/roles/{id}", { params: matching(id, etag(got)), body: { boundary: null } }), 412, "stale");
  const viewer = await admin.PATCH("/roles/{id}", { params: at("code:viewer"), body: { name: "mine" } });
  assert(viewer.response.status === 403 || viewer.response.status === 409, "a role of the program");
  const questions = [{ action: "update", resource: "dataset/orders" }];
  const explained = done(await admin.POST("/roles/{id}/explain", { params: at(id), body: { questions } }));
  equal(explained.items[0]?.verdict, "all", "what it allows");
  equal(done(await admin.GET("/roles/{id}/lineage", { params: at(id) })).roles?.length, 2, "with what it inherits");

  const issued = done(await admin.POST("/tokens", { body: { kind: "api_key", roles: ["editor"] } }), 201);
  refused(await admin.DELETE("/roles/{id}", { params: at(id) }), 409, "in-use");
  done(await admin.DELETE("/tokens/{id}", { params: at(issued.token.id) }), 204);
  done(await admin.DELETE("/roles/{id}", { params: at(id) }), 204);
}

async function clients(): Promise<void> {
  const client = { id: "u-7/é", name: "Zoë" }; // an id that must be escaped in a path
  for (let i = 0; i < 3; i++) done(await admin.POST("/tokens", { body: { kind: "api_key", client } }), 201);
  const listed = done(await admin.GET("/clients", { params: { query: { limit: 200 } } }));
  assert(listed.items.some((c) => c.name === "Zoë"), "it is listed");
  equal(done(await admin.GET("/clients/{id}", { params: at(client.id) })), client, "it is read");
  const lines = done(await admin.GET("/clients/{id}/export", { params: at(client.id), parseAs: "text" })) as string;
  const kinds = lines.trim().split("\n").map((line) => Object.keys(JSON.parse(line))[0]);
  equal(kinds.filter((k) => k === "token").length, 3, "its tokens are exported");

  const some: Schemas["Selection"] = { client: client.id, kinds: ["api_key"], reason: "a test" };
  const disabled = done(await admin.POST("/tokens/disable", { body: some }));
  equal([disabled.done, disabled.refused, disabled.more], [3, 0, false], "switched off");
  equal(done(await admin.POST("/tokens/revoke", { body: some })).done, 3, "revoked");
  refused(await admin.POST("/tokens/revoke", { body: {} }), 400, "invalid");
  done(await admin.DELETE("/clients/{id}", { params: at(client.id) }), 204);
  refused(await admin.GET("/clients/{id}", { params: at(client.id) }), 404, "not-found");
}

async function me(): Promise<void> {
  const mine = done(await reader.GET("/me"));
  equal([mine.owner, mine.kind, mine.role_names], ["acme", "api_key", ["viewer"]], "who the reader is");
  const reach = done(await reader.GET("/me/reach", { params: { query: { action: "read" } } }));
  equal(reach.items.map((r) => [r.pattern, r.rows]), [["dataset/*", true]], "what it may read");
  const questions = [{ action: "read", resource: "dataset/a" }, { action: "read", resource: "latchkey/token/x" }];
  const explained = done(await reader.POST("/me/explain", { body: { questions } }));
  equal(explained.items.map((e) => e.verdict), ["all", "none"], "what it may do");
  done(await admin.POST("/me/explain", { body: { questions } }));
}

async function account(): Promise<void> {
  const got = await admin.GET("/owner");
  equal(done(got).id, "acme", "the account");
  const changed = await admin.PATCH("/owner", { params: { header: { "If-Match": etag(got) } }, body: { extra: { plan: "pro" } } });
  equal(done(changed).extra, { plan: "pro" }, "its change");
  refused(await admin.PATCH("/owner", { body: { policy: { tokens: 5, kinds: ["api_key"] } } }), 403, "denied");
  refused(await reader.GET("/owner"), 403, "denied");

  const usage = done(await admin.GET("/usage", { params: { query: { by: ["token", "meter"] } } }));
  assert(usage.items.length > 0, "what was used");
  const refusals = done(await admin.GET("/refusals", { params: { query: { by: ["reason"] } } }));
  assert(refusals.items.some((r) => r.reason === "disabled" && r.count === 1), "what was refused");
  const events = done(await admin.GET("/events", { params: { query: { action: "token.", order: "newest", limit: 5 } } }));
  equal(events.items.length, 5, "a page of the audit trail");
  assert(events.items.every((e) => e.action.startsWith("token.") && e.from), "each with its action and address");
  const catalogue = done(await admin.GET("/catalogue"));
  equal(catalogue.resources?.[0]?.template, "dataset/{name}", "what the host has");
}

// Each operation, with what is wrong whatever it does. The checker compares each reply with the document.
async function wrong(): Promise<void> {
  for (const [path, item] of Object.entries(document.paths as Record<string, Record<string, { requestBody?: unknown }>>)) {
    if (path === "/openapi.json") continue;
    const url = base + path.replaceAll(/\{\w+\}/g, "01980000-0000-7000-8000-000000000000");
    for (const [name, op] of Object.entries(item)) {
      const method = name.toUpperCase();
      const Authorization = `Bearer ${env("ADMIN")}`;
      const body = method === "GET" ? {} : { body: "{}" };
      const json = { "Content-Type": "application/json" };
      const send = async (status: number, to: string, init: RequestInit) => {
        const reply = await checker.fetch(new Request(to, { method, ...init }));
        // What a body means is seen when the record is read, and there is none.
        const good = reply.status === status || (status === 400 && reply.status === 404 && path.includes("{"));
        assert(good, `${method} ${to}: ${reply.status}, not ${status}: ${await reply.text()}`);
      };
      await send(401, url, { headers: json, ...body });
      await send(401, url, { headers: { ...json, Authorization: "Bearer ak_wrong" }, ...body });
      await send(400, url + "?nothing=1", { headers: { ...json, Authorization }, ...body });
      if (op.requestBody) {
        await send(415, url, { headers: { "Content-Type": "text/plain", Authorization }, ...body });
        await send(400, url, { headers: { ...json, Authorization }, body: '{"a":1,"a":2}' });
        await send(400, url, { headers: { ...json, Authorization }, body: '{"no such member":1}' });
        await send(400, url, { headers: { ...json, Authorization }, body: "[]" });
        await send(413, url, { headers: { ...json, Authorization }, body: '{"x":"' + "x".repeat(1 << 21) + '"}' });
      }
    }
  }
}

const faults: string[] = [];
for (const story of [me, tokens, imports, roles, clients, account, wrong]) {
  await story().catch((err: Error) => faults.push(`${story.name}: ${err.message}`));
}
done(await admin.GET("/openapi.json"));
faults.push(...checker.faults, ...strictly.faults);
for (const id of checker.ids()) {
  const statuses = [...(checker.seen.get(id) ?? [])].sort();
  console.log(`${id}: ${statuses.join(" ")}`);
  if (!statuses.some((status) => status < 300)) faults.push(`${id} never succeeded`);
}
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
