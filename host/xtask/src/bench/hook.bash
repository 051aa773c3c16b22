# The Node.js hook's `prepare-deploy` for simple apps, as it would be written in bash: it reads the context of a call
# (the JSON file $1), chooses by what the app says, and prints a plan as JSON. It knows one package manager, no
# Procfile and the simplest version ranges, so what it does is less than what it is measured against.
set -eu
context=$1
# All that is looked at in one call of jq: a call costs more than everything else here.
mapfile -t seen < <(jq -r '
  (.inputs["package.json"] | implode | fromjson) as $package
  | (.settings | fromjson).version // $package.engines.node // "",
    .facts["program:node"] // "",
    $package.scripts.start // "node server.js",
    ($package.dependencies // {} | length)' "$context")
wanted=${seen[0]} present=${seen[1]##* v}
minimum=${wanted##*[^0-9.]}
if ((${present%%.*} < ${minimum%%.*})); then
  echo "Node.js $wanted is asked for, and $present is here" >&2
  exit 1
fi
jq -n --arg start "${seen[2]}" --argjson dependencies "${seen[3]}" '{
  build: (if $dependencies > 0 then [{id: "install", argv: ["npm", "ci", "--omit=dev"]}] else [] end),
  processes: [{
    name: "web", argv: ($start | split(" ")), ports: ["http"], health: {"port-open": "http"},
    env: {PORT: "{port:http}", NODE_ENV: "production", JECLOUD_APP: "{app}", JECLOUD_ENV: "{environment}"}
  }],
  routes: [{process: "web", port: "http", "path-prefix": "/"}]
}'
