// Lets a newer MongoDB use what an older one could not read.
load(`${__dirname}/connection.js`);

const to = process.env.MONGODB_COMPATIBILITY;
const one = primary();
if (one === null) throw new Error(`nobody was elected in the set of ${own}`);
if (compatibility() !== to) {
  // From 7.0 on it wants to hear that there is no way back.
  const command = { setFeatureCompatibilityVersion: to };
  one.runCommand(Number(to) >= 7 ? { ...command, confirm: true } : command);
}
