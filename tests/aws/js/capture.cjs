// Prints what the AWS SDK for JavaScript v3 sends, as lines for `callgate explain`; nothing goes out.
// The commands and their input are in commands.json.
const commands = require('./commands.json');

class Recorder {
  constructor() { this.requestHandler = this; this.metadata = { handlerProtocol: 'http/1.1' }; }
  async handle(request) { this.request = request; throw Object.assign(new Error('captured'), { captured: true }); }
  updateHttpClientConfig() {}
  httpHandlerConfigs() { return {}; }
}

async function bytes(body) {
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (typeof body === 'string' || body instanceof Uint8Array) return Buffer.from(body);
  const chunks = [];
  for await (const chunk of body) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

// {"$bytes": base64} and {"$time": ISO 8601} as JSON cannot say them.
function revive(key, value) {
  if (value && typeof value === 'object' && typeof value.$bytes === 'string') return Buffer.from(value.$bytes, 'base64');
  if (value && typeof value === 'object' && typeof value.$time === 'string') return new Date(value.$time);
  return value;
}

(async () => {
  for (const { client, options, service, operation, parameters } of commands) {
    const sdk = require(`@aws-sdk/${client}`);
    const recorder = new Recorder();
    const made = new sdk[Object.keys(sdk).find((name) => /^[A-Z]\w*Client$/.test(name) && !name.startsWith('__'))]({
      region: 'us-west-2', maxAttempts: 1, requestHandler: recorder, ...options,
      credentials: { accessKeyId: 'ASIAQNZGKIQY56JQ7WML', secretAccessKey: 'secret', sessionToken: 'token' },
    });
    const input = JSON.parse(JSON.stringify(parameters), revive);
    try { await made.send(new sdk[`${operation}Command`](input)); } catch (error) { if (!error.captured && !recorder.request) throw error; }
    const { method, protocol, hostname, port, path, query, headers, body } = recorder.request;
    const escape = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase());
    const pairs = Object.keys(query || {}).sort().flatMap((key) => [].concat(query[key]).map(
      (value) => escape(key) + (value === null ? '' : '=' + escape(value))));
    const url = `${protocol}//${hostname}${port ? ':' + port : ''}${path}${pairs.length ? '?' + pairs.join('&') : ''}`;
    console.log(JSON.stringify({ service, operation, parameters, method, url, headers: Object.entries(headers),
      body_b64: (await bytes(body)).toString('base64') }));
  }
})();
