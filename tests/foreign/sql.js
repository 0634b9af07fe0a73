// As a service of somebody else's would: node-postgres, and the functions that docs/contract.md shows.
const { Client } = require("pg");

const [examples, batch] = process.argv.slice(2);
const { requestVerification, readResults } = require(examples);

async function refused(db, ...request) {
  await db.query("BEGIN");
  try {
    await requestVerification(db, ...request);
    return null;
  } catch (error) {
    return error.code;
  } finally {
    await db.query("ROLLBACK");
  }
}

async function submit(db) {
  const [one, two] = JSON.parse(process.env.REFERENCES);
  await db.query("CREATE TEMPORARY TABLE orders (id text)");

  await db.query("BEGIN");
  await db.query("INSERT INTO orders VALUES ('given up')");
  const rolledBack = await requestVerification(db, "given up", [one, two]);
  await db.query("ROLLBACK");

  await db.query("BEGIN");
  await db.query("INSERT INTO orders VALUES ('4711')");
  const committed = await requestVerification(db, "order-4711", [one, two, "stranger"]);
  await db.query("COMMIT");

  const orders = await db.query("SELECT id FROM orders");
  return {
    orders: orders.rows.map((row) => row.id),
    rolledBack: await readResults(db, rolledBack),
    committed,
    again: await requestVerification(db, "order-4711", ["stranger", two, one]),
    conflict: await refused(db, "order-4711", [one]),
    personal: await refused(db, "order-4712", ["13800138000"]),
    nothing: await refused(db, "order-4713", [null]),
  };
}

async function main() {
  const db = new Client({ connectionString: process.env.DATABASE_URL });
  await db.connect();
  try {
    console.log(JSON.stringify(batch ? await readResults(db, batch) : await submit(db)));
  } finally {
    await db.end();
  }
}

main();
