// Copies the files of the database while nothing can be written, and says what is in them.
load(`${__dirname}/connection.js`);
const { cpSync, rmSync, mkdirSync } = require('node:fs');
const { basename } = require('node:path');

const from = `${process.env.MONGODB_DATA}/db`;
const to = `${process.env.MONGODB_DATA}/backup/db`;
// What belongs to the process that runs, what it writes about itself, and the empty files that its journal goes on in.
const leftOut = /^(mongod\.lock|README|diagnostic\.data|WiredTiger(Prep|Tmp)log\..*)$/;

// An attempt that was killed has left its lock behind. It is counted.
while (server.currentOp().fsyncLock) server.runCommand({ fsyncUnlock: 1 });

rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true, mode: 0o700 });
server.runCommand({ fsync: 1, lock: true });
let contents;
let isLocked = true;
try {
  contents = inventory();
  cpSync(from, to, { recursive: true, filter: (path) => !leftOut.test(basename(path)) });
} finally {
  try {
    server.runCommand({ fsyncUnlock: 1 });
  } catch {
    isLocked = false;
  }
}
if (!isLocked) throw new Error('somebody else unlocked the database while it was copied');
print(contents);
