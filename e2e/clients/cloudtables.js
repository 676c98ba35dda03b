// Runs CloudTables' own client: reads one call per line from standard input, as JSON, and answers each with one line.
//
//   {"key": "…", "options": {…}, "call": "insert", "args": ["<data set>", {"dp-1": "x"}]}
//   → {"ok": …} or {"rejected": …}; {"undefined": true} when the client resolved nothing
'use strict';
const Api = require('cloudtables-api').default;
console.error = () => {}; // the client prints whole replies, tokens and all

const calls = {
  token: (api) => api.token(),
  datasets: (api) => api.datasets(),
  data: (api, set) => api.dataset(set).data(),
  oldData: (api, set) => api.data(set),
  schema: (api, set) => api.dataset(set).schema(),
  insert: (api, set, row) => api.dataset(set).insert(row),
  row: (api, set, id) => api.dataset(set).row(id).data(),
  update: (api, set, id, row) => api.dataset(set).row(id).update(row),
  delete: (api, set, id) => api.dataset(set).row(id).delete(),
  scriptTag: (api, set, token, style) => api.dataset(set).scriptTag(token, style),
  scriptTagAsync: (api, set, style) => api.dataset(set).scriptTagAsync(style),
};

async function answer(line) {
  const { subdomain, key, options, call, args = [] } = JSON.parse(line);
  const api = subdomain ? new Api(subdomain, key, options) : new Api(key, options);
  try {
    const value = await calls[call](api, ...args);
    return value === undefined ? { undefined: true } : { ok: value };
  } catch (error) {
    return { rejected: error instanceof Error ? String(error) : error };
  }
}

(async () => {
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(line)) + '\n');
  }
})();
