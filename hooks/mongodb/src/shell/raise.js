// Lets a newer MongoDB use what an older one could not read.
load(`${__dirname}/connection.js`);

const wanted = process.env.MONGODB_COMPATIBILITY;
if (!becomesPrimary()) throw new Error(`${own} was not elected`);
if (compatibility() !== wanted) {
  // From 7.0 on it wants to hear that there is no way back.
  const command = { setFeatureCompatibilityVersion: wanted };
  server.runCommand(Number(wanted) >= 7 ? { ...command, confirm: true } : command);
}
