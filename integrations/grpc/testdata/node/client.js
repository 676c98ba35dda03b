// Calls the shop with @grpc/grpc-js. Usage: node client.js ADDRESS CA_FILE < calls.json
// Without a CA_FILE ("") it calls without TLS. A call is {method, requests, metadata, perCall}; perCall is a secret
// that call credentials send. It prints the outcomes as one JSON array.
'use strict'
const fs = require('fs')
const path = require('path')
const grpc = require('@grpc/grpc-js')
const loader = require('@grpc/proto-loader')

const [address, ca] = process.argv.slice(2)
const file = path.join(__dirname, '..', 'shop', 'shop.proto')
const shop = grpc.loadPackageDefinition(loader.loadSync(file, { keepCase: true })).latchkey.shop.v1
const credentials = ca ? grpc.credentials.createSsl(fs.readFileSync(ca)) : grpc.credentials.createInsecure()
const client = new shop.Orders(address, credentials)

function outcome (err, messages) {
  const bin = err && err.metadata ? err.metadata.get('grpc-status-details-bin') : []
  return {
    code: err ? (err.code === undefined ? -1 : err.code) : 0,
    message: err ? err.details || err.message : '',
    details: bin.length ? bin[0].toString('base64') : '',
    messages
  }
}

function run (call) {
  return new Promise((resolve) => {
    const md = new grpc.Metadata()
    for (const [key, value] of call.metadata || []) md.add(key, key.endsWith('-bin') ? Buffer.from(value) : value)
    const options = { deadline: Date.now() + 60000 }
    if (call.perCall) {
      options.credentials = grpc.credentials.createFromMetadataGenerator((_, done) => {
        const own = new grpc.Metadata()
        own.set('authorization', 'Bearer ' + call.perCall)
        done(null, own)
      })
    }
    const messages = []
    const definition = shop.Orders.service[call.method]
    try {
      if (!definition.requestStream && !definition.responseStream) {
        client[call.method](call.requests[0], md, options, (err, m) => {
          if (m) messages.push(m)
          resolve(outcome(err, messages))
        })
        return
      }
      let stream
      if (definition.requestStream && !definition.responseStream) {
        stream = client[call.method](md, options, (err, m) => {
          if (m) messages.push(m)
          resolve(outcome(err, messages))
        })
      } else {
        stream = definition.requestStream
          ? client[call.method](md, options)
          : client[call.method](call.requests[0], md, options)
        stream.on('data', (m) => messages.push(m))
        stream.on('error', (err) => resolve(outcome(err, messages)))
        stream.on('end', () => resolve(outcome(null, messages)))
      }
      if (definition.requestStream) {
        for (const r of call.requests) stream.write(r)
        stream.end()
      }
    } catch (err) {
      resolve(outcome(err, messages))
    }
  })
}

(async () => {
  const out = []
  for (const call of JSON.parse(fs.readFileSync(0, 'utf8'))) out.push(await run(call))
  process.stdout.write(JSON.stringify(out))
  client.close()
})()
