// Says what is in the data.
load(`${__dirname}/connection.js`);

print(inventory());
