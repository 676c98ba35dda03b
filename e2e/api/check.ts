// A fetch that compares every reply with the OpenAPI document: its status, its media type, its headers, and its body with
// ajv. It also records which operations were carried out.
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Obj = { [name: string]: Json };

interface Operation {
  id: string;
  method: string;
  path: RegExp;
  fixed: number; // segments without a wildcard
  responses: Obj;
}

// Headers that a client acts upon: a reply has those that the document names, and no others of them.
const told = ["ETag", "Location", "Allow", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate"];

export class Checker {
  readonly seen = new Map<string, Set<number>>(); // the statuses of each operation
  readonly faults = new Set<string>(); // where replies and the document differ
  private readonly operations: Operation[] = [];
  private readonly ajv = new Ajv2020({ strict: true, allowUnionTypes: true, strictRequired: false, allErrors: true });
  private readonly compiled = new Map<string, ValidateFunction>();

  constructor(
    private readonly base: string,
    private readonly document: Obj,
  ) {
    // The type of the package says that the plugin is a member "default". At run time it is the import itself.
    const add = formats as unknown as (ajv: Ajv2020) => void;
    add(this.ajv);
    for (const [path, item] of Object.entries(document.paths as Obj)) {
      for (const [method, op] of Object.entries(item as Obj)) {
        if (method === "parameters") continue;
        const { operationId, responses } = op as Obj;
        const segments = path.split("/");
        this.operations.push({
          id: operationId as string,
          method: method.toUpperCase(),
          path: new RegExp("^" + segments.map((s) => (s.startsWith("{") ? "[^/]+" : s.replace(/\W/g, "\\$&"))).join("/") + "$"),
          fixed: segments.filter((s) => !s.startsWith("{")).length,
          responses: responses as Obj,
        });
      }
    }
    // Of two paths that match, the one with fewer wildcards counts.
    this.operations.sort((a, b) => b.fixed - a.fixed);
  }

  ids(): string[] {
    return this.operations.map((op) => op.id).sort();
  }

  fetch = async (request: Request): Promise<Response> => {
    const reply = await fetch(request.clone());
    const url = new URL(request.url);
    const path = url.pathname.slice(new URL(this.base).pathname.length);
    const op = this.operations.find((o) => o.method === request.method && o.path.test(path));
    if (!op) throw new Error(`no operation ${request.method} ${path} in the document`);
    for (const fault of this.compare(op, reply, await reply.clone().text())) {
      this.faults.add(`${op.id}, ${reply.status}: ${fault}`);
    }
    const statuses = this.seen.get(op.id) ?? new Set();
    this.seen.set(op.id, statuses.add(reply.status));
    return reply;
  };

  private *compare(op: Operation, reply: Response, text: string): Generator<string> {
    const response = this.resolve(op.responses[String(reply.status)]) as Obj | undefined;
    if (!response) return yield `a status that the document does not have: ${text}`;
    const headers = (response.headers ?? {}) as Obj;
    const named = Object.keys(headers).map((h) => h.toLowerCase());
    for (const h of told) {
      if (reply.headers.has(h) && !named.includes(h.toLowerCase())) yield `the header ${h}, which the document does not have`;
    }
    for (const [name, header] of Object.entries(headers)) {
      const { required } = this.resolve(header) as Obj;
      if (required && !reply.headers.has(name)) yield `no header ${name}`;
    }
    const media = (reply.headers.get("Content-Type") ?? "").split(";")[0]!;
    const content = (response.content ?? {}) as Obj;
    if (Object.keys(content).length === 0) {
      if (text !== "") yield "a body that the document does not have";
      return;
    }
    if (!(media in content)) return yield `a media type that the document does not have: ${media}`;
    if (!media.endsWith("json")) return; // lines of JSON, which have no schema
    const validate = this.schema(`${op.id} ${reply.status} ${media}`, (content[media] as Obj).schema as Obj);
    if (!validate(JSON.parse(text))) yield `${this.ajv.errorsText(validate.errors)}: ${text}`;
  }

  private schema(key: string, schema: Obj): ValidateFunction {
    let validate = this.compiled.get(key);
    if (!validate) {
      const { schemas } = this.document.components as Obj;
      const $defs = rewrite(schemas!) as Obj;
      validate = this.ajv.compile({ $defs, ...(rewrite(schema) as Obj) });
      this.compiled.set(key, validate);
    }
    return validate;
  }

  private resolve(value: Json | undefined): Json | undefined {
    if (value && typeof value === "object" && "$ref" in value) {
      let at: Json = this.document;
      for (const name of (value.$ref as string).slice(2).split("/")) {
        at = (at as Obj)[name.replaceAll("~1", "/").replaceAll("~0", "~")]!;
      }
      return at;
    }
    return value;
  }
}

// rewrite moves references to where ajv finds them. It closes each object whose members are named, because a reply of
// today has no member that the document of today does not know. Clients of the document may meet further ones later.
function rewrite(value: Json): Json {
  if (Array.isArray(value)) return value.map(rewrite);
  if (value === null || typeof value !== "object") return value;
  const out: Obj = {};
  for (const [name, v] of Object.entries(value)) {
    out[name] = name === "$ref" ? (v as string).replace("#/components/schemas/", "#/$defs/") : rewrite(v);
  }
  if (out.properties && out.type && !("additionalProperties" in out)) out.additionalProperties = false;
  return out;
}
