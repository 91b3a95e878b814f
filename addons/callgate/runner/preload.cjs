'use strict'
// Loaded into Node by NODE_OPTIONS. The AWS SDK for JavaScript v3 makes its own https agents, which know no proxy:
// here every https agent opens its connections through the proxy in HTTPS_PROXY, except to hosts in NO_PROXY.

const https = require('https')
const net = require('net')
const tls = require('tls')

const MAX_HEAD = 16384
const setting = process.env.HTTPS_PROXY || process.env.https_proxy
const proxy = setting ? new URL(setting) : null
const exceptions = (process.env.NO_PROXY || process.env.no_proxy || '')
  .split(',')
  .map((entry) => entry.trim().toLowerCase().replace(/^\*?\./, ''))
  .filter(Boolean)

function goesDirect (host) {
  host = host.toLowerCase().replace(/^\[|\]$/g, '').replace(/\.$/, '')
  return exceptions.some((entry) => entry === '*' || host === entry || (!net.isIP(host) && host.endsWith('.' + entry)))
}

function connectToProxy () {
  const host = proxy.hostname.replace(/^\[|\]$/g, '')
  if (proxy.protocol === 'http:') return net.connect({ host, port: Number(proxy.port) || 80 })
  const servername = net.isIP(host) ? '' : host
  return tls.connect({ host, port: Number(proxy.port) || 443, servername, ALPNProtocols: ['http/1.1'] })
}

function tunnel (host, port, callback) {
  const socket = connectToProxy()
  const authority = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  let head = ''
  function done (error) {
    socket.removeAllListeners()
    if (error) socket.destroy()
    callback(error, socket)
  }
  socket.on('error', done)
  socket.on('close', () => done(new Error(`the proxy closed the connection to ${authority}`)))
  socket.on('data', (chunk) => {
    head += chunk.toString('latin1')
    const end = head.indexOf('\r\n\r\n')
    if (end < 0 && head.length <= MAX_HEAD) return
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)
    if (end !== head.length - 4 || !status || status[1] !== '200') {
      done(new Error(`the proxy answered ${status ? status[1] : 'no HTTP'} to CONNECT ${authority}`))
    } else {
      socket.pause()
      done(null)
    }
  })
  const authorization = Buffer.from(user).toString('base64')
  socket.write(
    `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic ${authorization}\r\n\r\n`
  )
}

if (proxy && (proxy.protocol === 'http:' || proxy.protocol === 'https:')) {
  const direct = https.Agent.prototype.createConnection
  https.Agent.prototype.createConnection = function (options, callback) {
    const host = options.host || 'localhost'
    if (options.socketPath || options.socket || (this.options && this.options.proxyEnv) || goesDirect(host)) {
      return direct.call(this, options, callback)
    }
    tunnel(host, options.port || 443, (error, socket) => {
      if (error) return callback(error)
      const servername = options.servername || (net.isIP(host) ? '' : host)
      const secured = tls.connect({ ...options, host: undefined, port: undefined, path: undefined, servername, socket })
      callback(null, secured)
    })
    return undefined
  }
}
