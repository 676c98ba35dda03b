// The conformance runner imports globSync of fs, which Node.js has from version 22 on. It needs it for its command
// tier-check alone. With --import of this file the rest of it runs on Node.js 20, too.
import fs from 'node:fs';
import { register } from 'node:module';

if (!fs.globSync) {
  const shim = 'data:text/javascript,' + encodeURIComponent(
    Object.keys(fs).map((name) => `export const ${name} = fs[${JSON.stringify(name)}];`).join('\n')
      .replace(/^/, 'import fs from "node:fs";\nexport default fs;\n')
      + '\nexport const globSync = () => { throw new Error("globSync needs Node.js 22"); };');
  register('data:text/javascript,' + encodeURIComponent(`
    export async function resolve(specifier, context, next) {
      if (specifier === 'fs' && context.parentURL?.includes('/@modelcontextprotocol/conformance/')) {
        return { url: ${JSON.stringify(shim)}, shortCircuit: true };
      }
      return next(specifier, context);
    }`));
}
