// Puts a copy in the place of the data, while no mongod runs. Done again, whatever was done of it, it does the same.
const { cpSync, existsSync, renameSync, rmSync } = require('node:fs');

const data = process.env.MONGODB_DATA;
const [copy, files, next, before] = ['backup/db', 'db', 'db.new', 'db.old'].map((name) => `${data}/${name}`);
if (!existsSync(`${copy}/WiredTiger`)) throw new Error(`there is no copy of a database in ${copy}`);
rmSync(next, { recursive: true, force: true });
cpSync(copy, next, { recursive: true });
rmSync(before, { recursive: true, force: true });
if (existsSync(files)) renameSync(files, before);
renameSync(next, files);
rmSync(before, { recursive: true, force: true });
