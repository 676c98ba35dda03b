// An MCP client that does what it is told. Arguments: the URL and the token. Each line of standard input is a request,
// {"op":"connect"|"list"|"call", ...}; each line of standard output is its result, or the error as a client sees it.
import { createInterface } from 'node:readline';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, token] = process.argv.slice(2);
// The transport says the status of a refusal, but no header of it.
let retryAfter = null;
const watched = async (...args) => {
  const response = await fetch(...args);
  retryAfter = response.headers.get('retry-after');
  return response;
};
const client = new Client({ name: 'client', version: '1' });
const transport = new StreamableHTTPClientTransport(new URL(url), {
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
  fetch: watched,
});

const run = {
  connect: async () => { await client.connect(transport); return client.getServerVersion().name; },
  list: async () => (await client.listTools()).tools.map((tool) => tool.name),
  call: async ({ name, args }) => (await client.callTool({ name, arguments: args })).content[0].text,
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let reply;
  try {
    reply = { result: await run[request.op](request) };
  } catch (error) {
    reply = { code: error.code, status: error.data?.status, message: error.message, retryAfter };
  }
  console.log(JSON.stringify(reply));
}
process.exit(0);
