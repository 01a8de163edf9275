// A server around stripe-sync-engine, as its README shows: a webhook is answered once its object is written.
// CommonJS, because its ES module cannot find its migrations.
const { createServer } = require("node:http");
const { StripeSync, runMigrations } = require("@supabase/stripe-sync-engine");

const connectionString = process.env.DATABASE_URL;
const sync = new StripeSync({
  poolConfig: { connectionString, max: 16 },
  schema: "stripe",
  stripeSecretKey: "sk_test_benchmark",
  stripeWebhookSecret: process.env.PEER_WEBHOOK_SECRET,
  backfillRelatedEntities: false,
});

async function receive(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  await sync.processWebhook(Buffer.concat(chunks), request.headers["stripe-signature"]);
}

const server = createServer(async (request, response) => {
  let status = 200;
  if (request.method === "POST") {
    try {
      await receive(request);
    } catch (error) {
      console.error(error);
      status = 500;
    }
  }
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": 2 });
  response.end("{}");
});

runMigrations({ databaseUrl: connectionString, schema: "stripe", logger: console }).then(() =>
  server.listen(Number(process.env.PEER_PORT), "127.0.0.1"),
);
