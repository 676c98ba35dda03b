// Signs requests as the product's sample does: reads one request per line from standard input, as JSON, and answers each
// with the header Authorization. The body is in base64.
'use strict';
const { createHash, createHmac } = require('crypto');
const sha = (data) => createHash('sha256').update(data).digest('hex');
const mac = (key, text) => createHmac('sha256', key).update(text).digest('hex');

function authorization({ method, path, query, host, date, body, token, key }) {
  const stamp = date.slice(0, 8);
  const canonical = [method, path, query, 'host:' + host, 'x-iex-date:' + date, '', 'host;x-iex-date',
    sha(Buffer.from(body, 'base64'))].join('\n');
  const text = ['IEX-HMAC-SHA256', date, stamp + '/iex_request', sha(canonical)].join('\n');
  return 'IEX-HMAC-SHA256 Credential=' + token + '/' + stamp + '/iex_request, SignedHeaders=host;x-iex-date, Signature=' +
    mac(mac(mac(key, stamp), 'iex_request'), text);
}

(async () => {
  for await (const line of require('readline').createInterface({ input: process.stdin })) {
    process.stdout.write(authorization(JSON.parse(line)) + '\n');
  }
})();
