// Runs IEX Cloud's own clients: reads one call per line from standard input, as JSON, and answers each with one line.
//
//   {"client": "iexjs", "token": "sk_…", "call": "apperate.queryData", "args": [{…}]}
//   {"client": "node-iex-cloud", "token": "pk_…", "call": "quote", "args": ["aapl"]}
//   → {"ok": …} or {"rejected": "…"}; {"undefined": true} when the client resolved nothing
//
// BASE is the server with its version and a slash: "http://127.0.0.1:34567/v1/". iexjs has an option for it.
// node-iex-cloud takes the fetch to use, which sends its requests there.
'use strict';
const base = process.env.BASE;
for (const name of ['log', 'warn', 'error']) console[name] = () => {}; // what clients print would be taken for answers
const iexjs = require('@apperate/iexjs');
const { IEXCloudClient } = require('node-iex-cloud');
iexjs.overrideUrl({ url: base });

function dial(url, options) {
  const at = new URL(url);
  if (at.host !== 'cloud.iexapis.com') throw new Error('an unexpected host: ' + at.host);
  return fetch(base + url.slice(url.indexOf(at.pathname) + '/v1/'.length), options);
}

const nodeCalls = {
  quote: (c, symbol, field) => c.symbol(symbol).quote(field),
  price: (c, symbol) => c.symbol(symbol).price(),
  company: (c, symbol) => c.symbol(symbol).company(),
  symbols: (c) => c.refData().symbols(),
};

async function answer(line) {
  const { client, token, call, args = [] } = JSON.parse(line);
  try {
    let value;
    if (client === 'node-iex-cloud') {
      value = await nodeCalls[call](new IEXCloudClient(dial, { publishable: token, version: 'v1' }), ...args);
    } else {
      const c = new iexjs.Client({ api_token: token, version: 'v1' });
      const [first, second] = call.split('.');
      value = second ? await c[first][second](...args) : await c[first](...args);
    }
    if (value instanceof Error) return { rejected: value.message }; // how node-iex-cloud rejects
    return value === undefined ? { undefined: true } : { ok: value };
  } catch (error) {
    return { rejected: error instanceof Error ? error.message : String(error) };
  }
}

(async () => {
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(line)) + '\n');
  }
})();
