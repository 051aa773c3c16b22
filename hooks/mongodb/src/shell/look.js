// Says how it is, and changes nothing.
load(`${__dirname}/connection.js`);

report();
