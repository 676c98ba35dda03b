// Runs DatoCMS' own clients: reads one call per line from standard input, as JSON, and answers each with one line.
//
//   {"token": "…", "call": "accessTokens.create", "args": [{…}], "options": {"environment": "main"}}
//   {"token": "…", "query": "{ … }", "options": {"includeDrafts": true}}
//   {"token": "…", "query": "…", "pages": true}: by executeQueryWithAutoPagination
//   → {"ok": …}, or {"error": {…}}; "waits" is how often the client waited before it tried again
'use strict';
const { buildClient, ApiError, LogLevel } = require('@datocms/cma-client-node');
const cda = require('@datocms/cda-client');
const base = process.env.BASE;

async function manage({ token, call, args = [], options = {} }, waits) {
  const client = buildClient({
    apiToken: token,
    baseUrl: base,
    logLevel: LogLevel.BASIC,
    logFn: (line) => waits.push(...(/wait .* then retry/.test(line) ? [line] : [])),
    ...options,
  });
  const [resource, method] = call.split('.');
  return client[resource][method](...args);
}

function query({ token, query, pages, options = {} }) {
  const execute = pages ? cda.executeQueryWithAutoPagination : cda.executeQuery;
  return execute(query, { token, graphqlEndpointUrl: base + '/graphql', ...options });
}

// What of an error a program sees by the client's own means.
function explain(error) {
  if (error instanceof ApiError) {
    const codes = error.errors.map((one) => one.attributes.code);
    return {
      api: true,
      status: error.response.status,
      codes,
      found: codes.map((code) => error.findError(code) !== undefined && error.findError('NO_SUCH_CODE') === undefined),
      details: error.errors.map((one) => one.attributes.details),
      byDetails: error.errors.map((one) => error.findError(one.attributes.code, one.attributes.details) !== undefined),
    };
  }
  if (error instanceof cda.ApiError) {
    const { data, errors } = error.response.body;
    return {
      api: true,
      status: error.response.status,
      codes: (Array.isArray(data) ? data : []).map((one) => one.attributes.code),
      details: (Array.isArray(data) ? data : []).map((one) => one.attributes.details),
      messages: (errors || []).map((one) => one.message),
    };
  }
  return { api: false, message: String(error) };
}

async function answer(line) {
  const request = JSON.parse(line);
  const waits = [];
  try {
    const value = request.query ? await query(request) : await manage(request, waits);
    return { ok: value === undefined ? null : value, waits: waits.length };
  } catch (error) {
    return { error: explain(error), waits: waits.length };
  }
}

// {"many": […]} makes several calls at once, answered by a list.
(async () => {
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    const { many } = JSON.parse(line);
    const replies = many ? await Promise.all(many.map((one) => answer(JSON.stringify(one)))) : await answer(line);
    process.stdout.write(JSON.stringify(replies) + '\n');
  }
})();
