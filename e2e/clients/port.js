// Preloaded with `node -r`: sends every request that names no port to PORT. The client under test has no port option
// and always dials 80 or 443; its files stay as they were published.
'use strict';
const port = Number(process.env.PORT);
if (!Number.isInteger(port) || port < 1) throw new Error('PORT must name the port to dial');
for (const scheme of ['http', 'https']) {
  const library = require(scheme);
  const request = library.request;
  library.request = (options, ...rest) =>
    request.call(library, typeof options === 'object' && !options.port ? { ...options, port } : options, ...rest);
}
