// Deletes an object with the AWS SDK for JavaScript v3: node delete.cjs KEY ATTEMPTS MODE. Prints what the SDK says.
const { S3Client, DeleteObjectCommand } = require("@aws-sdk/client-s3");
const { NodeHttpHandler } = require("@smithy/node-http-handler");
const { HttpsProxyAgent } = require("https-proxy-agent");

const [key, attempts, mode] = process.argv.slice(2);
const client = new S3Client({
  region: "us-east-1",
  maxAttempts: Number(attempts),
  retryMode: mode,
  requestHandler: new NodeHttpHandler({ httpsAgent: new HttpsProxyAgent(process.env.HTTPS_PROXY) }),
});
client.send(new DeleteObjectCommand({ Bucket: "bucket", Key: key })).then(
  (done) => console.log(JSON.stringify(done.$metadata)),
  (error) => {
    console.log(JSON.stringify({ name: error.name, message: error.message, ...error.$metadata }));
    process.exit(1);
  },
);
