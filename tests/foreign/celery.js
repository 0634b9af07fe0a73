// As a service of somebody else's would: celery-node, and the function that docs/contract.md shows.
const { send } = require(process.argv[2]);

async function main() {
  const ids = [];
  for (const { queue, task, kwargs } of JSON.parse(process.env.MESSAGES)) {
    ids.push(await send(process.env.BROKER_URL, queue, task, kwargs));
  }
  console.log(JSON.stringify(ids));
}

main();
