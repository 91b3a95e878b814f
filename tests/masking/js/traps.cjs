// Makes the calls given on stdin with the AWS SDK for JavaScript v3, and prints what each gave, or its error, as JSON.
const { NodeHttpHandler } = require("@smithy/node-http-handler");
const { readFileSync } = require("node:fs");

const bytes = (data) => "bytes:" + Buffer.from(data).toString("latin1");

async function plain(value) {
  if (value instanceof Date) return `epoch:${value.getTime() / 1000}`;
  if (value instanceof Uint8Array) return bytes(value);
  if (value?.string !== undefined && value.type) return value.string; // a number that JavaScript cannot hold
  if (value?.transformToByteArray) return bytes(await value.transformToByteArray());
  if (Array.isArray(value)) return Promise.all(value.map(plain));
  if (value?.[Symbol.asyncIterator]) {
    const events = [];
    for await (const event of value) events.push(await plain(event));
    return events;
  }
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([key, each]) => [key, await plain(each)])));
}

(async () => {
  const told = {};
  for (const { name, client, command, input } of JSON.parse(readFileSync(0))) {
    const sdk = require(`@aws-sdk/${client}`);
    const Client = sdk[Object.keys(sdk).find((each) => /^[A-Z]\w*Client$/.test(each) && !each.startsWith("__"))];
    // Bedrock's default is HTTP/2, which knows no proxy.
    const made = new Client({ requestHandler: new NodeHttpHandler() });
    try {
      told[name] = await plain(await made.send(new sdk[`${command}Command`](input)));
    } catch (error) {
      told[name] = { error: error.name };
    }
  }
  console.log(JSON.stringify(told));
})();
